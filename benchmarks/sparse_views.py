"""Reconstructions from few photographs: what each regulariser and start changes on held-out views.

    python -m benchmarks.sparse_views CAPTURE... [--views 12 6] [--seeds 0 1 2] [--arms plain hull ...]
        [--steps 400] [--max-gaussians 6000] [--max-size 100] [--json-file FILE]

Of the photographs that a capture fits, `--views` are taken, evenly spread by name; those that it holds out are scored
as ever. Points stay if two of these views observe them. Arms that need what a capture lacks (transparency for the hull,
points for their depths) are left out for it. Seconds are processor time.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from benchmarks.common import table
from splatlearn.captures import Capture, Points, Tracks, load_capture
from splatlearn.core.numbers import evenly_spaced
from splatlearn.reconstruction import reconstruct
from splatlearn.runs.folder import environment

OBSERVED = 2
"""Views of those that are taken that must observe a point."""
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hull": {"start": "hull"},
    "random background": {"background": "random"},
    "smooth depth": {"smooth_depth": 0.01},
    "smooth depth x10": {"smooth_depth": 0.1},
    "distortion": {"distortion": 0.1},
    "distortion x10": {"distortion": 1.0},
    "entropy": {"entropy": 0.01},
    "floaters": {"remove_floaters": True},
    "depth of points": {"depth_weight": 0.05},
    "depth of a sweep": {"depth_weight": 0.05, "depth_prior": "sweep"},
    "hull, smooth depth": {"start": "hull", "smooth_depth": 0.01},
    "hull, distortion": {"start": "hull", "distortion": 0.1},
}


@dataclass(frozen=True)
class Options:
    """What is reconstructed, and how."""

    captures: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of captures."""
    views: tuple[int, ...] = (12, 6)
    """Numbers of photographs that are fitted."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run for each."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Names of arms."""
    steps: int = 400
    """Number of steps."""
    max_gaussians: int = 6_000
    """Largest number of Gaussians."""
    max_size: int = 100
    """Longer side of photographs, in pixels."""
    json_file: Path | None = None
    """File for all numbers."""


def main(options: Options) -> None:
    """Run the reconstructions, and print a table and JSON."""
    runs: list[dict[str, Any]] = []
    for folder in options.captures:
        whole = load_capture(folder)
        for count in options.views:
            capture = sparse(whole, count)
            for arm in options.arms:
                if not applies(arm, capture):
                    continue
                for seed in options.seeds:
                    runs.append({"capture": Path(folder).name, "views": count, "arm": arm, "seed": seed})
                    runs[-1] |= _run(capture, {**ARMS[arm], "seed": seed}, options)
    rows: list[tuple[str, ...]] = []
    for key in dict.fromkeys((run["capture"], run["views"], run["arm"]) for run in runs):
        own = [run for run in runs if (run["capture"], run["views"], run["arm"]) == key]
        scores = [run["psnr"] for run in own]
        spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        gaussians, cpu = (statistics.mean(run[name] for run in own) for name in ("gaussians", "cpu"))
        name, views, arm = key
        shown = f"{statistics.mean(scores):.2f}{spread}"
        rows.append((name, str(views), arm, shown, f"{gaussians:,.0f}", f"{cpu:.1f}"))
    print(table(("capture", "views", "arm", "held-out dB", "Gaussians", "CPU s"), rows))
    result = {"environment": environment(), "steps": options.steps, "max_size": options.max_size, "runs": runs}
    print(json.dumps(result))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=1) + "\n")


def sparse(capture: Capture, count: int) -> Capture:
    """The same capture with `count` of the photographs that it fits; the others are neither fitted nor held out."""
    taken = {capture.training[place] for place in evenly_spaced(len(capture.training), count)}
    views = tuple(
        replace(view, split="val") if view.split == "train" and index not in taken else view
        for index, view in enumerate(capture.views)
    )
    tracks, points = capture.points.tracks, capture.points
    if tracks is not None:
        seen = np.isin(tracks.views, list(taken))
        kept = np.bincount(tracks.points[seen], minlength=len(points)) >= OBSERVED
        chosen = kept[tracks.points] & seen
        starts = np.concatenate([[0], np.cumsum(np.bincount(tracks.points[chosen], minlength=len(points))[kept])])
        points = Points(
            points.xyz[kept],
            points.rgb[kept],
            None if points.errors is None else points.errors[kept],
            Tracks(starts, tracks.views[chosen], tracks.pixels[chosen]),
        )
    return replace(capture, views=views, points=points)


def applies(arm: str, capture: Capture) -> bool:
    """Whether a capture has what an arm needs."""
    options = ARMS[arm]
    has_outline = any(view.has_alpha or view.mask_path is not None for view in capture.views)
    if options.get("start") == "hull":
        return has_outline
    if options.get("background") == "random":
        # It is what transparent photographs have anyway.
        return not has_outline
    return "depth_weight" not in options or "depth_prior" in options or capture.points.tracks is not None


def _run(capture: Capture, given: dict[str, Any], options: Options) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        used = time.process_time()
        result = reconstruct(
            capture,
            Path(folder) / "run",
            **{
                "preset": "fast",
                "steps": options.steps,
                "max_gaussians": options.max_gaussians,
                "max_size": options.max_size,
                "evaluate_every": options.steps,
                **given,
            },
        )
        assert result.scores is not None, "a capture without held-out photographs has no scores"
        depth = result.scores.depth
        return {
            "psnr": result.scores.psnr,
            "ssim": result.scores.ssim,
            "depth": None if depth is None else depth.relative,
            "gaussians": result.count,
            "cpu": time.process_time() - used,
        }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
