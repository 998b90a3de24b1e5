"""Which compiled backends are tested, and how each is compared with the specification in float64."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch

from rendering import gpu
from rendering.scenes_hard import OPAQUE, SCENES, Scene
from rendering.thresholds import clear_of_thresholds
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.torch import blend as torch_blend
from splatlearn.rendering.choice import BACKENDS

NAMES = ("means2d", "conics", "opacities", "colors", "background")
Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Compiled:
    """A backend, with one of its instruction sets where it has several."""

    backend: str
    instructions: str = ""
    most: int | None = None
    """Splats of a scene that are kept: interpreted kernels are slow."""

    @contextmanager
    def active(self) -> Iterator[None]:
        if self.backend == "triton":
            with gpu.ready():
                yield
            return
        before = cpu_support.use_instruction_set(self.instructions)
        try:
            yield
        finally:
            cpu_support.use_instruction_set(before)

    def forward(self, scene: Scene) -> Pair:
        function = BACKENDS[self.backend].blend.forward
        if self.backend == "triton":
            color, transmittance = gpu.on_device(function, *scene.tensors, scene.size)
            return color, transmittance
        return function(*scene.tensors, scene.size)

    def backward(self, scene: Scene, outputs: Pair, upstream: Pair) -> tuple[torch.Tensor, ...]:
        function = BACKENDS[self.backend].blend.backward
        if self.backend == "triton":
            return gpu.on_device(function, scene.tensors, outputs, upstream)
        return function(scene.tensors, outputs, upstream)

    def thinned(self, scene: Scene) -> Scene:
        return thinned(scene, self.most)


CPU = [pytest.param(Compiled("cpu", name), id=f"cpu-{name}") for name in cpu_support.instruction_sets()] or [
    pytest.param(None, id="cpu", marks=pytest.mark.skip(reason=cpu_support.status()))
]
TRITON = pytest.param(
    Compiled("triton", most=gpu.MOST_SPLATS),
    id="triton",
    marks=pytest.mark.skipif(gpu.STATUS != "ok", reason=gpu.STATUS),
)
COMPILED = [*CPU, TRITON]


def of_each(cases: Iterable[tuple[Any, ...]], interpreted: Collection[tuple[Any, ...]]) -> list:
    """Parameters `compiled`, to be taken indirectly, and those of the cases; interpreted kernels are slow.

    In `make test` these take only the cases in `interpreted`.
    """
    made = []
    for backend, case in product(COMPILED, cases):
        is_slow = backend is TRITON and not gpu.HAS_CUDA and case not in interpreted
        marks = [*backend.marks, pytest.mark.large] if is_slow else backend.marks
        name = "-".join([str(backend.id), *map(str, case)])
        made.append(pytest.param(*backend.values, *case, id=name, marks=marks))
    return made


def thinned(scene: Scene, most: int | None) -> Scene:
    """The first `most` splats of a scene, all of them for None."""
    keep = slice(most)
    return replace(
        scene,
        means2d=scene.means2d[:, keep],
        conics=scene.conics[:, keep],
        opacities=scene.opacities[:, keep],
        colors=scene.colors[:, keep],
    )


@dataclass(frozen=True)
class Expected:
    """What the specification makes of a scene in float64, with upstream gradients that are 0 at undecided pixels."""

    scene: Scene
    clear: torch.Tensor
    outputs: Pair
    upstream: Pair
    gradients: tuple[torch.Tensor, ...]


@cache
def expected(name: str, most: int | None = None) -> Expected:
    """The specification's answer to a scene of `SCENES` or `OPAQUE`, or to its first `most` splats."""
    return expected_of({**SCENES, **OPAQUE}[name], torch.Generator().manual_seed(len(name)), most)


def expected_of(
    make: Callable[[torch.Generator], Scene], generator: torch.Generator, most: int | None = None
) -> Expected:
    scene = thinned(make(generator), most)
    exact = scene.map(torch.Tensor.double)
    clear = clear_of_thresholds(exact.means2d, exact.conics, exact.opacities, scene.size, scene.alpha_band)
    outputs = torch_blend.forward(*exact.tensors, scene.size)
    weights = [torch.randn(tensor.shape, generator=generator) for tensor in outputs]
    upstream = (weights[0] * clear[:, None], weights[1] * clear)
    gradients = torch_blend.backward(exact.tensors, outputs, (upstream[0].double(), upstream[1].double()))
    return Expected(scene, clear, outputs, upstream, gradients)


def forward_error(got: Pair, want: Expected) -> float:
    """The largest error of colour and transmittance at the decided pixels."""
    color = (got[0] - want.outputs[0]).abs().amax(1)[want.clear]
    transmittance = (got[1] - want.outputs[1]).abs()[want.clear]
    return float(torch.cat([color, transmittance]).max()) if color.numel() else 0.0


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    """‖got − want‖ / ‖want‖ in L2; 0 when both are 0, infinite when only `want` is."""
    error, length = float((got - want).norm()), float(want.norm())
    return error / length if length else float("inf") if error else 0.0


def assert_matches(compiled: Compiled, want: Expected, forward: float = 1e-5, gradients: float = 1e-5) -> None:
    """Compare outputs (maximum) and every gradient (relative L2) with the specification's."""
    got = compiled.forward(want.scene)
    error = forward_error(got, want)
    assert error <= forward, f"forward: {error:.2e}"
    found = compiled.backward(want.scene, got, want.upstream)
    errors = {name: relative_error(*pair) for name, *pair in zip(NAMES, found, want.gradients, strict=True)}
    assert max(errors.values()) <= gradients, errors
