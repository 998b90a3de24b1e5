"""Depth maps by plane sweeps: which of many planes before a camera makes other photographs agree with its own.

Each plane, parallel to the picture, is a guess of every pixel's depth: it says where other cameras see the pixel. Small
windows of the photographs are compared there by their normalised cross-correlation, which brightness does not change.
The best plane wins, and a depth counts where other depth maps agree.

Source: Collins 1996 for the sweep; Yao et al. 2018 (MVSNet), section 4.2, for the check between views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number, check_whole

TEXTURE = 1e-3
"""Smallest standard deviation of grey in a window that can be compared: a quarter of a step of a byte."""
NARROW, WIDE = math.radians(2.0), math.radians(45.0)
"""Angles between rays to the middle of the range from which on, and up to which, another view is compared."""


@dataclass(frozen=True, eq=False)
class SweepView:
    """One view: a pinhole `camera` of H × W pixels, its `colors` [H, W, 3] in [0, 1], and which pixels `counts`."""

    camera: Camera
    colors: Float[Tensor, "H W 3"]
    counts: Bool[Tensor, "H W"] | None = None


@dataclass(frozen=True)
class SweepOptions:
    """Options of a sweep.

    - `step`: pixels by which a point moves, in the source with the longest baseline, from one plane to the next: planes
      are evenly spaced in inverse depth. `planes`: their largest number.
    - `window`: pixels along a side of the squares that are compared.
    - `sources`: other views that each view is compared with; of their correlations the better half counts, because
      something may stand before the others.
    - `least`: the correlation below which a pixel has no depth.
    - `tolerance`: the relative difference up to which two depth maps agree; `agreeing`: how many other maps must.

    Raises InputError for numbers out of range.
    """

    step: float = 1.0
    planes: int = 256
    window: int = 7
    sources: int = 4
    least: float = 0.6
    tolerance: float = 0.02
    agreeing: int = 1

    def __post_init__(self) -> None:
        check_number("step", self.step, above=0)
        check_whole("planes", self.planes, 3)
        check_whole("window", self.window, 3)
        check_whole("sources", self.sources, 1)
        check_number("least", self.least, least=-1, below=1)
        check_number("tolerance", self.tolerance, above=0)
        check_whole("agreeing", self.agreeing, 0)


@dataclass(frozen=True, eq=False)
class SweptDepth:
    """A depth map [H, W] along the camera's axis, 0 where there is none, and its `confidence` [H, W] in [0, 1]."""

    depth: Float[Tensor, "H W"]
    confidence: Float[Tensor, "H W"]


@torch.no_grad()
def plane_sweep(
    views: Sequence[SweepView], nearest: float, farthest: float, options: SweepOptions | None = None
) -> list[SweptDepth]:
    """Return a depth map of each view, without depths on which other maps do not agree.

    - `views`: at least two, in one world.
    - `nearest`, `farthest`: the range of depths, world units.

    Confidence is the correlation of the best plane. Views that none of the others sees from a suitable angle have no
    depths. Raises InputError for fewer than two views and a range that is none.
    """
    options = options or SweepOptions()
    check_number("nearest", nearest, above=0)
    check_number("farthest", farthest, above=nearest)
    if len(views) < 2:
        raise InputError(f"views: expected at least two, got {len(views)}")
    middle = math.sqrt(nearest * farthest)
    grey = [view.colors.float().mean(dim=-1) for view in views]
    chosen = [_sources(views, index, middle, options.sources) for index in range(len(views))]
    ends = 1.0 / farthest, 1.0 / nearest
    raw = [_sweep(views, grey, index, chosen[index], ends, options) for index in range(len(views))]
    return [_checked(views, raw, index, options) for index in range(len(views))]


def sweep_points(
    views: Sequence[SweepView], depths: Sequence[SweptDepth]
) -> tuple[Float[np.ndarray, "N 3"], UInt8[np.ndarray, "N 3"], Float[np.ndarray, " N"]]:
    """Return the points [N, 3] of all depth maps in the world, float64, their colours in bytes, and confidences."""
    places, colors, confidences = [], [], []
    for view, found in zip(views, depths, strict=True):
        rows, columns = (found.depth > 0).nonzero().unbind(1)
        pixels = torch.stack([columns, rows], dim=-1).double() + 0.5
        places.append(view.camera.to(torch.float64).unproject(pixels, found.depth[rows, columns].double()))
        colors.append((255 * view.colors[rows, columns].clamp(0, 1)).round().byte())
        confidences.append(found.confidence[rows, columns])
    return torch.cat(places).numpy(), torch.cat(colors).numpy(), torch.cat(confidences).double().numpy()


def _sources(views: Sequence[SweepView], index: int, middle: float, count: int) -> list[int]:
    """The views that see the middle of a view's range from the smallest angles that are wide enough."""
    camera = views[index].camera.to(torch.float64)
    eye, point = camera.centers, camera.centers + middle * camera.axes
    found: list[tuple[float, int]] = []
    for other, view in enumerate(views):
        there = view.camera.to(torch.float64)
        first, second = F.normalize(eye - point, dim=0), F.normalize(there.centers - point, dim=0)
        angle = math.acos(float((first @ second).clamp(-1, 1)))
        local = there.viewmats[:3, :3] @ point + there.viewmats[:3, 3]
        if other != index and NARROW <= angle <= WIDE and float(local[2]) > 0:
            found.append((angle, other))
    return [other for _, other in sorted(found)[:count]]


def _sweep(
    views: Sequence[SweepView],
    grey: list[Tensor],
    index: int,
    sources: list[int],
    ends: tuple[float, float],
    options: SweepOptions,
) -> SweptDepth:
    """The depth map of one view before it is checked."""
    height, width = grey[index].shape
    if not sources:
        return SweptDepth(torch.zeros(height, width), torch.zeros(height, width))
    camera = views[index].camera.to(torch.float64)
    baseline = max(float((views[other].camera.centers.double() - camera.centers).norm()) for other in sources)
    moved = baseline * float(torch.as_tensor(camera.fx)) * (ends[1] - ends[0])
    inverse = torch.linspace(*ends, max(3, min(options.planes, math.ceil(moved / options.step))), dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).flatten(0, 1).double()
    # The point of a ray at depth z is the eye plus z times this.
    rays = camera.unproject(pixels, torch.ones(len(pixels), dtype=torch.float64)) - camera.centers
    own = _normalised(grey[index][None, None], options.window)
    scores = torch.empty(len(inverse), height, width)
    for plane, each in enumerate(inverse.tolist()):
        points = camera.centers + rays / each
        found = torch.stack([_correlation(views[other], grey[other], points, own, options.window) for other in sources])
        scores[plane] = found.topk(max(1, len(sources) // 2), dim=0).values.mean(dim=0)
    best, place = scores.max(dim=0)
    exact = place + _refined(scores, place)
    step = float(inverse[1] - inverse[0])
    depth = (1.0 / (float(inverse[0]) + step * exact)).float()
    counts = (best >= options.least) & (place > 0) & (place < len(inverse) - 1)
    mask = views[index].counts
    counts = counts if mask is None else counts & mask
    return SweptDepth(torch.where(counts, depth, 0.0), torch.where(counts, best.clamp(0, 1), 0.0))


def _normalised(picture: Tensor, window: int) -> tuple[Tensor, Tensor, Tensor]:
    """A picture [1, 1, H, W], its means over windows, and its standard deviations there."""
    mean = _mean(picture, window)
    return picture, mean, (_mean(picture * picture, window) - mean * mean).clamp_min(0).sqrt()


def _mean(picture: Tensor, window: int) -> Tensor:
    return F.avg_pool2d(picture, window // 2 * 2 + 1, stride=1, padding=window // 2, count_include_pad=False)


def _correlation(
    view: SweepView, grey: Tensor, points: Float[Tensor, "P 3"], own: tuple[Tensor, Tensor, Tensor], window: int
) -> Float[Tensor, "H W"]:
    """The correlation of windows with a photograph as it shows points, −1 where it does not show them."""
    pixels, z = view.camera.project(points)
    u, v = pixels.unbind(-1)
    height, width = grey.shape
    size = own[0].shape[-2:]
    places = torch.stack([2 * u / width - 1, 2 * v / height - 1], dim=-1).float().view(1, *size, 2)
    seen = ((z > view.camera.near) & (u > 0) & (u < width) & (v > 0) & (v < height)).view(size)
    warped = F.grid_sample(grey[None, None], places, "bilinear", padding_mode="border", align_corners=False)
    _, mean, deviation = _normalised(warped, window)
    covariance = _mean(own[0] * warped, window) - own[1] * mean
    has_texture = (own[2] > TEXTURE) & (deviation > TEXTURE)
    found = torch.where(has_texture, covariance / (own[2] * deviation).clamp_min(TEXTURE**2), -1.0)[0, 0]
    return torch.where(seen, found.clamp(-1, 1), -1.0)


def _refined(scores: Float[Tensor, "D H W"], place: Tensor) -> Float[Tensor, "H W"]:
    """Where a parabola through the best score and its neighbours has its top, in planes from the best."""
    inner = place.clamp(1, len(scores) - 2)
    before, here, after = (scores.gather(0, (inner + shift)[None])[0] for shift in (-1, 0, 1))
    curve = before - 2 * here + after
    shift = torch.where(curve < -1e-6, 0.5 * (before - after) / curve.clamp_max(-1e-6), 0.0)
    return torch.where(inner == place, shift.clamp(-0.5, 0.5), 0.0)


def _checked(views: Sequence[SweepView], raw: list[SweptDepth], index: int, options: SweepOptions) -> SweptDepth:
    """A depth map without what fewer than `agreeing` others confirm."""
    found, camera = raw[index], views[index].camera.to(torch.float64)
    rows, columns = (found.depth > 0).nonzero().unbind(1)
    if not len(rows) or not options.agreeing:
        return found
    pixels = torch.stack([columns, rows], dim=-1).double() + 0.5
    points = camera.unproject(pixels, found.depth[rows, columns].double())
    votes = torch.zeros(len(rows))
    for other, view in enumerate(views):
        if other == index:
            continue
        pixels, z = view.camera.project(points)
        u, v = pixels.unbind(-1)
        height, width = raw[other].depth.shape
        inside = (z > view.camera.near) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        there = raw[other].depth[v.long().clamp(0, height - 1), u.long().clamp(0, width - 1)]
        votes += inside & (there > 0) & ((there - z).abs() <= options.tolerance * z)
    kept = torch.zeros_like(found.depth, dtype=torch.bool)
    kept[rows, columns] = votes >= options.agreeing
    return replace(
        found, depth=torch.where(kept, found.depth, 0.0), confidence=torch.where(kept, found.confidence, 0.0)
    )
