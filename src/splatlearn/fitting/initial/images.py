"""A plain start for fitting an image without a model."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_images
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import matrices_to_quaternions
from splatlearn.core.numbers import check_whole
from splatlearn.fitting.sampling import draw_sites
from splatlearn.rendering.leading import flat_camera

UNIFORM_SHARE = 0.3
"""Share of the centres that are spread without looking at the image."""
START_OPACITY = 0.8
START_SIGMA = 0.5
"""Standard deviation in mean distances between neighbouring centres."""


def initial_gaussians(
    images: Float[Tensor, "B 3 H W"],
    count: int,
    generator: torch.Generator | None = None,
    camera: Camera | None = None,
) -> Gaussians:
    """Round Gaussians [B, count] at random pixels, more where the image changes, in the colours found there.

    - `images`: in [0, 1].
    - `generator`: on the CPU; the default is PyTorch's global one.
    - `camera`: who looks; `Camera.gmae` of the images' size by default.

    Centres are drawn with a probability that is part uniform, part proportional to the size of the image's gradient
    (Image-GS, Zhang et al. 2025, section 4). Depths are random: fitting has no gradient to the order. Raises TypeError
    for images that are not floating-point and ValueError for other shapes or a count below 1.
    """
    check_images(images, 3)
    check_not_empty(images)
    check_whole("count", count, 1)
    height, width = images.shape[-2:]
    camera = flat_camera(camera or Camera.gmae(height, width), images.shape[:1])
    strength = gradient_size(images).flatten(1)
    flat = torch.full_like(strength, 1.0 / strength.shape[1])
    share = strength / strength.sum(dim=1, keepdim=True).clamp_min(1e-12)
    chance = UNIFORM_SHARE * flat + (1 - UNIFORM_SHARE) * torch.where(share.sum(1, keepdim=True) > 0, share, flat)
    sites = draw_sites(chance, count, generator)
    depth = torch.rand(sites.shape, generator=generator).to(images.device) - 0.5
    sigma = START_SIGMA * (height * width / count) ** 0.5
    return gaussians_at(images, sites, depth + origin_depths(camera).to(depth), sigma, camera)


def gaussians_at(
    images: Float[Tensor, "B 3 H W"],
    sites: Int64[Tensor, "B K"],
    depths: Float[Tensor, "B K"],
    sigma: float,
    camera: Camera,
) -> Gaussians:
    """Round Gaussians centred on pixels, in their colours.

    - `sites`: indices of pixels, row by row; `depths`: along the camera's axis, world units.
    - `sigma`: standard deviation, pixels along x.
    """
    width = images.shape[-1]
    model, lens = camera.projection, camera.lens(depths)
    points = model.unproject(sites % width + 0.5, sites // width + 0.5, depths, lens)
    seen = torch.stack(points, dim=-1).to(images.dtype)
    view = camera.viewmats.to(images)
    means = (seen - view[..., None, :3, 3]) @ view[..., :3, :3]
    size = sigma / lens.fx * (depths if model.depth_shrinks_extents else torch.ones_like(depths))
    # Their axes are the camera's, so that a fit is the same wherever it looks.
    quaternions = matrices_to_quaternions(view[..., :3, :3].mT).unsqueeze(-2).expand(*sites.shape, 4).contiguous()
    colors = images.flatten(2).gather(2, sites.unsqueeze(1).expand(-1, images.shape[1], -1)).transpose(1, 2)
    return Gaussians(
        means=means,
        scales=size.to(images.dtype).unsqueeze(-1).expand(-1, -1, 3).contiguous(),
        quaternions=quaternions,
        colors=colors.contiguous(),
        opacities=torch.full(sites.shape, START_OPACITY, dtype=images.dtype, device=images.device),
    )


def gradient_size(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
    """The root of the summed squares of central differences over all channels; 0 along a side of one pixel."""
    total = images.new_zeros(images.shape[0], *images.shape[-2:])
    for axis in (-2, -1):
        if images.shape[axis] > 1:
            total = total + torch.gradient(images, dim=axis)[0].square().sum(dim=1)
    return total.sqrt()


def check_not_empty(images: Tensor) -> None:
    """Raise InputError where there is no image or no pixel."""
    if 0 in images.shape:
        raise InputError(f"images: expected at least one image of one pixel, got shape {list(images.shape)}")


def origin_depths(camera: Camera) -> Float[Tensor, "*B 1"]:
    """The depth of the world's origin before each view, or two units where the origin is not in front."""
    depths = camera.viewmats[..., 2, 3:].detach()
    return torch.where(depths > 1.0, depths, 2.0)
