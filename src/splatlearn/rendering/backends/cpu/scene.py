"""The compiled way for scenes: many Gaussians of one set, from parameters to a picture and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatlearn.rendering.backends.cpu.support import kernels


@dataclass(frozen=True)
class SceneLens:
    """What a view says beside its matrix: the camera model, its numbers as the kernels take them, the far plane."""

    model: str
    numbers: list[float]
    far: float
    is_parallel: bool


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


def forward(
    inputs: SceneInputs,
    view: tuple[Tensor, Tensor],
    lens: SceneLens,
    has_depth: bool,
    background: Tensor,
    outputs: tuple[Tensor, Tensor],
    weights: Tensor | None,
) -> Any:
    """Fill colour [C, H, W], with a last channel of depths if asked, and transmittance [H, W]; return the view's state.

    - `view`: the matrix [4, 4], and the point [3] where directions of view begin (their direction if all are parallel).
    - `weights`: [K, 3], filled with the sum and maximum of each Gaussian's blending weights, and its pixels.
    """
    return kernels().scene_forward(
        *inputs.arrays(),
        *(each.detach().numpy() for each in view),
        lens.model,
        lens.numbers,
        lens.far,
        lens.is_parallel,
        has_depth,
        background.detach().numpy(),
        *(each.numpy() for each in outputs),
        None if weights is None else weights.numpy(),
        torch.get_num_threads(),
    )


def backward(
    state: Any,
    inputs: SceneInputs,
    view: tuple[Tensor, Tensor],
    lens: SceneLens,
    has_depth: bool,
    background: Tensor,
    outputs: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
    results: SceneInputs,
    background_result: Tensor,
    camera_result: Tensor | None,
    means2d_results: tuple[Tensor | None, Tensor | None],
    is_first_view: bool,
) -> None:
    """Write the gradients of the Gaussians to `results`, or add to them if this is not the first view.

    Those of background, camera (float64 [15]: rows of the matrix, then the origin) and means2d [K, 2] are written.
    """
    kernels().scene_backward(
        state,
        *inputs.arrays(),
        *(each.detach().numpy() for each in view),
        lens.model,
        lens.numbers,
        lens.far,
        lens.is_parallel,
        has_depth,
        background.detach().numpy(),
        *(each.detach().numpy() for each in (*outputs, *gradients)),
        *results.arrays(),
        background_result.numpy(),
        *(None if each is None else each.numpy() for each in (camera_result, *means2d_results)),
        is_first_view,
        torch.get_num_threads(),
    )
