"""gsplat's `rasterization` in plain PyTorch, dense and of any dtype, by its equations and its own constants.

It stands in for the package, which needs CUDA: as an oracle of what it shows, and as a module for tests of the backend.
The equations are those of its documentation and of Kerbl et al. 2023; nothing of splatlearn is called.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

ALPHA_MIN = 1 / 255
EXTENT = 3.33
RELEASES = {"1.5": 0.999, "1.6": 0.99}
"""The upper clamp of α by release."""


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    absgrad: bool = False,
    camera_model: str = "pinhole",
    rasterize_mode: str = "classic",
    *,
    release: str = "1.5",
    draws_last: bool = False,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Colours [*B, C, H, W, X], alphas [*B, C, H, W, 1] and `meta`, as gsplat has them.

    `draws_last`: draw the splat that makes a pixel opaque, as splatlearn does; gsplat leaves it out.
    """
    batch, count, views = means.shape[:-2], means.shape[-2], viewmats.shape[-3]
    pictures, pairs = [], []
    for index in range(math.prod(batch) * views):
        one, view = divmod(index, views)
        mean, quat, scale = (each.reshape(-1, *each.shape[len(batch) :])[one] for each in (means, quats, scales))
        opacity = opacities.reshape(-1, count)[one]
        matrix, lens = viewmats.reshape(-1, 4, 4)[index], Ks.reshape(-1, 3, 3)[index]
        means2d, covariance, depth = project(mean, quat, scale, matrix, lens, (width, height), camera_model)
        sharp = torch.linalg.det(covariance)
        covariance = covariance + eps2d * torch.eye(2, dtype=means.dtype)
        if rasterize_mode == "antialiased":
            opacity = opacity * (sharp / torch.linalg.det(covariance)).clamp_min(0).sqrt()
        spread = torch.stack([covariance[:, 0, 0], covariance[:, 1, 1]], -1).sqrt()
        extent = (2 * (opacity / ALPHA_MIN).clamp_min(1e-9).log()).clamp_min(0).sqrt().clamp_max(EXTENT)
        radii = (extent[:, None] * spread).ceil().int()
        shows = (depth >= near_plane) & (depth <= far_plane) & (opacity >= ALPHA_MIN) & (radii > radius_clip).any(-1)
        size = torch.tensor([width, height])
        shows &= ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
        ids = shows.nonzero().squeeze(-1)
        seen = _colors(colors, one, view, batch, mean, matrix, sh_degree)[ids]
        pairs.append(
            {
                "batch_ids": torch.full_like(ids, one),
                "camera_ids": torch.full_like(ids, view),
                "gaussian_ids": ids,
                "radii": radii[ids],
                "means2d": means2d[ids],
                "depths": depth[ids],
                "opacities": opacity[ids],
                "conics": torch.linalg.inv(covariance[ids]),
                "colors": seen,
            }
        )
    meta = {name: torch.cat([each[name] for each in pairs]) for name in pairs[0]}
    starts = torch.tensor([0, *(len(each["gaussian_ids"]) for each in pairs)]).cumsum(0).tolist()
    for index in range(len(pairs)):
        rows = slice(starts[index], starts[index + 1])
        behind = None if backgrounds is None else backgrounds.reshape(-1, backgrounds.shape[-1])[index]
        own = {name: each[rows] for name, each in meta.items()}
        pictures.append(_picture(own, rows, meta, (width, height), behind, render_mode, absgrad, release, draws_last))
    color, alpha = (torch.stack(each).reshape(*batch, views, *each[0].shape) for each in zip(*pictures, strict=True))
    assert packed, "the twin has packed results alone"
    return color, alpha, meta | {"width": width, "height": height, "n_cameras": views, "n_batches": math.prod(batch)}


def project(
    mean: Tensor, quat: Tensor, scale: Tensor, matrix: Tensor, K: Tensor, size: tuple[int, int], model: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels [N, 2], covariances in them [N, 2, 2], and depths [N]."""
    w, x, y, z = (quat / quat.norm(dim=-1, keepdim=True)).unbind(-1)
    turn = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    axes = matrix[:3, :3] @ turn * scale[:, None, :]
    x, y, z = (mean @ matrix[:3, :3].T + matrix[:3, 3]).unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    none, one = torch.zeros_like(z), torch.ones_like(z)
    if model == "ortho":
        jacobian = torch.stack([fx * one, none, none, none, fy * one, none], -1).reshape(-1, 2, 3)
        pixels = torch.stack([fx * x + cx, fy * y + cy], -1)
    else:
        margin_x, margin_y = 0.3 * 0.5 * size[0] / fx, 0.3 * 0.5 * size[1] / fy
        u = (x / z).clamp(-(cx / fx + margin_x), (size[0] - cx) / fx + margin_x)
        v = (y / z).clamp(-(cy / fy + margin_y), (size[1] - cy) / fy + margin_y)
        jacobian = torch.stack([fx / z, none, -fx * u / z, none, fy / z, -fy * v / z], -1).reshape(-1, 2, 3)
        pixels = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    half = jacobian @ axes
    return pixels, half @ half.mT, z


def _colors(
    colors: Tensor, one: int, view: int, batch: torch.Size, mean: Tensor, matrix: Tensor, sh_degree: int | None
) -> Tensor:
    """Colours [N, D] of one set as one camera sees them."""
    own = len(batch) + (2 if sh_degree is None else 3)
    flat = colors.reshape(-1, *colors.shape[len(batch) :])[one]
    flat = flat[view] if colors.ndim > own else flat
    if sh_degree is None:
        return flat
    assert sh_degree <= 1, "the twin has harmonics up to degree 1"
    center = -matrix[:3, :3].T @ matrix[:3, 3]
    x, y, z = torch.nn.functional.normalize(mean - center, dim=-1)[..., None].unbind(-2)
    found = 0.28209479177387814 * flat[:, 0]
    if sh_degree:
        found = found + 0.4886025119029199 * (-y * flat[:, 1] + z * flat[:, 2] - x * flat[:, 3])
    return (found + 0.5).clamp_min(0)


def _picture(
    own: dict[str, Tensor],
    rows: slice,
    meta: dict[str, Any],
    size: tuple[int, int],
    behind: Tensor | None,
    render_mode: str,
    absgrad: bool,
    release: str,
    draws_last: bool,
) -> tuple[Tensor, Tensor]:
    """Colours [H, W, X] and alphas [H, W, 1] of one picture."""
    width, height = size
    dtype = own["means2d"].dtype
    rows_of, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows_of], -1).reshape(1, -1, 2).to(dtype)
    at_pixels = own["means2d"][:, None].expand(-1, width * height, -1)
    if absgrad and at_pixels.requires_grad:

        def collect(gradient: Tensor) -> None:
            whole = meta["means2d"]
            if not hasattr(whole, "absgrad"):
                whole.absgrad = torch.zeros_like(whole)
            whole.absgrad[rows] = gradient.abs().sum(1)

        at_pixels = at_pixels * 1
        at_pixels.register_hook(collect)
    order = own["depths"].argsort(stable=True)
    d = (at_pixels - pixels)[order]
    power = 0.5 * torch.einsum("npi,nij,npj->np", d, own["conics"][order], d)
    alpha = (own["opacities"][order, None] * torch.exp(-power)).clamp_max(RELEASES[release])
    alpha = torch.where((power < 0) | (alpha < ALPHA_MIN), 0, alpha)
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after])[:-1]
    drawn = (before >= 1e-4) if draws_last else (after > 1e-4)
    weights = torch.where(drawn, before * alpha, 0)
    covered = weights.sum(0)
    parts = []
    if "RGB" in render_mode:
        color = weights.T @ own["colors"][order]
        parts.append(color if behind is None else color + (1 - covered)[:, None] * behind)
    if "D" in render_mode:
        depth = weights.T @ own["depths"][order, None]
        parts.append(depth / covered[:, None].clamp_min(1e-10) if "ED" in render_mode else depth)
    return torch.cat(parts, -1).reshape(height, width, -1), covered.reshape(height, width, 1)
