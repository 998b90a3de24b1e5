"""`splatlearn report RUN [IMAGE...]`."""

from __future__ import annotations

from pathlib import Path

import tyro

from splatlearn.cli.notes import note_unused
from splatlearn.cli.scene_input import is_reconstruction
from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError, MissingError

PAGE = "report.html"


def report_command(
    run: tyro.conf.Positional[str],
    images: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    out: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> int:
    """Write the report of a run: pictures, scores, curves, recipe, versions and command.

    If the run is still going on, the report shows the log so far and the newest checkpoint. The report of a
    reconstruction shows held-out photographs beside their renderings.

    Args:
        run: The folder of a run.
        images: Image files or folders of images, shown with their layers, edges and figures. Default: some of the run's
            training images. A reconstruction takes none.
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
    if is_reconstruction(run):
        return _report_scene(folder, images, out, device, overwrite)
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


def _report_scene(folder: Path, images: tuple[str, ...], out: str | None, device: str, overwrite: bool) -> int:
    from splatlearn.report.scenes.report import write_scene_report

    if images:
        raise InputError(f"images: expected none beside the reconstruction {folder}, got {images[0]}")
    note_unused({"device": device != "auto"}, "with a reconstruction")
    page = output_file(folder / PAGE if out is None else out, overwrite or out is None, example=PAGE)
    print(write_scene_report(folder, page))
    return 0
