"""The pinhole camera that takes the place of a lens with distortion, and the resampling of pictures for it.

The rule: the pinhole has the lens's focal lengths and principal ray, so that the middle of the picture keeps its scale.
Each edge lies at the point of the photograph's same edge that is nearest to the axis, so that the results of ordinary
lenses have no empty pixels and lose only their corners. No edge is more than `WIDEST` degrees from the axis: a pinhole
needs 1 / cos² 55° = 3 times the pixels per degree there that it needs in the middle, and infinitely many at 90. A mask
leaves out the pixels that the photograph does not show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from splatlearn.captures.lenses import Lens
from splatlearn.captures.lenses.models import Array
from splatlearn.core.errors import InputError

WIDEST = 55.0
"""Degrees between the axis and the middle of an edge: 110 degrees across."""
BORDER = 200
"""Points along each edge."""
WHOLE = 254.0
"""Smallest interpolated value, out of 255, at which a pixel of a mask counts: all pixels that it is made from do."""


def result_of(lens: Lens) -> Lens:
    """Return the lens of what is fitted: a panorama stays one, and a pinhole takes the place of every other lens."""
    return lens if lens.is_panorama else pinhole_of(lens)


def pinhole_of(lens: Lens) -> Lens:
    """Return the pinhole, of model "PINHOLE", that takes the place of a lens; the rule is at the head of the module.

    Raises InputError for panoramas, and for lenses whose edges lie on the wrong side of the axis.
    """
    if lens.is_panorama:
        raise InputError(
            "camera model: EQUIRECTANGULAR shows all directions, which no flat picture does; a panorama is fitted as "
            "it is"
        )
    if lens.is_pinhole:
        return Lens.pinhole(lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy)
    left, right, top, bottom = _edges(lens)
    width, height = int((right - left) * lens.fx + 1e-6), int((bottom - top) * lens.fy + 1e-6)
    if not (left < 0 < right and top < 0 < bottom) or width < 1 or height < 1:
        raise InputError(
            f"camera model: expected a lens that looks along its axis, got {lens.model} with {list(lens.params)}"
        )
    return Lens.pinhole(width, height, lens.fx, lens.fy, -left * lens.fx, -top * lens.fy)


def _edges(lens: Lens) -> tuple[float, float, float, float]:
    """x / z of the left and right edge, and y / z of the upper and lower one, by the rule."""
    along = np.linspace(0, 1, BORDER)
    across, down, zero = along * lens.width, along * lens.height, np.zeros(BORDER)
    widest = math.tan(math.radians(WIDEST))

    def nearest(columns: Array, rows: Array, axis: int, sign: float) -> float:
        rays = lens.unproject(np.stack([columns, rows], axis=-1))
        ahead = np.isfinite(rays).all(axis=-1) & (rays[:, 2] > 1e-6)  # other rays set no limit
        slopes = sign * rays[ahead, axis] / rays[ahead, 2]
        return sign * min(widest, float(slopes.min(initial=math.inf)))

    return (
        nearest(zero, down, 0, -1.0),
        nearest(zero + lens.width, down, 0, 1.0),
        nearest(across, zero, 1, -1.0),
        nearest(across, zero + lens.height, 1, 1.0),
    )


@dataclass(frozen=True, eq=False)
class Resampling:
    """Where each pixel of a pinhole's picture is found in a photograph.

    - `places` [H, W, 2]: in the units of `grid_sample`, from −1 to 1 between the outer edges.
    - `seen` [H, W]: which pixels the photograph shows; None if it shows all.
    """

    places: Float32[Tensor, "H W 2"]
    seen: Bool[np.ndarray, "H W"] | None

    def picture(self, pixels: UInt8[np.ndarray, "h w C"]) -> UInt8[np.ndarray, "H W C"]:
        """Resample a picture by bicubic interpolation; colours count as much as their opacity."""
        values = torch.from_numpy(pixels).permute(2, 0, 1).float()
        if len(values) == 4:
            values[:3] *= values[3:] / 255
        out = self._sample(values, "bicubic")
        if len(values) == 4:
            out[:3] *= 255 / out[3:].clamp_min(0.5)
        return out.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    def mask(self, mask: UInt8[np.ndarray, "h w"] | None) -> UInt8[np.ndarray, "H W"] | None:
        """Resample a mask of 0 and 255, and leave out what the photograph does not show; None if nothing is."""
        if mask is None:
            return None if self.seen is None else self.seen.astype(np.uint8) * np.uint8(255)
        kept = self._sample(torch.from_numpy(mask)[None].float(), "bilinear")[0].numpy() >= WHOLE
        return (kept if self.seen is None else kept & self.seen).astype(np.uint8) * np.uint8(255)

    def depth(self, depths: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "H W"]:
        """Resample a depth map: the nearest pixel's, since a mean of near and far is neither; 0 where nothing is seen.

        Depths along the axis stay what they are, because the pinhole looks along the axis of the lens.
        """
        found = self._sample(torch.from_numpy(depths)[None], "nearest")[0].numpy()
        return found if self.seen is None else np.where(self.seen, found, np.float32(0))

    def _sample(self, values: Tensor, mode: str) -> Tensor:
        return grid_sample(values[None], self.places[None], mode, padding_mode="border", align_corners=False)[0]


@lru_cache(maxsize=4)
def resampling(lens: Lens) -> Resampling:
    """Return the resampling from the pictures of a lens to those of `pinhole_of(lens)`."""
    pinhole = pinhole_of(lens)
    x = (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx
    y = (np.arange(pinhole.height) + 0.5 - pinhole.cy) / pinhole.fy
    places = np.empty((pinhole.height, pinhole.width, 2), dtype=np.float32)
    seen = np.empty((pinhole.height, pinhole.width), dtype=bool)
    for start in range(0, pinhole.height, 64):  # float64 for some rows at a time
        rows = slice(start, start + 64)
        points = np.stack(np.broadcast_arrays(x, y[rows, None], 1.0), axis=-1)
        places[rows] = lens.project(points) * (2 / lens.width, 2 / lens.height) - 1
        seen[rows] = lens.sees(points)
    return Resampling(torch.from_numpy(places), None if seen.all() else seen)
