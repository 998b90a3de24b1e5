"""`splatlearn convert SCENE OUT`: a scene as a splat file of any format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tyro

from splatlearn.cli.notes import note
from splatlearn.cli.progress import progress_bar
from splatlearn.cli.scene_input import SceneInput, note_offset, output_scene, read_scene
from splatlearn.core.errors import InputError
from splatlearn.files.offset import NO_OFFSET, Offset

if TYPE_CHECKING:
    from splatlearn.core.gaussians import Gaussians
    from splatlearn.files.selection import Selection


def convert_command(
    scene: tyro.conf.Positional[str],
    out: tyro.conf.Positional[str],
    *,
    merge: tuple[str, ...] = (),
    degree: int | None = None,
    min_opacity: float = 0.0,
    max_scale: float | None = None,
    remove_floaters: bool = False,
    crop: tuple[float, float, float, float, float, float] | None = None,
    scale: float = 1.0,
    coarseness: float = 1.0,
    stored_frame: str | None = None,
    frame: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write a scene as a splat file of another format.

    Args:
        scene: A splat file, or a run of reconstruct.
        out: The file to write; its ending says the format: .ply, .compressed.ply, .spz, .sog, .sl3, .splat, .glb or
            .gltf.
        merge: More splat files or runs, whose Gaussians are added. Default: none.
        degree: Degree of the spherical harmonics to keep, 0 to 4. Default: all that the format holds.
        min_opacity: Leave out Gaussians whose opacity is below this value.
        max_scale: Leave out Gaussians whose largest standard deviation is above this value, in units of the scene.
            Default: none.
        remove_floaters: Leave out Gaussians that hang in space by themselves, far from all others for their size.
        crop: Keep the Gaussians whose centres lie in the box X0 Y0 Z0 X1 Y1 Z1, in the coordinates of the input, to
            which the offset that it states is added. Default: all.
        scale: Factor of all lengths, applied last, such as the metres of a unit of the scene.
        coarseness: Factor of the steps to which .sl3 rounds numbers; a larger one makes a smaller file.
        stored_frame: Directions of x, y and z in the input, such as RFU (right, front, up) where z points up. Default:
            those that the file says, or the usual ones of its format.
        frame: Directions of x, y and z to write. Default: the usual ones of the format.
        overwrite: Replace the file if it exists.
    """
    from splatlearn.core.gaussians import SURFEL, Gaussians
    from splatlearn.core.memory import shown_bytes
    from splatlearn.core.numbers import check_number
    from splatlearn.files import write_splats
    from splatlearn.files.formats import highest_degree, holds_offset
    from splatlearn.files.selection import Selection

    if degree is not None and not 0 <= degree <= 4:
        raise InputError(f"degree: expected 0 to 4, got {degree}")
    check_number("scale", scale, above=0)
    selection = Selection(crop, min_opacity, max_scale)
    path, *beside = output_scene(out, overwrite, (scene, *merge))
    most = highest_degree(path)
    inputs = [read_scene(each, stored_frame) for each in (scene, *merge)]
    if lost := sum(each.dropped for each in inputs):
        note(f"{lost:,} Gaussians that are not finite are left out")
    offset = inputs[0].offset
    parts = [_around(_selected(each, selection, remove_floaters), each, offset) for each in inputs]
    parts += [_around(sky, each, offset) for each in inputs if (sky := each.sky_for_file()) is not None]
    together = max(part.degree for part in parts)
    if degree is None and most < together:
        note(f"{path.name} holds harmonics up to degree {most}: those above it are left out")
        degree = most
    kept = together if degree is None else min(degree, together)
    gaussians = Gaussians.cat([part.with_degree(kept) for part in parts])
    if not gaussians.count:
        raise InputError(
            "crop, min_opacity, max_scale, remove_floaters: expected at least one Gaussian to remain, got none"
        )
    before = sum(each.gaussians.count for each in inputs) + sum(part.count for part in parts[len(inputs) :])
    if gaussians.count < before:
        note(f"{before - gaussians.count:,} of {before:,} Gaussians are left out")
    antialiased = {each.antialiased for each in inputs}
    if len(antialiased) > 1:
        note("some inputs are antialiased and others are not: the file is not marked")
    is_ply = path.suffix.lower() == ".ply" and not path.name.lower().endswith(".compressed.ply")
    if gaussians.primitive == SURFEL and not is_ply:
        note(f"{path.name} holds no surfels: they become flat Gaussians")
    if scale != 1:
        gaussians = gaussians.transformed(scale=scale)
        offset = (scale * offset[0], scale * offset[1], scale * offset[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar() as told:
        write_splats(
            path, gaussians, stored_frame=frame, antialiased=antialiased == {True}, coarseness=coarseness,
            offset=offset if holds_offset(path) else NO_OFFSET,
            told=lambda done, total: told(f"write {path.name}", done, total),
        )  # fmt: skip
    size = sum(each.stat().st_size for each in [path, *beside] if each.is_file())
    each = size / gaussians.count
    print(
        f"{path}: {gaussians.count:,} Gaussians, degree {gaussians.degree}, {shown_bytes(size)}, {each:.1f} bytes each"
    )
    note_offset(path, offset, frame)
    return 0


def _selected(scene: SceneInput, selection: Selection, remove_floaters: bool) -> Gaussians:
    """The Gaussians of an input that meet the conditions; the box is in its coordinates, with the offset added."""
    import torch

    from splatlearn.core.geometry.frames import LIBRARY_FRAME, frame_matrix
    from splatlearn.fitting.cleaning.floaters import find_floaters

    gaussians = scene.gaussians
    means = gaussians.means
    if scene.offset != NO_OFFSET:
        means = means.double() + torch.tensor(scene.offset, dtype=torch.float64)
    means = means @ frame_matrix(LIBRARY_FRAME, scene.frame).T.to(means)
    kept = selection.kept(gaussians, means)
    if remove_floaters:
        kept = kept & ~find_floaters(gaussians).alone
    return gaussians.select(kept)


def _around(gaussians: Gaussians, scene: SceneInput, offset: Offset) -> Gaussians:
    """Gaussians of an input relative to another offset."""
    import torch

    if scene.offset == offset:
        return gaussians
    shift = torch.tensor(scene.offset, dtype=torch.float64) - torch.tensor(offset, dtype=torch.float64)
    return gaussians.to(torch.float64).transformed(None, shift).to(gaussians.means.dtype)
