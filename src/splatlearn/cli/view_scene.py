"""`splatlearn view FILE|RUN`: the page of a splat file, or of a reconstruction with its photographs."""

from __future__ import annotations

from pathlib import Path

from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError
from splatlearn.files.offset import NO_OFFSET, shown_offset


def view_splats(source: str, out: Path) -> str:
    """Write the page of a splat file, and return what a command says of it."""
    from splatlearn.core.gaussians import SURFEL
    from splatlearn.files import read_splat_file
    from splatlearn.viewer import ViewedScene, write_scene_view
    from splatlearn.viewer.scene_contents import HIGHEST_DEGREE, MOST_GAUSSIANS

    read = read_splat_file(source, drop_invalid=True)
    gaussians = read.gaussians
    if gaussians.count > MOST_GAUSSIANS:
        raise InputError(f"{source}: expected at most {MOST_GAUSSIANS} Gaussians for a page, got {gaussians.count}")
    notes = []
    if gaussians.primitive == SURFEL:
        notes.append("surfels are drawn as flat Gaussians")
        gaussians = gaussians.flattened()
    if gaussians.degree > HIGHEST_DEGREE:
        notes.append(f"harmonics above degree {HIGHEST_DEGREE} are left out")
        gaussians = gaussians.with_degree(HIGHEST_DEGREE)
    if read.dropped:
        notes.append(f"{read.dropped} Gaussians that are not finite are left out")
    name = Path(source).resolve().name
    lead = "Drag to walk around, turn the wheel to go nearer; the keys are listed below."
    facts = [("Format", read.format), *([("Written by", read.writer)] if read.writer else [])]
    if read.antialiased:
        facts.append(("Filter", "antialiased"))
    if read.offset != NO_OFFSET:
        facts.append(("Positions relative to", shown_offset(read.offset)))
    stem = Path(name).stem.removesuffix(".compressed") or "scene"
    scene = ViewedScene(stem, gaussians, facts=facts, filter=read.filter)
    write_scene_view(out, name, lead, scene)
    said = f"{out}: {gaussians.count:,} Gaussians, {out.stat().st_size / 1e6:.1f} MB"
    return "; ".join([said, *notes])


def view_reconstruction(folder: str, out: Path, overwrite: bool = False) -> str:
    """Write the page of a reconstruction, and return what a command says of it."""
    from splatlearn.reconstruction.results.scene_run import SceneRun
    from splatlearn.report.scenes.panoramas import write_run_panoramas
    from splatlearn.report.scenes.view import write_run_view

    run = SceneRun(Path(folder))
    write_run_view(run, out)
    around = None
    if any(view.lens.is_panorama for view in run.capture.views):
        around = write_run_panoramas(run, output_file(panoramas_beside(out), overwrite, example=out.name))
    scores = run.scores
    quality = f", held-out photographs {scores['psnr']:.2f} dB" if scores else ""
    beside = "" if around is None else f"; its panoramas, to look around in: {around}"
    return f"{out}: {run.gaussians.count:,} Gaussians, {out.stat().st_size / 1e6:.1f} MB{quality}{beside}"


def panoramas_beside(out: Path) -> Path:
    """The page of the panoramas of a reconstruction whose page is `out`."""
    return out.with_name(f"{out.stem}-panoramas{out.suffix}")
