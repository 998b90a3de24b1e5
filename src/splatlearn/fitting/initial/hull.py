"""First Gaussians of an object from its silhouettes: the visual hull, with the colours of the photographs.

The hull is the set of points that no silhouette excludes (Laurentini 1994): a grid of points in a cube is carved by one
view after the other, and the points at its surface remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number, check_whole

INSIDE = 0.5
"""Opacity of a pixel from which it belongs to the silhouette."""
SEEN = 0.5
"""Share of the views that must have a point in their pictures for it to stay."""


@dataclass(frozen=True, eq=False)
class Silhouette:
    """The silhouette and the colours of an object in one view.

    - `camera`: one camera of H × W pixels.
    - `opacity` [H, W]: in [0, 1], of the object.
    - `colors` [H, W, 3]: in [0, 1].
    """

    camera: Camera
    opacity: Float[Tensor, "H W"]
    colors: Float[Tensor, "H W 3"]


@dataclass(frozen=True)
class HullOptions:
    """Options of `hull_points`.

    - `cells`: of the grid along each side of the cube.
    - `wrong`: the share of the views that may exclude a point which stays, for silhouettes that are not exact.

    Raises InputError for numbers out of range.
    """

    cells: int = 96
    wrong: float = 0.0

    def __post_init__(self) -> None:
        check_whole("cells", self.cells, 8, 512)
        check_number("wrong", self.wrong, least=0, below=0.5)


@dataclass(frozen=True, eq=False)
class Hull:
    """The surface of a visual hull: `places` [N, 3] float64, `colors` [N, 3] in bytes, and the side of a cell.

    `inside`: how many cells the hull has, with those below its surface.
    """

    places: Float[np.ndarray, "N 3"]
    colors: UInt8[np.ndarray, "N 3"]
    cell: float
    inside: int


def hull_points(
    views: Sequence[Silhouette], middle: Float[np.ndarray, " 3"], half: float, options: HullOptions | None = None
) -> Hull:
    """Carve a cube by silhouettes, and return the surface of what is left with its colours.

    - `middle`, `half`: of the cube, and half its side, world units.

    A view excludes a cell whose middle and its surroundings, as far as the cell reaches, show nothing of the object, so
    that the hull contains the object. A colour is the mean over the views in which no other cell stands before the
    point. Raises InputError without silhouettes, and where nothing is left.
    """
    options = options or HullOptions()
    check_number("half", half, above=0)
    if not views:
        raise InputError("views: expected silhouettes, got none")
    cell = 2.0 * half / options.cells
    ticks = (torch.arange(options.cells, dtype=torch.float64) + 0.5) * cell - half
    corner = torch.from_numpy(middle)
    ids = torch.arange(options.cells**3)
    excluded, seen = torch.zeros(len(ids)), torch.zeros(len(ids))
    most = options.wrong * len(views)
    for view in views:
        alive = (excluded <= most).nonzero().squeeze(1)
        places = _places(ids[alive], ticks, corner)
        inside, empty = _look(view, places, cell)
        seen[alive] += inside.float()
        excluded[alive] += (inside & empty).float()
    left = (excluded <= most) & (seen >= SEEN * len(views))
    if not bool(left.any()):
        raise InputError(
            f"views: expected silhouettes of one object in the cube, got {len(views)} that leave nothing of it; check "
            "cameras and masks, or start from random Gaussians"
        )
    surface = _surface(left.view(options.cells, options.cells, options.cells)).flatten().nonzero().squeeze(1)
    places = _places(surface, ticks, corner)
    return Hull(places.numpy(), _colors(views, places, cell), cell, int(left.sum()))


def _places(ids: Int64[Tensor, " N"], ticks: Float[Tensor, " R"], corner: Float[Tensor, " 3"]) -> Float[Tensor, "N 3"]:
    """The middles of cells by their place in the flat grid."""
    side = len(ticks)
    return corner + torch.stack([ticks[ids // side**2], ticks[ids // side % side], ticks[ids % side]], dim=-1)


def _look(view: Silhouette, places: Float[Tensor, "N 3"], cell: float) -> tuple[Bool[Tensor, " N"], Bool[Tensor, " N"]]:
    """Which points lie in a view's picture, and around which of them, as far as a cell reaches, is nothing."""
    camera = view.camera
    pixels, z = camera.project(places)
    u, v = pixels.unbind(-1)
    inside = (z > camera.near) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    focal = max(float(torch.as_tensor(each)) for each in (camera.fx, camera.fy))
    # Half the diagonal of a cell at the nearest point of the cube, in pixels.
    nearest = float(z[inside].min()) if bool(inside.any()) else 1.0
    radius = int(np.ceil(0.87 * cell * focal / max(nearest, 1e-6)))
    side = 2 * min(radius, max(camera.width, camera.height)) + 1
    solid = (view.opacity >= INSIDE).float()[None, None]
    near = F.max_pool2d(solid, side, stride=1, padding=side // 2)[0, 0] > 0
    rows, columns = v.long().clamp(0, camera.height - 1), u.long().clamp(0, camera.width - 1)
    return inside, ~near[rows, columns]


def _surface(grid: Bool[Tensor, "R R R"]) -> Bool[Tensor, "R R R"]:
    """The cells with a neighbour, across a face, that is empty."""
    padded = F.pad(grid.float()[None], (1,) * 6)[0] > 0
    whole = grid.clone()
    for axis in range(3):
        for shift in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(shift, shift + grid.shape[axis])
            whole &= padded[tuple(window)]
    return grid & ~whole


def _colors(views: Sequence[Silhouette], places: Float[Tensor, "N 3"], cell: float) -> UInt8[np.ndarray, "N 3"]:
    """Mean colours over the views that see a point, by a coarse depth map of all points; grey where none does."""
    sums, counts = torch.zeros(len(places), 3), torch.zeros(len(places))
    for view in views:
        camera = view.camera
        pixels, z = camera.project(places)
        u, v = pixels.unbind(-1)
        inside = (z > camera.near) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        rows, columns = v.long().clamp(0, camera.height - 1), u.long().clamp(0, camera.width - 1)
        focal = max(float(torch.as_tensor(each)) for each in (camera.fx, camera.fy))
        middle = float(z[inside].median()) if bool(inside.any()) else 1.0
        block = max(1, int(np.ceil(cell * focal / max(middle, 1e-6))))
        wide = -(-camera.width // block)
        tiles = rows // block * wide + columns // block
        nearest = torch.full((wide * -(-camera.height // block),), torch.inf, dtype=torch.float64)
        nearest.scatter_reduce_(0, tiles[inside], z[inside], "amin")
        counted = inside & (z <= nearest[tiles] + 1.5 * cell)
        counted &= view.opacity[rows, columns] >= INSIDE
        sums[counted] += view.colors[rows[counted], columns[counted]].float()
        counts[counted] += 1
    means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], 0.5)
    return (255 * means.clamp(0, 1)).round().to(torch.uint8).numpy()
