"""Who competes in compositing on the CPU, and whether they compute the same thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from splatlearn.rendering import available_backends
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.torch import blend as torch_blend
from splatlearn.rendering.choice import BACKENDS

from . import scalar_kernel
from .common import Inputs, Outputs

DENSE = "torch"
SCALAR = "scalar numba"
CHECKED = ("color", "transmittance", "means2d", "conics", "opacities", "colors", "background")


@dataclass(frozen=True)
class Contender:
    """One way to composite; `prepare` comes before its calls. Arguments as in `rendering.backends.torch.blend`."""

    name: str
    forward: Callable[..., Outputs]
    backward: Callable[..., Inputs]
    prepare: Callable[[], object] = lambda: None

    def both(self, inputs: Inputs, size: tuple[int, int], gradients: Outputs) -> tuple[Outputs, Inputs]:
        """Forward and backward: the outputs, and the gradients of the five inputs."""
        outputs = self.forward(*inputs, size)
        return outputs, self.backward(inputs, outputs, gradients)


def contenders() -> dict[str, Contender]:
    """The backends that work on this machine's CPU, each instruction set by itself, and the scalar kernel."""
    found = [Contender(SCALAR, scalar_kernel.forward, scalar_kernel.backward)]
    states = available_backends()
    # Without those that render as a whole, which have no step of compositing.
    for name, backend in BACKENDS.items():
        state, module = states[name], backend.blend
        if state != "ok" or backend.support.refusal(torch.zeros(1, 1, 2), 3) is not None:
            continue
        if name == "triton":
            # Its interpreter, which is for tests.
            continue
        if name == "cpu":
            for each in cpu_support.instruction_sets():
                switch = partial(cpu_support.use_instruction_set, each)
                found.append(Contender(f"{name} {each}", module.forward, module.backward, switch))
        else:
            found.append(Contender(name, module.forward, module.backward))
    return {contender.name: contender for contender in found}


def reference(inputs: Inputs, size: tuple[int, int], gradients: Outputs) -> tuple[Outputs, Inputs]:
    """What the specification makes of the first image in float64: outputs and gradients."""
    dense = Contender("reference", torch_blend.forward, torch_blend.backward)
    return dense.both(_first(inputs, torch.float64), size, _first(gradients, torch.float64))


def errors(
    contender: Contender,
    inputs: Inputs,
    size: tuple[int, int],
    gradients: Outputs,
    expected: tuple[Outputs, Inputs],
) -> dict[str, float]:
    """Relative L2 distance to the reference on the first image, of both outputs and all five gradients."""
    contender.prepare()
    got = contender.both(_first(inputs, torch.float32), size, _first(gradients, torch.float32))
    pairs = zip((*got[0], *got[1]), (*expected[0], *expected[1]), strict=True)
    distances = [float((mine - right).norm() / right.norm()) for mine, right in pairs]
    return dict(zip(CHECKED, distances, strict=True))


def _first(tensors: tuple, dtype: torch.dtype) -> tuple:
    return tuple(tensor[:1].to(dtype) for tensor in tensors)
