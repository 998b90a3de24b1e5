"""Compiles what a scene launches on a GPU that need not be there; run as a script, for the interpreter must be off.

`forward` and `backward` are called as on a GPU, and each launch is compiled as Triton would, from the arguments that it
has, and not run. Prints one line of JSON: for each kernel and compute capability, the bytes of stack that a thread
needs for each of its launches.

    python compile_scenes.py 0@80 1@90      # steps of the list below, each for a compute capability
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections import defaultdict
from functools import partial
from typing import Any
from unittest import mock

import torch
import triton
from compile_kernels import stack_bytes  # pyright: ignore[reportMissingImports]
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

from splatlearn.rendering.backends.scene_views import CAMERA_SUMS, SceneInputs, SceneLens, SceneResults, SceneView
from splatlearn.rendering.backends.triton import scene

COUNT, SIZE = 40, (33, 50)
found: dict[str, list[int]] = defaultdict(list)
seen: set[str] = set()


def compiled_instead(capability: int) -> Any:
    """A function in place of a launch. It fills what the host reads, as if each Gaussian met the first tile."""
    target = GPUTarget("cuda", capability, 32)
    backend = make_backend(target)

    def run(self: JITFunction, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
        assert all(size > 0 for size in grid), grid
        bound, kinds, options = create_function_from_signature(self.signature, self.params, backend)(
            *arguments, debug=False, instrumentation_mode="", **named
        )
        options, signature, constants, attributes = self._pack_args(
            backend, {**named, "debug": False, "instrumentation_mode": ""}, bound, kinds, options
        )
        source = ASTSource(self, signature, constants, attributes)
        if source.hash() + str(target) not in seen:
            seen.add(source.hash() + str(target))
            code = triton.compile(source, target=target, options=vars(options)).asm["cubin"]
            found[f"{self.__name__} {capability}"].append(stack_bytes(code))
        values = {"tile_counts": 1, "boxes": 1, "depths": 1.0, "radii": 1.0, "counts": 0, "tiles": 0}
        if self.__name__ in ("project_scene", "tiles_of_pairs"):
            if isinstance(bound.get("records"), Tensor):
                bound["records"].fill_(1.0)
            for name, value in values.items():
                if isinstance(bound.get(name), Tensor):
                    bound[name].fill_(value)

    return mock.patch.object(JITFunction, "run", run)


def step(channels: int | None, degree: int | None, model: str, info: bool, is_first_view: bool, offset: int) -> None:
    """Both passes of a view; tensors begin `offset` numbers behind an address that divides by 16."""

    def tensor(*shape: int) -> Tensor:
        return torch.ones(offset + math.prod(shape))[offset:].reshape(shape)

    def gaussians() -> SceneInputs:
        colors = None if channels is None else tensor(COUNT, channels)
        sh = None if degree is None else tensor(COUNT, (degree + 1) ** 2, 3)
        return SceneInputs(tensor(COUNT, 3), tensor(COUNT, 3), tensor(COUNT, 4), tensor(COUNT), colors, sh)

    shown = 1 + (channels or 3)
    lens = SceneLens(model, [30.0, 30.0, 20.0, 10.0, 0.01, 1.0, 1.0], float("inf"), model == "orthographic")
    view = SceneView(tensor(4, 4), tensor(3), lens, tensor(shown), depth_channels=1)
    inputs, outputs, gradients = (
        gaussians(),
        (tensor(shown, *SIZE), tensor(*SIZE)),
        (tensor(shown, *SIZE), tensor(*SIZE)),
    )
    state = scene.forward(inputs, view, outputs, info)
    assert state.intersections >= COUNT, "the way ends at the first kernel"
    camera = torch.zeros(CAMERA_SUMS, dtype=torch.float64) if info else None
    ids = torch.arange(COUNT) if info else None
    means2d, absolute = (tensor(COUNT, 2) if info else None for _ in range(2))
    results = SceneResults(gaussians(), tensor(shown), camera, ids, means2d, absolute)
    scene.backward(state, inputs, view, outputs, gradients, results, is_first_view)


STEPS = (
    partial(step, None, 0, "pinhole", True, True),
    partial(step, 15, None, "gmae", False, False),
    partial(step, 19, None, "orthographic", False, True),
    partial(step, None, 3, "pinhole", False, False),
    partial(step, None, 1, "panorama", True, True),
)


def main(pairs: list[str]) -> None:
    for pair in pairs:
        number, capability = map(int, pair.split("@"))
        with compiled_instead(capability):
            STEPS[number](offset=0)
            compiled = len(seen)
            STEPS[number](offset=1)
            assert len(seen) == compiled, "another set of a batch is compiled for again"
    print(json.dumps(found))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        main(sys.argv[1:])
