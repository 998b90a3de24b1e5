"""The mesh of a scene: depth maps of its Gaussians, fused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.rendering import render
from splatlearn.surfaces.extraction import extract
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.volume import DepthView, Grid, Volume

PIXELS = 3.0
"""Side of a voxel by default, in pixels at the depth that is the median of all."""
TRUNCATED = 5.0
"""Truncation by default, in voxels."""
FARTHEST = 3.0
"""Largest depth that is fused by default, in medians."""
COVERED = 0.5
"""Alpha from which a pixel has a depth."""

DepthKind = Literal["median", "mean"]
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class MeshOptions:
    """How depth maps become a mesh.

    - `voxel`: side of a voxel, world units; None: `PIXELS` pixels at the median depth.
    - `truncation`: distance from a surface within which a view counts, world units; None: `TRUNCATED` voxels.
    - `farthest`: largest depth that is fused, world units; None: `FARTHEST` median depths.
    - `least_views`: views that must see a place for it to get a surface.
    - `parts`: number of connected parts that are kept, the largest ones.

    Raises InputError for numbers out of range.
    """

    voxel: float | None = None
    truncation: float | None = None
    farthest: float | None = None
    least_views: int = 3
    parts: int = 50

    def __post_init__(self) -> None:
        for name in ("voxel", "truncation", "farthest"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        check_whole("least_views", self.least_views, 1)
        check_whole("parts", self.parts, 1)


class Fused(NamedTuple):
    """A mesh, the grid that it was made in, and the largest depth that was fused."""

    mesh: Mesh
    grid: Grid
    farthest: float


def depth_views(
    gaussians: Gaussians, cameras: Sequence[Camera], kind: DepthKind = "median", filter: str = "point"
) -> Sequence[DepthView]:
    """Return depth maps of Gaussians, which are rendered each time that one is looked at.

    - `cameras`: single pinhole cameras; `filter`: see `render`.
    - `kind`: "median" is the depth at which half of the light is left, "mean" that of all that covers a pixel by
      weight, which at the edge of an object lies between it and what is behind it.

    Pixels that the Gaussians cover by less than a half have no depth.
    """
    for camera in cameras:
        if camera.model != "pinhole":
            raise InputError(f"cameras: expected pinhole cameras, got {camera.model}")
    return _Rendered(gaussians, cameras, kind, filter)


@dataclass(frozen=True, eq=False)
class _Rendered(Sequence[DepthView]):
    gaussians: Gaussians
    cameras: Sequence[Camera]
    kind: DepthKind
    filter: str

    def __len__(self) -> int:
        return len(self.cameras)

    @torch.no_grad()
    def __getitem__(self, index: int) -> DepthView:  # pyright: ignore[reportIncompatibleMethodOverride]
        camera = self.cameras[index]
        here = replace(camera, viewmats=camera.viewmats.to(self.gaussians.means.device))
        shown = render(self.gaussians, here, "black", depth=self.kind, check="drop", filter=self.filter)
        assert shown.depth is not None
        depth = torch.where(shown.alpha > COVERED, shown.depth, 0.0)
        # The colour of what covers the pixel, without the background.
        color = shown.color / shown.alpha.clamp_min(COVERED)
        return DepthView(camera, depth.cpu(), color.clamp(0, 1).cpu())


def fuse(
    views: Sequence[DepthView],
    options: MeshOptions | None = None,
    told: Told = lambda done, count: None,
) -> Fused:
    """Return the mesh of depth maps; every view is looked at three times.

    - `told`: called with the number of maps that were taken, and of all that will be.

    Raises InputError for maps without any depth, and for a volume that memory does not hold.
    """
    options = options or MeshOptions()
    total, done = 3 * len(views), 0

    def each() -> Iterator[DepthView]:
        nonlocal done
        for index in range(len(views)):
            yield views[index]
            done += 1
            told(done, total)

    typical = [
        (float(known.median()), _focal(view.camera)) for view in each() if len(known := view.depth[view.depth > 0])
    ]
    if not typical:
        raise InputError(f"views: expected depth maps of something, got {len(views)} without a depth")
    median = sorted(depth for depth, _ in typical)[len(typical) // 2]
    pixel = sorted(depth / focal for depth, focal in typical)[len(typical) // 2]
    voxel = options.voxel or PIXELS * pixel
    grid = Grid(voxel, options.truncation or TRUNCATED * voxel)
    farthest = options.farthest or FARTHEST * median
    keys = torch.zeros(0, dtype=torch.int64)
    for view in each():
        keys = torch.cat([keys, grid.blocks(_within(view, farthest))]).unique()
    volume = Volume(grid, keys)
    for view in each():
        volume.add(_within(view, farthest))
    return Fused(extract(volume, options.least_views).largest(options.parts), grid, farthest)


def _within(view: DepthView, farthest: float) -> DepthView:
    near: Tensor = torch.where(view.depth <= farthest, view.depth, 0.0)
    return view._replace(depth=near)


def _focal(camera: Camera) -> float:
    return (float(camera.fx) * float(camera.fy)) ** 0.5
