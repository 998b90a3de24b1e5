"""The compiled way for scenes: many Gaussians of one set, from parameters to a picture and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatlearn.core.gaussians import GAUSSIAN, SURFEL
from splatlearn.rendering.backends.cpu import project
from splatlearn.rendering.backends.cpu.support import kernels
from splatlearn.rendering.backends.scene_views import WEIGHTS, SceneInputs, SceneResults, SceneView
from splatlearn.rendering.formula import EPS2D

MODELS = (*project.MODELS, "panorama")
"""The camera models that the kernels of scenes know, by name."""
DRAWN = {GAUSSIAN: (*project.FILTERS, "analytic"), "ges": project.FILTERS, SURFEL: ("point",)}
"""The filters that the kernels of scenes know, by the name of the primitive; panoramas are of Gaussians alone."""
HAS_MEDIANS = True
"""Whether `median` is there, and views with two channels of depths are rendered."""


def empty_like(tensor: Tensor) -> Tensor:
    """Return a float32 tensor that is not filled, in memory that is kept for the next call once it is free.

    At the size of scenes, fresh pages for gradients cost as much as blending does.
    """
    return torch.from_numpy(kernels().room(list(tensor.shape)))


def forward(inputs: SceneInputs, view: SceneView, outputs: tuple[Tensor, Tensor], weighs: bool) -> Any:
    """Fill the outputs of a view, and return its state (see `scene_views`)."""
    return kernels().scene_forward(
        *_arrays(*inputs.tensors()),
        *_arguments(view),
        *_arrays(*outputs),
        weighs,
        torch.get_num_threads(),
    )


def visible(state: Any, weighs: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the ids [N] of the Gaussians that a view sees, their radii, and their weights [3, N] or None."""
    ids, radii = torch.empty(state.visible, dtype=torch.int64), torch.empty(state.visible)
    weights = torch.empty(WEIGHTS, state.visible) if weighs else None
    state.fill_visible(*_arrays(ids, radii, weights), torch.get_num_threads())
    return ids, radii, weights


def median(state: Any, output: Tensor) -> None:
    """Fill the median depths [H, W] of a view."""
    kernels().scene_median(state, output.numpy(), torch.get_num_threads())


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
    kernels().scene_backward(
        state,
        *_arrays(*inputs.tensors()),
        *_arguments(view),
        *_arrays(*outputs, *gradients),
        *_arrays(*results.gaussians.tensors()),
        *_arrays(results.background, results.camera, results.means2d, results.absolute),
        is_first_view,
        torch.get_num_threads(),
    )


def _arrays(*tensors: Tensor | None) -> list[np.ndarray | None]:
    return [None if each is None else each.detach().numpy() for each in tensors]


def _arguments(view: SceneView) -> list[Any]:
    """The arguments of the compiled functions for a view, in their order."""
    lens = view.lens
    matrix, origin, background = _arrays(view.matrix, view.origin, view.background)
    numbers = lens.numbers
    if lens.compensates:
        numbers = [*numbers, lens.eps2d, 1.0]
    elif lens.eps2d != EPS2D:
        numbers = [*numbers, lens.eps2d]
    shown = lens.far, lens.is_parallel, view.depth_channels
    return [matrix, origin, lens.model, numbers, *shown, lens.formula, background]
