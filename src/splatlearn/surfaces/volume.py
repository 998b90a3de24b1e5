"""A truncated signed distance function (TSDF) in blocks of voxels near what depth maps show.

Each voxel has the mean, over the views that see it, of its distance to the surface along the ray of the nearest pixel:
positive in front, cut at the truncation. Views say nothing of what lies farther behind their surface than that. The
surface is where the mean is 0. (Curless and Levoy 1996; blocks as in Nießner et al. 2013.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.memory import available_memory, shown_bytes
from splatlearn.core.numbers import check_number

BLOCK = 8
"""Voxels of a block's side."""
VOXELS = BLOCK**3
NUMBERS = 6
"""Numbers of a voxel, 4 bytes each: distance and its count, colour and its count."""
AT_ONCE = 256
"""Blocks whose voxels are looked at together."""
BITS = 20
"""Bits of a block's place along an axis in its key."""
SHARE = 2
"""The free memory divided by this bounds a volume."""


class DepthView(NamedTuple):
    """A depth map with colours.

    - `camera`: a single pinhole camera of H × W pixels.
    - `depth` [H, W]: along the camera's axis; 0 where there is none.
    - `color` [3, H, W]: in [0, 1].
    """

    camera: Camera
    depth: Float[Tensor, "H W"]
    color: Float[Tensor, "3 H W"]


@dataclass(frozen=True)
class Grid:
    """The grid of a volume: the side of a voxel and the truncation, in world units.

    The voxel of place (i, j, k) has its centre there, times the side. Raises InputError for numbers that are not above
    0, and for a truncation below a voxel.
    """

    voxel: float
    truncation: float

    def __post_init__(self) -> None:
        check_number("voxel", self.voxel, above=0)
        check_number("truncation", self.truncation, least=self.voxel)

    @property
    def side(self) -> float:
        """The side of a block."""
        return BLOCK * self.voxel

    def blocks(self, view: DepthView) -> Int64[Tensor, " N"]:
        """Return the keys of the blocks within the truncation of what a view shows, sorted."""
        pixels = (view.depth > 0).nonzero()
        depth = view.depth[pixels[:, 0], pixels[:, 1]].double()
        ahead = _slopes(view.camera, pixels.double() + 0.5)
        reach = self.truncation / ahead.norm(dim=-1)
        # Steps of half a block along each ray, from the truncation in front to that behind.
        steps = math.ceil(2 * self.truncation / (self.side / 2)) + 1
        turn, shift = _pose(view.camera)
        found = [torch.zeros(0, dtype=torch.int64)]
        for offset in torch.linspace(-1, 1, steps).tolist():
            places = ((depth + offset * reach)[:, None] * ahead - shift) @ turn
            found.append(_keys((places / self.side).floor().long()).unique())
        return torch.cat(found).unique()


class Volume:
    """The voxels of some blocks.

    - `keys` [N]: of the blocks, as `Grid.blocks` returns them; sorted, without repetition.

    Raises InputError for more blocks than half of the free memory holds.
    """

    def __init__(self, grid: Grid, keys: Int64[Tensor, " N"]) -> None:
        needed, free = 4 * NUMBERS * VOXELS * len(keys), available_memory() // SHARE
        if needed > free:
            larger = grid.voxel * (needed / free) ** 0.5
            raise InputError(
                f"voxel: expected a volume of at most {shown_bytes(free)}, got {shown_bytes(needed)} for voxels of "
                f"{grid.voxel:.3g}; choose one above {larger:.3g}, or a smaller maximal depth"
            )
        self.grid, self.keys = grid, keys
        self.corners = _places(keys) * BLOCK
        """The first voxels of the blocks [N, 3]."""
        self.distance = torch.ones(len(keys), VOXELS)
        """Mean distances in truncations [N, VOXELS]."""
        self.count = torch.zeros(len(keys), VOXELS)
        """Views that a mean is of."""
        self.color = torch.zeros(len(keys), VOXELS, 3)
        """Mean colours of the views that see the voxel within the truncation of a surface."""
        self.colored = torch.zeros(len(keys), VOXELS)
        """Those views."""
        self._inside = torch.cartesian_prod(*(torch.arange(BLOCK),) * 3)

    def add(self, view: DepthView) -> None:
        """Take a depth map into the means."""
        turn, shift = _pose(view.camera)
        half = (BLOCK - 1) / 2
        middles = (self.corners.double() + half) * self.grid.voxel @ turn.T + shift
        # The ball around a block.
        radius = self.grid.voxel * half * math.sqrt(3)
        near = self._maybe_seen(view, middles, radius).nonzero().squeeze(1)
        offsets = ((self._inside - half) * self.grid.voxel).double() @ turn.T
        for start in range(0, len(near), AT_ONCE):
            rows = near[start : start + AT_ONCE]
            self._add(view, rows, (middles[rows, None] + offsets).float())

    def _maybe_seen(self, view: DepthView, middles: Float[Tensor, "N 3"], radius: float) -> Tensor:
        """Which blocks may have a voxel in the picture that is not too far behind a surface."""
        camera = view.camera
        x, y, z = middles.unbind(-1)
        ahead = z > -radius
        # Distances from the four sides of the pyramid of view.
        for across, focal, center, size in (
            (x, camera.fx, camera.cx, camera.width),
            (y, camera.fy, camera.cy, camera.height),
        ):
            low, high = -float(center) / float(focal), (size - float(center)) / float(focal)
            ahead &= (across - low * z) / math.hypot(1, low) > -radius
            ahead &= (high * z - across) / math.hypot(1, high) > -radius
        deepest = float(view.depth.max())
        return ahead & (z - radius < deepest + self.grid.truncation)

    def _add(self, view: DepthView, rows: Int64[Tensor, " B"], points: Float[Tensor, "B n 3"]) -> None:
        camera, truncation = view.camera, self.grid.truncation
        x, y, z = points.unbind(-1)
        safe = z.clamp_min(camera.near)
        column = (float(camera.fx) * x / safe + float(camera.cx)).floor().long()
        row = (float(camera.fy) * y / safe + float(camera.cy)).floor().long()
        inside = (z > camera.near) & (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height)
        place = torch.where(inside, row * camera.width + column, 0)
        depth = view.depth.flatten()[place]
        # Along the ray, not along the axis.
        distance = (depth - z) * points.norm(dim=-1) / safe
        sees = (inside & (depth > 0) & (distance >= -truncation)).float()
        count = self.count[rows] + sees
        value = (distance / truncation).clamp(-1, 1)
        self.distance[rows] += sees * (value - self.distance[rows]) / count.clamp_min(1)
        self.count[rows] = count
        shows = sees * (distance < truncation)
        colored = self.colored[rows] + shows
        color = view.color.flatten(1).T[place]
        self.color[rows] += (shows / colored.clamp_min(1))[..., None] * (color - self.color[rows])
        self.colored[rows] = colored


def _slopes(camera: Camera, pixels: Float[Tensor, "N 2"]) -> Float[Tensor, "N 3"]:
    """The points at depth 1 of pixels (row, column)."""
    y, x = pixels.unbind(-1)
    return torch.stack(
        [(x - float(camera.cx)) / float(camera.fx), (y - float(camera.cy)) / float(camera.fy), torch.ones_like(x)],
        dim=-1,
    )


def _pose(camera: Camera) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    matrix = camera.viewmats.double().cpu()
    return matrix[:3, :3], matrix[:3, 3]


def _keys(places: Int64[Tensor, "N 3"]) -> Int64[Tensor, " N"]:
    """One number for each place of a block, in the order of x, y, z."""
    half = 1 << (BITS - 1)
    if len(places) and (int(places.min()) < -half or int(places.max()) >= half):
        raise InputError(
            f"voxel: expected a volume of less than {half * BLOCK} voxels to each side; choose a larger one"
        )
    x, y, z = (places + half).unbind(-1)
    return (x << 2 * BITS) | (y << BITS) | z


def _places(keys: Int64[Tensor, " N"]) -> Int64[Tensor, "N 3"]:
    """The places of blocks with these keys."""
    mask = (1 << BITS) - 1
    return torch.stack([keys >> 2 * BITS, (keys >> BITS) & mask, keys & mask], dim=-1) - (1 << (BITS - 1))
