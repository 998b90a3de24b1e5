"""`splatlearn evaluate RUN` of a reconstruction: how close its renderings are to photographs that it did not see."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splatlearn.evaluation.views.depths import DepthScore
    from splatlearn.evaluation.views.scores import SceneScores

WORST = 3
"""Views that are named."""
FROM = {"sensor": "the depth camera", "points": "the capture's points"}
"""Names of the sources of known depths."""


def shown_depth(score: DepthScore | None) -> str:
    """An error of depth as in "0.0312 (1.4 %)", with what the scene leaves open if that is a hundredth and more."""
    if score is None:
        return "–"
    open_share = 1.0 - score.covered
    left = f", {100 * open_share:.0f} % not covered" if open_share >= 0.01 else ""
    return f"{score.median:.4g} ({100 * score.relative:.1f} %{left})"


def shown_alignment(scores: SceneScores, has_exposures: bool) -> str:
    """A sentence on the scores after the alignment of colours; empty where it says nothing of the scene.

    The alignment leaves clipped pixels out. Where these are most of a photograph, such as a white ground, it may lower
    the scores, which matters only to a run whose photographs have exposures of their own.
    """
    if not math.isfinite(scores.aligned_psnr) or (not has_exposures and scores.aligned_psnr <= scores.psnr):
        return ""
    return (
        f"after an affine alignment of each view's colours: {scores.aligned_psnr:.2f} dB, "
        f"SSIM {scores.aligned_ssim:.3f}"
    )


def evaluate_scene(folder: str) -> int:
    """Render the held-out photographs of a run anew, print their scores, and write scores.json."""
    from splatlearn.reconstruction.results.scene_run import SceneRun, shown_background, write_scores

    run = SceneRun(Path(folder))
    scores = run.evaluate()
    facts = {"gaussians": run.gaussians.count, "background": shown_background(run.recipe, run.capture)}
    path = write_scores(run.folder, {**(run.scores or {}), **facts, **scores.as_dict()})
    longest = max(len(each.name) for each in scores.views)
    has_depth = scores.depth is not None
    print(f"{'photograph'.ljust(longest)}   PSNR   SSIM     L1{'  depth error' if has_depth else ''}")
    for each in scores.views:
        row = f"{each.name.ljust(longest)}  {each.psnr:5.2f}  {each.ssim:.3f}  {each.l1:.4f}"
        print(row + (f"  {shown_depth(each.depth)}" if has_depth else ""))
    mean = f"{'mean'.ljust(longest)}  {scores.psnr:5.2f}  {scores.ssim:.3f}  {scores.l1:.4f}"
    print(mean + (f"  {shown_depth(scores.depth)}" if has_depth else ""))
    if run.known_depths.source is not None and has_depth:
        print(f"depth error: median, in units of the capture, against {FROM[run.known_depths.source]}")
    if aligned := shown_alignment(scores, run.recipe.views.exposure != "none"):
        print(aligned)
    given = (run.scores or {}).get("given_poses")
    if given is not None:
        print(f"held-out photographs stand where the run localised them; at their given poses: {given['psnr']:.2f} dB")
    worst = ", ".join(f"{each.name} ({each.psnr:.2f} dB)" for each in scores.worst(WORST))
    print(f"done: {path}; worst: {worst}")
    return 0
