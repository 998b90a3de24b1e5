"""Rendering: Gaussians and a camera in, images out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_finite, check_gaussians, sees_values
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.kinds import check_kind
from splatlearn.core.operation import is_transformed
from splatlearn.rendering.compositing import Background, background_colors, composite
from splatlearn.rendering.leading import flat_leading, flat_views
from splatlearn.rendering.projection import project
from splatlearn.rendering.splats import Splats, working_dtype
from splatlearn.rendering.view_colors import seen_by


@dataclass(frozen=True, eq=False)
class Rendering:
    """Images of Gaussians [*B, K], with leading axes *S: *B, or [*B, V] for V views of each set.

    - `color` [*S, C, H, W], over the background.
    - `alpha` [*S, H, W] in [0, 1]: how much of the background is covered.
    - `depth` [*S, H, W], world units along the camera's axis: the mean depth of what covers a pixel, weighted as its
      colour is; 0 where nothing does. None if `render` was called with `depth=False`.
    """

    color: Float[Tensor, "*S C H W"]
    alpha: Float[Tensor, "*S H W"]
    depth: Float[Tensor, "*S H W"] | None


def render(
    gaussians: Gaussians,
    camera: Camera,
    background: Background = "white",
    backend: str = "auto",
    depth: bool = True,
    check: bool = True,
) -> Rendering:
    """Render sets of Gaussians, with gradients to every attribute.

    - `gaussians`: any leading batch shape *B, none included. Those with `sh` are seen in max(0, SH + ½) along the line
      from the camera's centre to each mean, with gradients through the direction; see `rendering.seen_by` for cameras
      that project in parallel.
    - `camera`: one for all sets, a batch [*B] with one for each, or a batch [*B, V] with V views of each set.
    - `background`: "white", "black", C numbers, or a tensor [C], [*B, C] or, with V views of each set, [*B, V, C].
    - `backend`: "auto" or a name of `available_backends()`; "torch" is the specification for every step, and has second
      derivatives, forward mode and function transforms (see `composite`).
    - `depth`: composite a depth map too (one more channel).
    - `check`: raise for NaN and infinity, negative scales, opacities outside of [0, 1], zero quaternions, and a
      projection that is not finite. This is skipped on GPUs, where it would wait for the GPU.

    Raises InputError, which names the argument, for wrong shapes and values; BackendError for an unusable backend.
    """
    check_kind("gaussians", gaussians, Gaussians)
    check_kind("camera", camera, Camera)
    tensors, batch = gaussians.tensors(), gaussians.batch_shape
    check = check and sees_values(*tensors.values()) and not is_transformed(*tensors.values())
    if check:
        with torch.no_grad():
            check_gaussians(**tensors)
            check_finite("look at how the camera was made", viewmats=camera.viewmats)
    flat, camera, shape = flat_views(seen_by(gaussians, camera), camera)
    channels = flat.fixed_colors().shape[-1]
    is_flat = len(shape) == 1
    if isinstance(background, Tensor):
        if background.ndim > 1 and tuple(background.shape[:-1]) == batch != shape:
            background = background.unsqueeze(-2)
        background = flat_leading("background", background, shape, (channels,))
    splats = project(flat, camera, backend)
    if check:
        _check_projected(splats, flat)
    colors = splats.colors.to(working_dtype(splats.colors.dtype))
    behind = background_colors(background, colors)
    if check:
        check_finite("look at how it was made", background=behind)
    if depth:
        colors = torch.cat([colors, splats.depths.unsqueeze(-1)], dim=-1)
        behind = torch.cat([behind, behind.new_zeros(behind.shape[0], 1)], dim=-1)
        splats = Splats(splats.means2d, splats.conics, splats.depths, colors, splats.opacities)
    image, transmittance = composite(splats, camera.height, camera.width, behind, backend, check=False)
    alpha = 1.0 - transmittance
    depth_map = None
    if depth:
        # One node for autograd: each slice would write its gradient into an image of zeros of its own.
        image, summed = image.split([image.shape[1] - 1, 1], dim=1)
        depth_map = summed.squeeze(1) / alpha.clamp_min(torch.finfo(alpha.dtype).eps)

    def batched(values: Tensor) -> Tensor:
        return values if is_flat else values.reshape(*shape, *values.shape[1:])

    return Rendering(batched(image), batched(alpha), None if depth_map is None else batched(depth_map))


def _check_projected(splats: Splats, gaussians: Gaussians) -> None:
    """Raise InputError if the projection of finite Gaussians overflows."""
    with torch.no_grad():
        finite = torch.cat([splats.means2d, splats.conics, splats.depths.unsqueeze(-1)], -1).isfinite().all(dim=-1)
        if bool(finite.all()):
            return
        mean, scale = (float(each.abs().max()) for each in (gaussians.means, gaussians.scales))
        raise InputError(
            f"gaussians: expected a projection that {splats.conics.dtype} can hold, got {int((~finite).sum())} of "
            f"{finite.numel()} splats that are NaN or infinite; the largest coordinate of means is {mean:.3g}, the "
            f"largest of scales {scale:.3g}"
        )
