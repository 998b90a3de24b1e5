"""`splatlearn report RUN [IMAGE...]`."""

from __future__ import annotations

from pathlib import Path

import tyro

from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import MissingError

PAGE = "report.html"


def report_command(
    run: tyro.conf.Positional[str],
    images: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    out: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> int:
    """Write the report of a run: reconstructions, scores, curves, recipe, versions and command.

    If the run is still training, the report shows the log so far and the newest checkpoint.

    Args:
        run: The folder of a run.
        images: Image files or folders of images, shown with their layers, edges and figures. Default: some of the run's
            training images.
        out: HTML page to write. Default: report.html in RUN, which is replaced.
        device: The device: auto, cpu, cuda, cuda:1 or mps.
        overwrite: Replace the file of --out if it exists.
    """
    from splatlearn.cli.pictures import Pictures
    from splatlearn.cli.report_photos import given_photos, newest, picture_sections
    from splatlearn.cli.which_model import MARKS
    from splatlearn.cli.written import is_run
    from splatlearn.core.device import choose_device
    from splatlearn.report import write_run_report

    folder = Path(run)
    if not folder.is_dir():
        raise MissingError(f"run: expected the folder of a run, got {run}, which is not a folder")
    if not any((folder / mark).exists() for mark in MARKS):
        raise MissingError(f"run: expected the folder of a run, got {run}, which holds no {', '.join(MARKS)}")
    pictures = Pictures(images) if images else None
    on = choose_device(device)
    files = [] if pictures is None else pictures.files
    own = out is None and is_run(folder)
    page = output_file(folder / PAGE if out is None else out, overwrite or own, inputs=files, example=PAGE)
    given = [] if pictures is None else given_photos(pictures)
    sections = picture_sections(folder, given, on)
    write_run_report(folder, sections, page)
    print(f"{page}; model: {newest(run)}")
    if pictures is not None:
        pictures.finish()
    return 0
