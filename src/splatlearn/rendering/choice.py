"""The registry of backends, and the choice among them."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from splatlearn.core.errors import BackendError, InputError, SlowBackendWarning
from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.cpu import blend as cpu_blend
from splatlearn.rendering.backends.cpu import project as cpu_project
from splatlearn.rendering.backends.cpu import scene as cpu_scene
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.gsplat import support as gsplat_support
from splatlearn.rendering.backends.torch import blend as torch_blend
from splatlearn.rendering.backends.torch import project as torch_project
from splatlearn.rendering.backends.torch import support as torch_support
from splatlearn.rendering.backends.triton import blend as triton_blend
from splatlearn.rendering.backends.triton import project as triton_project
from splatlearn.rendering.backends.triton import scene as triton_scene
from splatlearn.rendering.backends.triton import support as triton_support
from splatlearn.rendering.derivatives import FIRST_ONLY
from splatlearn.rendering.formula import FILTERS


class Backend(NamedTuple):
    """The modules of a backend, each with the same functions as in every other.

    - `support`: `status()`, `refusal(means2d, channels)`.
    - `project`: compiled backends have `project` and `project_backward`, the names of camera models that they know,
      `MODELS`, and those of filters for each primitive, `DRAWN`; the specification has `project` alone.
    - `blend`: `forward`, `backward`; those of compiled backends have the formulas that they draw, `DRAWN`.
    - `scene`: compiled backends have `forward`, `backward` and more (see `backends/scene_views.py`); None for the
      specification.
    """

    support: ModuleType
    project: ModuleType
    blend: ModuleType
    scene: ModuleType | None = None


BACKENDS = {
    "torch": Backend(torch_support, torch_project, torch_blend),
    "cpu": Backend(cpu_support, cpu_project, cpu_blend, cpu_scene),
    "triton": Backend(triton_support, triton_project, triton_blend, triton_scene),
}
WHOLE = {"gsplat": gsplat_support}
"""Backends of other packages that render Gaussians as a whole, and compute no single step. "auto" chooses none."""
COMPILED = {"cpu": "cpu", "cuda": "triton"}
"""The compiled backend for each device."""
PREFERENCE = {"cpu": ("cpu", "torch"), "cuda": ("triton", "torch")}
"""Backends by device, fastest first. On any other device, only the specification can be used."""


def available_backends() -> dict[str, str]:
    """Return the state of each backend on this machine: "ok", or why it cannot be used."""
    supports = {name: backend.support for name, backend in BACKENDS.items()} | WHOLE
    return {name: support.status() for name, support in supports.items()}


def check_backend(name: str) -> None:
    """Raise InputError unless `name` is "auto" or the name of a backend that computes each step."""
    if name != "auto" and name not in BACKENDS:
        advice = "; it renders Gaussians as a whole, by `render`" if name in WHOLE else ""
        raise InputError(f"backend: expected 'auto' or one of {', '.join(BACKENDS)}, got {name!r}{advice}")


def check_filter(name: str) -> None:
    """Raise InputError unless `name` is the name of a filter."""
    if name not in FILTERS:
        raise InputError(f"filter: expected one of {', '.join(FILTERS)}, got {name!r}")


def choose_backend(
    name: str, means2d: Tensor, channels: int, transformed: bool = False, primitive: str = GAUSSIAN
) -> str:
    """Return the name of the backend for these inputs: `name`, or for "auto" the fastest that supports them.

    - `transformed`: whether forward-mode derivatives or function transforms act on the inputs. Only the specification
      supports these.
    - `primitive`: the formula of the splats.

    Warns with SlowBackendWarning if "auto" chooses the specification for float32 inputs that are not transformed.
    Raises InputError for an unknown name, and BackendError if the named backend does not support the inputs.
    """
    check_backend(name)
    if transformed and name in ("auto", "torch"):
        return "torch"
    if transformed:
        raise BackendError(f"backend: {name!r} cannot be used here: {FIRST_ONLY}")
    if name == "auto":
        fastest_first = PREFERENCE.get(means2d.device.type, ("torch",))
        chosen = next(each for each in fastest_first if _reason_against(each, means2d, channels, primitive) is None)
        if chosen == "torch" and means2d.dtype == torch.float32 and not torch.compiler.is_compiling():
            _say_slow(fastest_first[0], means2d, channels, primitive)
        return chosen
    reason = _reason_against(name, means2d, channels, primitive)
    if reason is not None:
        raise BackendError(f"backend: {name!r} cannot be used here: {reason}; use backend='auto'")
    return name


def _say_slow(fastest: str, means2d: Tensor, channels: int, primitive: str) -> None:
    """Warn that "auto" chose the specification; Python shows a warning once."""
    device = means2d.device.type
    has_none = fastest == "torch"
    reason = f"none was written for {device}" if has_none else _reason_against(fastest, means2d, channels, primitive)
    message = f"rendering is hundreds of times slower than with a compiled backend on this {device} device: {reason}"
    warnings.warn(message, SlowBackendWarning, stacklevel=2)


def _reason_against(name: str, means2d: Tensor, channels: int, primitive: str) -> str | None:
    support = BACKENDS[name].support
    state = support.status()
    if state != "ok":
        return state
    if name != "torch" and primitive not in BACKENDS[name].blend.DRAWN:
        return f"it composites {' and '.join(BACKENDS[name].blend.DRAWN)} alone, got the primitive {primitive!r}"
    return support.refusal(means2d, channels)
