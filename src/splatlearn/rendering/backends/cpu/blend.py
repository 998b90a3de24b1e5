"""The compiled CPU kernel: tiles, SIMD over pixels, hand-written backward; see `native/` for how."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.native import share_openmp, why_missing
from splatlearn.rendering.formula import MAX_CHANNELS

try:
    share_openmp()
    from splatlearn.rendering import _native

    _MISSING = ""
except ImportError as error:
    _native = None
    _MISSING = why_missing(error)


def status() -> str:
    """ "ok", or why the kernel is not there and what to install."""
    if _native is not None:
        return "ok"
    return f"not built: {_MISSING}"


def refusal(centers: Tensor, channels: int) -> str | None:
    """Why the backend cannot take these inputs, or None."""
    if centers.device.type != "cpu":
        return f"it takes CPU tensors, got {centers.device.type}"
    if centers.dtype != torch.float32:
        return f"it computes in float32, got {centers.dtype}"
    if channels > MAX_CHANNELS:
        return f"it takes up to {MAX_CHANNELS} channels, got {channels}"
    return None


def instruction_sets() -> list[str]:
    """The instruction sets of this processor that the kernel was compiled for, slowest first."""
    return _native.instruction_sets() if _native is not None else []


def instruction_set() -> str:
    """The instruction set in use: the fastest, or the one that the variable ATEN_CPU_CAPABILITY names."""
    assert _native is not None, status()
    return _native.instruction_set()


def use_instruction_set(name: str) -> str:
    """Switch to an instruction set, to compare; returns the one before. Raises InputError for one that is not here."""
    assert _native is not None, status()
    before = instruction_set()
    if name not in instruction_sets():
        raise InputError(
            f"instruction set: this processor has no {name}; expected one of {', '.join(instruction_sets())}"
        )
    _native.use_instruction_set(name)
    return before


def forward(
    centers: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width)."""
    assert _native is not None, status()
    inputs = _arrays(centers, conics, opacities, colors, background)
    color = torch.empty(colors.shape[0], colors.shape[-1], *size)
    transmittance = torch.empty(colors.shape[0], *size)
    _native.forward(*inputs, color.numpy(), transmittance.numpy(), torch.get_num_threads())
    return color, transmittance


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (centers, conics, opacities, colors, background) from those of (color, transmittance)."""
    assert _native is not None, status()
    results = [torch.empty(tensor.shape) for tensor in inputs]
    arrays = _arrays(*inputs, *outputs, *gradients)
    _native.backward(*arrays, *(result.numpy() for result in results), torch.get_num_threads())
    return results[0], results[1], results[2], results[3], results[4]


def _arrays(*tensors: Tensor) -> list:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
