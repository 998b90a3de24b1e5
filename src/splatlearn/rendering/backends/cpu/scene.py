"""The compiled way for scenes: many Gaussians of one set, from parameters to a picture and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatlearn.rendering.backends.cpu.support import kernels

CAMERA_SUMS = 15
"""Numbers in the gradient of a view: three rows of its matrix, and the origin of directions."""


@dataclass(frozen=True)
class SceneLens:
    """What a view says beside its matrix: the camera model, its numbers as the kernels take them, the far plane."""

    model: str
    numbers: list[float]
    far: float
    is_parallel: bool


@dataclass(frozen=True)
class SceneView:
    """One view of a set: tensors are contiguous and float32.

    - `matrix` [4, 4]: from world to camera.
    - `origin` [3]: where directions of view begin; their direction if all are parallel.
    - `background` [C], with a last channel for the depths if `has_depth`.
    """

    matrix: Tensor
    origin: Tensor
    lens: SceneLens
    background: Tensor
    has_depth: bool

    def arguments(self) -> list[Any]:
        """The arguments of the compiled functions, in their order."""
        lens = self.lens
        arrays = [each.detach().numpy() for each in (self.matrix, self.origin, self.background)]
        return [*arrays[:2], lens.model, lens.numbers, lens.far, lens.is_parallel, self.has_depth, arrays[2]]


@dataclass(frozen=True)
class SceneInputs:
    """Contiguous float32 tensors: one set of K Gaussians with `colors` [K, C] or `sh` [K, M, 3]."""

    means: Tensor
    scales: Tensor
    quaternions: Tensor
    opacities: Tensor
    colors: Tensor | None
    sh: Tensor | None

    def arrays(self) -> list[np.ndarray | None]:
        """The tensors as arrays, in the order of the fields."""
        return [None if each is None else each.detach().numpy() for each in vars(self).values()]


def empty_like(tensor: Tensor) -> Tensor:
    """Return a float32 tensor that is not filled, in memory that is kept for the next call once it is free.

    At the size of scenes, fresh pages for gradients cost as much as blending does.
    """
    return torch.from_numpy(kernels().room(list(tensor.shape)))


def forward(inputs: SceneInputs, view: SceneView, outputs: tuple[Tensor, Tensor], weights: Tensor | None) -> Any:
    """Fill colour [C, H, W], with a last channel of depths if the view has it, and transmittance [H, W].

    - `weights`: [K, 3], filled with the sum and maximum of each Gaussian's blending weights, and its pixels.

    Returns the state of the view that `backward` takes.
    """
    return kernels().scene_forward(
        *inputs.arrays(),
        *view.arguments(),
        *(each.numpy() for each in outputs),
        None if weights is None else weights.numpy(),
        torch.get_num_threads(),
    )


@dataclass(frozen=True)
class SceneResults:
    """Where a backward pass writes.

    - `gaussians`: the gradients of the Gaussians, which the first view writes and the others add to.
    - `background` [C]; `camera`: float64 [CAMERA_SUMS], three rows of the matrix and the origin, or None.
    - `means2d`, `absolute` [K, 2]: the gradients of means2d and the sums of their absolute values, or None.
    """

    gaussians: SceneInputs
    background: Tensor
    camera: Tensor | None
    means2d: Tensor | None
    absolute: Tensor | None


def backward(
    state: Any,
    inputs: SceneInputs,
    view: SceneView,
    outputs: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
    results: SceneResults,
    is_first_view: bool,
) -> None:
    """Write the gradients of a view to `results`, from the outputs of `forward` and their gradients."""
    optional = (results.camera, results.means2d, results.absolute)
    kernels().scene_backward(
        state,
        *inputs.arrays(),
        *view.arguments(),
        *(each.detach().numpy() for each in (*outputs, *gradients)),
        *results.gaussians.arrays(),
        results.background.numpy(),
        *(None if each is None else each.numpy() for each in optional),
        is_first_view,
        torch.get_num_threads(),
    )
