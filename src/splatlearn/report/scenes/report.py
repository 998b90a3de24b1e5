"""The report of a reconstruction, finished or not: what it reached, its curves, its views, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.memory import shown_bytes
from splatlearn.core.numbers import evenly_spaced
from splatlearn.core.typed import flat, read_as
from splatlearn.reconstruction.results.scene_run import (
    SceneRun,
    moved,
    scene_bytes,
    scene_file,
    shown_background,
    snapshots,
)
from splatlearn.report.parts.curves import small_multiples
from splatlearn.report.parts.page import Block, Code, Figure, KeyValues, Section, Table, write_page
from splatlearn.report.run_report import Environment, read_log
from splatlearn.report.scenes.pictures import ComparedView, compared_views, strip

PAGE = "report.html"
MOST_VIEWS = 6
"""Largest number of views that are shown as pictures."""
MOST_SNAPSHOTS = 9
"""Largest number of snapshots that are shown."""
BINS = 40
"""Largest number of intervals of steps in which edits are counted."""
EDITS = {"cloned": "cloned", "split": "split in two", "added": "added", "relocated": "relocated", "pruned": "pruned"}
"""Keys of the log, with the words to show."""
VIEWS = "Photograph, rendering, and their difference: black for none, bright for a quarter of the range and more."
Curve = tuple[Sequence[float], Sequence[float]]


def write_scene_report(
    folder: Path, out: Path | None = None, with_views: bool = True, reload_every: float | None = None
) -> Path:
    """Write the report of a run from what lies in its folder, also while it goes on, and return its path.

    - `out`: the page, by default `report.html` in the folder.
    - `with_views`: whether views are rendered and set beside their photographs, which needs these.
    - `reload_every`: seconds after which a browser loads the page anew, while the run goes on; by default never.

    The page is self-contained and written whole. Raises MissingError for a folder that holds no run.
    """
    run = SceneRun(folder)
    page = folder / PAGE if out is None else out
    title = f"Reconstruction {folder.resolve().name}"
    return write_page(page, title, _lead(run), scene_sections(run, with_views), reload_every)


def scene_sections(run: SceneRun, with_views: bool = True) -> list[Section]:
    """Return the sections of a run's report."""
    log = run.folder / "log.jsonl"
    entries = read_log(log) if log.is_file() else []
    steps = {entry["step"]: entry for entry in entries if "step" in entry}
    scores = {entry["step_of_status"]: entry for entry in entries if "psnr" in entry}
    sections = [_result(run, steps, scores)]
    sections += _views(run) if with_views else []
    sections += _curves(steps, scores)
    sections += _edits(steps)
    sections += _snapshots(run)
    sections += _unreadable(entries)
    return [*sections, *_repeat(run.folder)]


def _lead(run: SceneRun) -> str:
    options = run.recipe.capture
    return f"Photographs of {options.photos}, reconstructed as Gaussians."


def _result(run: SceneRun, steps: Mapping[int, Any], scores: Mapping[int, Any]) -> Section:
    """The state of the run in numbers."""
    if not steps:
        return Section("Result", "No step has been logged yet.")
    last = steps[max(steps)]
    total = run.recipe.resolved().scene.steps or 0
    facts: dict[str, object] = {
        "Steps": f"{max(steps):,} of {total:,}",
        "Seconds in steps": f"{last['seconds']:.0f}",
        "Gaussians": f"{last['gaussians']:,}",
    }
    if scores:
        at, best = max(scores), scores[max(scores)]
        kind = "held-out" if best.get("held_out") else "fitted"
        facts[f"PSNR of {best['views']} {kind} views"] = f"{best['psnr']:.2f} dB at step {at:,}"
        facts["SSIM"] = f"{best['ssim']:.3f}"
    memory = [entry["memory"] for entry in scores.values() if "memory" in entry]
    if memory:
        facts["Peak memory of the process"] = shown_bytes(max(memory))
    if (file := scene_file(run.folder)).is_file():
        facts[f"Size of {file.relative_to(run.folder).parts[0]}"] = shown_bytes(scene_bytes(run.folder))
    intro = "" if max(steps) >= total else "The run has not reached its last step."
    return Section("Result", intro, [KeyValues(facts)])


def _views(run: SceneRun) -> list[Section]:
    """Views beside their photographs, worst first; a sentence where the photographs are gone."""
    try:
        gaussians, capture = run.gaussians, run.capture
    except (FileNotFoundError, ValueError) as error:
        return [Section("Views", f"No pictures: {error}")]
    # The run's own frame: that of the capture now, in which its Gaussians lie at the origin.
    inside = moved(gaussians, capture.to_unit)
    chosen, kind = _chosen(run, capture.held_out or capture.training), "held-out" if capture.held_out else "fitted"
    size, background = run.recipe.resolved().capture.max_size, shown_background(run.recipe, capture)
    views = compared_views(inside, capture, chosen, size, background, run.filter, run.sky)
    found = sorted(views, key=lambda each: each.score.psnr)
    if not found:
        return []
    blocks: list[Block] = [_figure(each) for each in found]
    listed = (run.scores or {}).get("views") or [vars(each.score) for each in found]
    rows = [[each["name"], each["psnr"], each["ssim"], each["l1"]] for each in sorted(listed, key=lambda e: e["psnr"])]
    table = Table(["photograph", "PSNR in dB", "SSIM", "mean error"], rows)
    return [Section(f"{kind.capitalize()} views, the worst first", VIEWS, [*blocks, table])]


def _chosen(run: SceneRun, indices: Sequence[int]) -> list[int]:
    """The views to show: those of the lowest stored PSNR, or some that are spread evenly."""
    quality = {each["name"]: each["psnr"] for each in (run.scores or {}).get("views", ())}
    known = [index for index in indices if run.capture.views[index].name in quality]
    if known:
        return sorted(known, key=lambda index: quality[run.capture.views[index].name])[:MOST_VIEWS]
    return [indices[place] for place in evenly_spaced(len(indices), min(MOST_VIEWS, len(indices)))]


def _figure(view: ComparedView) -> Figure:
    score = view.score
    caption = f"{score.name}: {score.psnr:.2f} dB, SSIM {score.ssim:.3f}"
    return Figure(view.picture, f"{score.name}: photograph, rendering and errors", caption)


def _curves(steps: Mapping[int, Any], scores: Mapping[int, Any]) -> list[Section]:
    """Loss, scores and the number of Gaussians over steps, and the same over seconds."""
    if not steps:
        return []
    order, checked = [steps[each] for each in sorted(steps)], [scores[each] for each in sorted(scores)]
    psnr = "PSNR, dB"
    blocks: list[Block] = []
    for along, key, status in (("step", "step", "step_of_status"), ("seconds in steps", "seconds", "seconds")):
        at, seen = [each[key] for each in order], [each[status] for each in checked]
        curves: dict[str, Curve] = {"loss": (at, [_number(each["loss"]) for each in order])}
        if checked:
            curves[psnr] = (seen, [each["psnr"] for each in checked])
            curves["SSIM"] = (seen, [each["ssim"] for each in checked])
        curves["Gaussians"] = (at, [each["gaussians"] for each in order])
        least = {name: float(np.floor(np.nanmin(curves[name][1]))) for name in (psnr,) if name in curves}
        said = f"{', '.join(curves)} over {along}"
        blocks.append(Figure(small_multiples(curves, along, least), said))
    intro = "Scores during the run are of some views; the last are of all. Seconds leave out scores and checkpoints."
    return [Section("Curves", intro, blocks)]


def _edits(steps: Mapping[int, Any]) -> list[Section]:
    """Which edits the strategy made when."""
    sums: dict[str, Curve] = {}
    last = max(steps, default=0)
    width = max(1, -(-last // BINS))
    for key, shown in EDITS.items():
        if not any(key in entry for entry in steps.values()):
            continue
        counts = np.zeros(-(-last // width))
        for step, entry in steps.items():
            counts[(step - 1) // width] += entry.get(key, 0)
        sums[f"{shown}, {int(counts.sum()):,} in all"] = (
            [(each + 1) * width for each in range(len(counts))],
            counts.tolist(),
        )
    resets = sorted(step for step, entry in steps.items() if entry.get("reset"))
    if not sums and not resets:
        return []
    said = f"Opacities were reset after steps {', '.join(f'{step:,}' for step in resets)}." if resets else ""
    blocks = [Figure(small_multiples(sums), f"Gaussians that were {', '.join(sums)}")] if sums else []
    return [Section("Edits", f"Gaussians that were edited in each {width:,} steps. {said}".strip(), blocks)]


def _snapshots(run: SceneRun) -> list[Section]:
    found = snapshots(run.folder)
    if not found:
        return []
    shown = [found[place] for place in evenly_spaced(len(found), min(MOST_SNAPSHOTS, len(found)))]
    said = ", ".join(f"{step:,}" for step, _ in shown)
    figure = Figure(strip([path for _, path in shown]), "Renderings of one view during the run", f"After steps {said}.")
    return [Section("On the way", "One view as the run saw it at its evaluations.", [figure])]


def _unreadable(entries: Sequence[Mapping[str, Any]]) -> list[Section]:
    reasons = {entry["unreadable"]: entry.get("reason", "") for entry in entries if "unreadable" in entry}
    if not reasons:
        return []
    return [
        Section(
            "Left out", "Photographs that could not be read.", [Table(["photograph", "reason"], [*reasons.items()])]
        )
    ]


def _repeat(folder: Path) -> list[Section]:
    facts = read_as(Environment, folder / "environment.json", extra=True, needed=False)
    choices = flat(read_object(folder / "recipe.json"))
    blocks: list[Block] = [Code(facts.command)] if facts.command else []
    if facts.versions:
        blocks.append(KeyValues(facts.versions))
    repeat = [Section("Repeat it", "The command of the run, and the versions it ran on.", blocks)] if blocks else []
    return [Section("Recipe", "Every choice that fixes the run.", [KeyValues(choices)]), *repeat]


def _number(value: object) -> float:
    """A loss of the log; NaN where the step was skipped."""
    return float(value) if isinstance(value, int | float) else float("nan")
