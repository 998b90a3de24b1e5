"""What gsplat's strategies read in `meta`, from what our renderer reports of a view."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.rendering.scene_function import SceneInfo


def pairs_seen(
    info: SceneInfo,
    means: Float[Tensor, "*B N 3"],
    opacities: Float[Tensor, "*B N"],
    camera: Camera,
    packed: bool,
) -> dict[str, Any]:
    """Return the entries of `meta` about the P pairs of a camera [*B, C] and a Gaussian [*B, N] that it sees.

    - `packed`: rows [P]; else [*B, C, N], filled up with zeros.
    """
    shape, count, views = camera.batch_shape, means.shape[-2], camera.batch_shape[-1]
    batch_ids = info.view_ids.div(views, rounding_mode="floor")
    rows = batch_ids * count + info.ids
    means2d, depths = _projected(means.reshape(-1, 3).index_select(0, rows), camera, info.view_ids)
    found = {
        "means2d": means2d,
        "radii": info.radii.ceil().to(torch.int32).unsqueeze(-1).expand(-1, 2),
        "depths": depths,
        "opacities": opacities.reshape(-1).index_select(0, rows),
    }
    places = None if packed else info.view_ids * count + info.ids
    if places is not None:
        found = {name: _spread(each, places, (*shape, count)) for name, each in found.items()}
    ids = {"batch_ids": batch_ids, "camera_ids": info.view_ids % views, "gaussian_ids": info.ids}
    return {**(ids if packed else dict.fromkeys(ids)), **found}


def _projected(
    means: Float[Tensor, "P 3"], camera: Camera, view_ids: Tensor
) -> tuple[Float[Tensor, "P 2"], Float[Tensor, " P"]]:
    """Pixels and depths of means, each seen by its view; pairs are ordered by view."""
    kept = len(camera.batch_shape)
    flat = camera.map(lambda each: each.reshape(-1, *each.shape[kept:]).to(means))
    counts = torch.bincount(view_ids, minlength=flat.batch_shape[0]).tolist()
    pixels, depths = [], []
    for view, each in enumerate(means.split(counts)):
        one = flat[view]
        x, y, z = (each @ one.viewmats[:3, :3].mT + one.viewmats[:3, 3]).unbind(-1)
        pixels.append(torch.stack(one.projection.project(x, y, z, one.lens(z)), dim=-1))
        depths.append(z)
    return torch.cat(pixels), torch.cat(depths)


def _spread(rows: Tensor, places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows [P, …] at their places in a tensor [*shape, …] of zeros."""
    own = rows.shape[1:]
    whole = rows.new_zeros(math.prod(shape), *own)
    return whole.index_copy(0, places, rows).reshape(*shape, *own)


def report_gradients(info: SceneInfo, means2d: Tensor, packed: bool, inputs: Iterable[Tensor]) -> None:
    """Have the backward pass set `means2d.grad`, and its `absgrad` if it was requested.

    The compiled renderer goes from parameters to pictures in one node, so that `means2d` is not on the way. A loss of
    `means2d` itself reaches means and cameras as usual.

    - `inputs`: tensors, no leaves, that were rendered and for nothing else. The backward pass reaches them after that
      node.
    """
    # A view that is taken without gradients says that it requires them where its base does.
    watched = next((each for each in inputs if each.requires_grad), None)
    if watched is None or not torch.is_grad_enabled():
        return
    if means2d.requires_grad:
        means2d.retain_grad()
    else:
        means2d.requires_grad_()
    shape = means2d.shape[:-1]
    places = None if packed else info.view_ids * shape[-1] + info.ids

    def shaped(rows: Tensor) -> Tensor:
        return rows if places is None else _spread(rows, places, shape)

    def fill(_: Tensor) -> None:
        if info.means2d_grad is not None:
            found = shaped(info.means2d_grad)
            means2d.grad = found if means2d.grad is None else means2d.grad + found
        if info.means2d_absgrad is not None:
            means2d.absgrad = shaped(info.means2d_absgrad)  # pyright: ignore[reportAttributeAccessIssue]

    watched.register_hook(fill)
