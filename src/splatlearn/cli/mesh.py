"""`splatlearn mesh RUN --out FILE`: the surface of a reconstruction as a triangle mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import tyro

from splatlearn.cli.notes import note
from splatlearn.cli.progress import progress_bar
from splatlearn.cli.scene_input import is_reconstruction
from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError
from splatlearn.files.offset import NO_OFFSET, shown_offset

if TYPE_CHECKING:
    from splatlearn.core.cameras import Camera
    from splatlearn.reconstruction.results.scene_run import SceneRun
    from splatlearn.surfaces.fusion import MeshOptions


def mesh_command(
    run: tyro.conf.Positional[str],
    *,
    out: str,
    voxel: float | None = None,
    truncation: float | None = None,
    max_depth: float | None = None,
    depth: Literal["median", "mean"] = "median",
    min_views: int = 3,
    parts: int = 50,
    overwrite: bool = False,
) -> int:
    """Write the surface of a reconstruction as a triangle mesh with colours.

    Depth maps of the run's cameras are fused in a volume of distances (TSDF), and its surface is found by marching
    cubes. Lengths are in units of the photographs' cameras, such as metres of a depth camera.

    Args:
        run: A run of reconstruct.
        out: The file to write, .ply or .obj.
        voxel: Side of a voxel of the volume. Default: three pixels at the median depth.
        truncation: Distance from a surface within which depth maps count; thinner things than this blur. Default: five
            voxels.
        max_depth: Largest depth that is fused. Default: three times the median depth.
        depth: Depth of a pixel: median is that at which half of the light is left; mean is that of all that covers it,
            by weight, which lies between things at their edges.
        min_views: Number of cameras that must see a place for it to get a surface.
        parts: Number of connected parts that are kept, the largest ones.
        overwrite: Replace the file if it exists.
    """
    from pathlib import Path

    from splatlearn.core.memory import shown_bytes
    from splatlearn.reconstruction.results.scene_run import SceneRun, moved
    from splatlearn.surfaces.fusion import depth_views, fuse
    from splatlearn.surfaces.mesh_files import check_ending, write_mesh

    path = output_file(out, overwrite, example="mesh.ply")
    check_ending(path)
    if not is_reconstruction(run):
        raise InputError(f"run: expected a run of splatlearn reconstruct, whose cameras are needed, got {run}")
    read = SceneRun(Path(run))
    to_unit = read.capture.to_unit
    options = _options(voxel, truncation, max_depth, min_views, parts, to_unit.scale)
    gaussians = moved(read.gaussians, to_unit)
    views = depth_views(gaussians, _cameras(read), depth, read.filter)
    with progress_bar() as told:
        fused = fuse(views, options, lambda done, count: told("fuse", done, count))
    mesh = fused.mesh.transformed(to_unit.inverse)
    if not len(mesh.faces):
        raise InputError(
            f"run: expected a surface that {min_views} cameras see, found none within a depth of "
            f"{fused.farthest / to_unit.scale:.3g}; give --min-views 1, or another --voxel or --max-depth"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mesh(path, mesh)
    if read.sky is not None:
        note("the sky of the run has no surface, and is no part of the mesh")
    if read.offset != NO_OFFSET:
        note(f"vertices in {path.name} are relative to {shown_offset(read.offset)}, which the file has no place for")
    side, farthest = fused.grid.voxel / to_unit.scale, fused.farthest / to_unit.scale
    print(
        f"{path}: {len(mesh.faces):,} faces, {len(mesh.vertices):,} vertices, {shown_bytes(path.stat().st_size)}; "
        f"voxels of {side:.3g}, {len(views)} depth maps up to {farthest:.3g}"
    )
    return 0


def _options(
    voxel: float | None, truncation: float | None, farthest: float | None, min_views: int, parts: int, unit: float
) -> MeshOptions:
    """The options in the frame of a fit, whose lengths are those of the capture times `unit`."""
    from splatlearn.core.numbers import check_number
    from splatlearn.surfaces.fusion import MeshOptions

    lengths = {"voxel": voxel, "truncation": truncation, "max_depth": farthest}
    for name, value in lengths.items():
        if value is not None:
            check_number(name, value, above=0)
    scaled = [None if value is None else value * unit for value in lengths.values()]
    return MeshOptions(*scaled, least_views=min_views, parts=parts)


def _cameras(run: SceneRun) -> list[Camera]:
    """The cameras of all photographs of a run, in the frame of its fit."""
    from splatlearn.captures import Photographs

    capture = run.capture
    with Photographs(capture.views, run.recipe.capture.max_size, frame=capture.to_unit) as photographs:
        return [photographs.camera(index) for index in range(len(photographs))]
