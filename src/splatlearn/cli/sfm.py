"""`splatlearn sfm`: cameras for photographs, or for a film, that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from splatlearn.core.errors import InputError


def sfm_command(
    photos: tyro.conf.Positional[str],
    *,
    out: str | None = None,
    matching: Literal["auto", "exhaustive", "sequential"] = "auto",
    mapper: Literal["incremental", "global"] = "incremental",
    camera_model: str = "auto",
    frames_per_second: float = 2.0,
    max_frames: int = 400,
) -> int:
    """Compute the cameras of photographs or of a film, with COLMAP (pip install "splatlearn[sfm]").

    Cameras and points are written to sparse/0 beside the photographs, in COLMAP's layout. Nothing that is there is
    changed. Of a film, the sharpest frames become photographs, if ffmpeg is installed. The exit code is 0 if at least
    half of the photographs got a camera, otherwise 1.

    Args:
        photos: Folder of photographs, or with a folder images of them; or a film.
        out: Folder for the frames of a film and their cameras. Default: the film's name without its ending.
        matching: Which photographs are compared. exhaustive: all pairs; sequential: each with the ten that follow by
            name; auto: exhaustive below 200 photographs, sequential for films.
        mapper: How cameras are solved for. incremental: one after the other; global: all at once, which is faster.
        camera_model: A camera model of COLMAP. auto: OPENCV and one camera for all if all photographs have one size,
            otherwise SIMPLE_RADIAL.
        frames_per_second: Number of frames that are kept for each second of a film.
        max_frames: Largest number of frames that are kept of a film.
    """
    from splatlearn.captures.finding.names import count, listed
    from splatlearn.captures.sfm import check_pycolmap, find_cameras, frames_of_film, is_film
    from splatlearn.cli.notes import note
    from splatlearn.cli.progress import progress_bar

    folder = Path(photos)
    film = is_film(folder)
    if film:
        check_pycolmap()  # before frames are written
        path, folder = folder, Path(out) if out else folder.with_suffix("")
        names = frames_of_film(path, folder / "images", frames_per_second, max_frames)
        print(f"{folder / 'images'}: {count(len(names), 'frame')}, the sharpest of each stretch")
    elif out is not None:
        raise InputError("out: expected none for photographs, whose cameras are written beside them; leave --out out")
    with progress_bar() as told:
        found = find_cameras(
            folder, matching=matching, mapper=mapper, camera_model=camera_model, is_film=film, progress=told
        )
    for reason in found.unreadable:
        note(f"left out: {reason}")
    print(
        f"{folder / 'sparse' / '0'}: {found.registered} of {count(found.total, 'photograph')} with a camera, "
        f"{count(found.points, 'point')}"
    )
    for names in found.others:
        note(f"{count(len(names), 'photograph')} in a model of their own, which is not kept: {listed(names)}")
    return 0 if 2 * found.registered >= found.total else 1
