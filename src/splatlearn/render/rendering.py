"""Rendering: Gaussians and a camera in, images out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.camera import Camera
from splatlearn.checks import check_finite
from splatlearn.gaussians import Gaussians
from splatlearn.render.composite import Background, background_colors, composite
from splatlearn.render.leading import flat_camera, flat_leading
from splatlearn.render.operation import is_transformed
from splatlearn.render.projection import project, working_dtype
from splatlearn.render.splats import Splats


@dataclass(frozen=True, eq=False)
class Rendering:
    """Images of Gaussians, with the leading batch shape *B of the Gaussians.

    - `color` [*B, C, H, W], over the background.
    - `alpha` [*B, H, W] in [0, 1]: how much of the background is covered.
    - `depth` [*B, H, W], world units along the camera's axis: the mean depth of what covers a pixel, weighted as its
      colour is; 0 where nothing does. None when it was not asked for.
    """

    color: Float[Tensor, "*B C H W"]
    alpha: Float[Tensor, "*B H W"]
    depth: Float[Tensor, "*B H W"] | None


def render(
    gaussians: Gaussians,
    camera: Camera,
    background: Background = "white",
    backend: str = "auto",
    depth: bool = True,
    check: bool = True,
) -> Rendering:
    """Render sets of Gaussians, each to one image, with gradients to every attribute.

    - `gaussians`: any leading batch shape *B, none included.
    - `camera`: with one matrix for all sets, or one for each, [*B, 4, 4].
    - `background`: "white", "black", C numbers, or a tensor [C] or [*B, C].
    - `backend`: "auto" or a name of `available_backends()`; "torch" is the specification for every step, and has second
      derivatives, forward mode and function transforms (see `composite`).
    - `depth`: composite a depth map too (one more channel).
    - `check`: raise on non-finite Gaussians (CPU tensors only: on a GPU looking would stall).

    Raises InputError naming the argument that is non-finite or does not fit, BackendError for an unusable backend.
    """
    shape = gaussians.batch_shape
    is_flat = len(shape) == 1
    flat = gaussians if is_flat else gaussians.reshape_batch(math.prod(shape))
    looked_at = flat.means.device.type == "cpu" and not torch.compiler.is_compiling()
    if check and looked_at and not is_transformed(*vars(flat).values()):
        with torch.no_grad():
            check_finite(**vars(flat))
    camera = flat_camera(camera, shape)
    if isinstance(background, Tensor):
        background = flat_leading("background", background, shape, (flat.colors.shape[-1],))
    splats = project(flat, camera, backend)
    colors = splats.colors.to(working_dtype(splats.colors.dtype))
    behind = background_colors(background, colors)
    if depth:
        colors = torch.cat([colors, splats.depths.unsqueeze(-1)], dim=-1)
        behind = torch.cat([behind, behind.new_zeros(behind.shape[0], 1)], dim=-1)
        splats = Splats(splats.centers, splats.conics, splats.depths, colors, splats.opacities)
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
