"""`splatlearn inspect`: facts and problems of a capture."""

from __future__ import annotations

import tyro

from splatlearn.captures.choices import LOOKED_AT
from splatlearn.core.disk.outputs import output_file

PROBLEMS = 1
"""Exit code if there are problems."""


def inspect_command(
    photos: tyro.conf.Positional[str],
    *,
    out: str | None = None,
    images: str | None = None,
    hold_out: int | None = None,
    look_at: int = LOOKED_AT,
    overwrite: bool = False,
) -> int:
    """Say what is in a capture and what is wrong with it: cameras, points, sharpness, exposure, coverage.

    A capture is a folder (or a zip archive) of photographs with cameras, as COLMAP, nerfstudio, instant-ngp and Blender
    write it. Each problem is one sentence. The exit code is 0 without problems, 1 with problems, and 2 if the capture
    cannot be loaded.

    Args:
        photos: The folder or archive of the capture, a transforms file, or the folder of a COLMAP model.
        out: HTML page to write, with a plan of cameras and points and the worst photographs. Default: none.
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
    path = None if out is None else output_file(out, overwrite, example="inspect.html")
    capture = load_capture(photos, images=images, hold_out=hold_out)
    if out is not None and overwrite:
        tables = (capture.folder / name for name in files_below(capture.folder, UNPACKED)[0])
        pictures = (file for view in capture.views for file in (view.path, view.mask_path) if file is not None)
        path = output_file(out, overwrite, inputs=[photos, *tables, *pictures], example="inspect.html")
    with progress_bar() as told:
        found = inspect_capture(capture, look_at, lambda done, total: told("inspect", done, total))
    width = max(map(len, found.facts))
    for name, value in found.facts.items():
        print(f"{name:<{width}}  {value}")
    for problem in found.problems:
        print(f"problem: {problem}")
    if not found.problems:
        print("no problems found")
    if path is not None:
        from splatlearn.report.capture_page import write_capture_page

        print(f"{write_capture_page(path, found)}: plan of cameras and points, and the worst photographs")
    return PROBLEMS if found.problems else 0
