"""Overlapping windows of an image, and one set of Gaussians made of what each window shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import matrices_to_quaternions, quaternions_to_matrices
from splatlearn.images.tiles import tile_starts

MOST_WINDOWS = 16384
"""Windows of an image: more of them would keep a machine busy for hours, and fill its memory with Gaussians."""


@dataclass(frozen=True)
class Window:
    """A box of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """The window's pixels."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]


def least_window(native: tuple[int, int], patch_size: int) -> int:
    """The smallest height of a window of the native aspect (height, width) that covers a patch of the model."""
    return max(patch_size, math.ceil(patch_size * native[0] / native[1]))


def windows_over(
    height: int, width: int, native: tuple[int, int], window: int | None = None, overlap: float = 0.5
) -> list[Window]:
    """Windows of the native aspect, spread evenly from edge to edge of an image.

    - `window`: their height in pixels; the largest that fits by default, and never more than that.
    - `overlap`: smallest share of a window that its neighbour covers too.

    Raises InputError for more than `MOST_WINDOWS`.
    """
    largest = min(height, width * native[0] / native[1])
    tall = min(largest, largest if window is None else window)
    rows = max(1, round(tall))
    columns = min(width, max(1, round(tall * native[1] / native[0])))
    tops, lefts = tile_starts(height, rows, overlap), tile_starts(width, columns, overlap)
    if len(tops) * len(lefts) > MOST_WINDOWS:
        raise InputError(
            f"window, overlap: expected at most {MOST_WINDOWS} windows, got {len(tops) * len(lefts)} of "
            f"{rows}×{columns} pixels with an overlap of {overlap:g} over {height}×{width}; choose larger windows or a "
            "smaller overlap"
        )
    return [Window(top, left, rows, columns) for top in tops for left in lefts]


def merge_windows(
    parts: list[Gaussians], windows: list[Window], size: tuple[int, int], distance: float | None = None
) -> Gaussians:
    """One set of Gaussians over an image of `size` (height, width) out of the sets of its windows.

    Each set is that of GMAE's camera on its window. Where windows overlap, an opacity o becomes 1 − (1 − o)^w with
    weights w that add up to 1 over the windows at the Gaussian's centre, so that windows that agree let through
    together what one would.

    `distance`: of a pinhole camera whose window (−1, 1) at z = 0 is the image; None for cameras that project centres
    orthographically. Through a pinhole what is moved off the axis is also seen from the side, which Gaussians that are
    long along the axis show.
    """
    if len(windows) == 1 and (windows[0].height, windows[0].width) == size:
        return parts[0]
    placed = [_placed(part, window, size, distance) for part, window in zip(parts, windows, strict=True)]
    faded = []
    for gaussians, own in zip(placed, windows, strict=True):
        share = _taper(gaussians, own, size, distance) / _tapers(gaussians, windows, size, distance).clamp_min(1e-12)
        opacities = 1.0 - (1.0 - gaussians.opacities).pow(share)
        faded.append(replace(gaussians, opacities=opacities))
    return Gaussians.cat(faded)


def resize(images: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C h w"]:
    """Bicubic, smoothed where it shrinks, in [0, 1]."""
    if tuple(images.shape[-2:]) == size:
        return images
    resized = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0.0, 1.0)


def _taper(gaussians: Gaussians, window: Window, size: tuple[int, int], distance: float | None) -> Float[Tensor, "B K"]:
    """A window's weight at centres: a pyramid, highest in its middle, and almost 0 beyond its edges."""
    across = _slope(gaussians, 0, window.left, window.width, size, distance)
    return across * _slope(gaussians, 1, window.top, window.height, size, distance)


def _tapers(
    gaussians: Gaussians, windows: list[Window], size: tuple[int, int], distance: float | None
) -> Float[Tensor, "B K"]:
    """The sum of the weights of all windows at centres."""
    columns = dict.fromkeys((window.left, window.width) for window in windows)
    rows = dict.fromkeys((window.top, window.height) for window in windows)
    if len(columns) * len(rows) != len(set(windows)) or len(set(windows)) != len(windows):
        return sum(_taper(gaussians, window, size, distance) for window in windows)  # pyright: ignore[reportReturnType]
    # A grid: the sum of products is the product of sums, which spares going through all windows for each of them.
    across = sum(_slope(gaussians, 0, *each, size, distance) for each in columns)
    return across * sum(_slope(gaussians, 1, *each, size, distance) for each in rows)  # pyright: ignore[reportReturnType]


def _slope(
    gaussians: Gaussians, axis: int, start: int, side: int, size: tuple[int, int], distance: float | None
) -> Float[Tensor, "B K"]:
    """A window's weight along one axis; a margin of 1e-3 keeps centres on the outermost pixels with some window."""
    seen = gaussians.means[..., axis] / _magnified(gaussians, distance)
    place = (seen + 1.0) / 2.0 * size[1 - axis]
    return (1.0 - 2.0 * (place - start - side / 2).abs() / side).clamp_min(0.0) + 1e-3


def _magnified(gaussians: Gaussians, distance: float | None) -> Tensor | float:
    """How wide (−1, 1) is at the depth of each Gaussian, over how wide it is at z = 0."""
    return 1.0 if distance is None else (gaussians.means[..., 2] + distance) / distance


def _placed(gaussians: Gaussians, window: Window, size: tuple[int, int], distance: float | None) -> Gaussians:
    """Gaussians of a window in the coordinates of the image, in which its camera projects them to the same pixels.

    Pixels per unit are those of the window's camera times these shares; depth extents shrink by their mean.
    """
    across, down = window.width / size[1], window.height / size[0]
    shift_x = (2 * window.left + window.width) / size[1] - 1.0
    shift_y = (2 * window.top + window.height) / size[0] - 1.0
    means, wide = gaussians.means, _magnified(gaussians, distance)
    x, y = means[..., 0] * across + shift_x * wide, means[..., 1] * down + shift_y * wide
    moved = torch.stack([x, y, means[..., 2]], dim=-1)
    if math.isclose(across, down, rel_tol=1e-6):
        scales, quaternions = gaussians.scales * across, gaussians.quaternions
    else:
        shrink = means.new_tensor([across, down, math.sqrt(across * down)])
        scales, quaternions = _stretched(gaussians, shrink)
    return replace(gaussians, means=moved, scales=scales, quaternions=quaternions)


def _stretched(
    gaussians: Gaussians, shrink: Float[Tensor, " 3"]
) -> tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K 4"]]:
    """Scales and quaternions of the covariances D Σ D, for the diagonal D."""
    axes = quaternions_to_matrices(gaussians.quaternions) * gaussians.scales.unsqueeze(-2)
    turned, scales, _ = torch.linalg.svd(shrink.unsqueeze(-1) * axes)
    # A rotation, not a reflection: an axis may be turned round without changing the covariance.
    sign = torch.linalg.det(turned).sign()[..., None, None]
    turned = torch.cat([turned[..., :2], turned[..., 2:] * sign], dim=-1)
    return scales, matrices_to_quaternions(turned)
