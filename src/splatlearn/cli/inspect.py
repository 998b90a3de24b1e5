"""`splatlearn inspect`: facts and problems of a capture, or of a splat file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tyro

from splatlearn.captures.choices import LOOKED_AT
from splatlearn.cli.notes import note_unused
from splatlearn.cli.scene_input import is_splat_file, scene_files
from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError

PROBLEMS = 1
"""Exit code if there are problems."""
PICTURE_SIZE = 480, 640
"""Height and width, in pixels, of the picture of a splat file."""


def inspect_command(
    photos: tyro.conf.Positional[str],
    *,
    out: str | None = None,
    images: str | None = None,
    hold_out: int | None = None,
    look_at: int = LOOKED_AT,
    overwrite: bool = False,
) -> int:
    """Say what is in a capture or a splat file, and what is wrong with it.

    Of a splat file: its format, writer, axes and degree, ranges of its numbers, and Gaussians that paint nothing, lie
    astray or cannot be used. Of a capture: cameras, points, sharpness, exposure, coverage.

    A capture is a folder (or a zip archive) of photographs with cameras, as COLMAP, nerfstudio, instant-ngp and Blender
    write it. Each problem is one sentence. The exit code is 0 without problems, 1 with problems, and 2 if the capture
    cannot be loaded.

    Args:
        photos: The folder or archive of the capture, a transforms file, the folder of a COLMAP model, or a splat file.
        out: HTML page to write, with a plan of cameras and points and the worst photographs; of a splat file, a picture
            (.png) of the scene from the front. Default: none.
        images: Folder of the photographs inside the capture, such as images_4. Default: the usual ones.
        hold_out: Hold out the first of each HOLD_OUT views in the order of their names. 0: none. Default: the capture's
            own split, or every eighth view.
        look_at: Largest number of photographs that are decoded for sharpness and exposure.
        overwrite: Replace the page if it exists.
    """
    from splatlearn.captures import load_capture
    from splatlearn.captures.finding.archives import UNPACKED
    from splatlearn.captures.inspection import inspect_capture
    from splatlearn.cli.progress import progress_bar
    from splatlearn.core.numbers import check_whole
    from splatlearn.images.listing import files_below

    check_whole("look_at", look_at, 0)
    if is_splat_file(photos):
        note_unused({"images": images is not None, "hold_out": hold_out is not None}, "on a splat file")
        return _inspect_splats(Path(photos), out, overwrite)
    path = None if out is None else output_file(out, overwrite, example="inspect.html")
    capture = load_capture(photos, images=images, hold_out=hold_out)
    if out is not None and overwrite:
        tables = (capture.folder / name for name in files_below(capture.folder, UNPACKED)[0])
        pictures = (file for view in capture.views for file in (view.path, view.mask_path) if file is not None)
        path = output_file(out, overwrite, inputs=[photos, *tables, *pictures], example="inspect.html")
    with progress_bar() as told:
        found = inspect_capture(capture, look_at, lambda done, total: told("inspect", done, total))
    _print(found.facts, found.problems)
    if path is not None:
        from splatlearn.report.capture_page import write_capture_page

        print(f"{write_capture_page(path, found)}: plan of cameras and points, and the worst photographs")
    return PROBLEMS if found.problems else 0


def _inspect_splats(file: Path, out: str | None, overwrite: bool) -> int:
    """Print what is in a splat file, and write a picture of it."""
    from splatlearn.files import read_splat_file
    from splatlearn.files.inspection import inspect_splats

    path = None if out is None else output_file(out, overwrite, inputs=scene_files(str(file)), example="scene.png")
    if path is not None and path.suffix.lower() != ".png":
        raise InputError(f"out: expected the name of a picture that ends in .png, got {path.name}")
    read = read_splat_file(file, drop_invalid=True)
    found = inspect_splats(read, file)
    _print(found.facts, found.problems)
    if path is not None:
        from splatlearn.cli.pictures import write_png
        from splatlearn.core.cameras.paths import middle_and_radius, orbit
        from splatlearn.rendering import render

        middle, radius = middle_and_radius(read.gaussians.means, read.gaussians.opacities)
        (camera,) = orbit(middle, radius, 1, *PICTURE_SIZE)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, render(read.gaussians, camera, "white", depth=False, filter=read.filter).color)
        print(f"{path}: the scene from the front")
    return PROBLEMS if found.problems else 0


def _print(facts: Mapping[str, str], problems: Sequence[str]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
    for problem in problems:
        print(f"problem: {problem}")
    if not problems:
        print("no problems found")
