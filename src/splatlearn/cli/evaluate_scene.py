"""`splatlearn evaluate RUN` of a reconstruction: how close its renderings are to photographs that it did not see."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splatlearn.core.errors import InputError

if TYPE_CHECKING:
    from splatlearn.evaluation.views.depths import DepthScore
    from splatlearn.evaluation.views.perceptual import Lpips
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


def evaluate_scene(folder: str, lpips_trunk: str | None = None, lpips_linear: str | None = None) -> int:
    """Render the held-out photographs of a run anew, print their scores, and write scores.json.

    `lpips_trunk`, `lpips_linear`: files with the weights of LPIPS; both or neither.
    """
    from splatlearn.reconstruction.results.scene_run import SceneRun, shown_background, write_scores

    run = SceneRun(Path(folder))
    lpips = _lpips(lpips_trunk, lpips_linear)
    scores = run.evaluate(lpips)
    facts: dict[str, Any] = {
        "gaussians": run.gaussians.count,
        "background": shown_background(run.recipe, run.capture),
    }
    if lpips is not None:
        facts["lpips_network"] = lpips.network
    before = {name: value for name, value in (run.scores or {}).items() if name not in ("lpips", "lpips_network")}
    path = write_scores(run.folder, {**before, **facts, **scores.as_dict()})
    longest = max(len(each.name) for each in scores.views)
    print(_row(f"{'photograph'.ljust(longest)}   PSNR   SSIM     L1", scores, " LPIPS", "depth error"))
    for name, each in [*((each.name, each) for each in scores.views), ("mean", scores)]:
        first = f"{name.ljust(longest)}  {each.psnr:5.2f}  {each.ssim:.3f}  {each.l1:.4f}"
        print(_row(first, scores, "–" if each.lpips is None else f"{each.lpips:.4f}", shown_depth(each.depth)))
    if lpips is not None:
        print(f"LPIPS 0.1 of {lpips.network}")
    if run.known_depths.source is not None and scores.depth is not None:
        print(f"depth error: median, in units of the capture, against {FROM[run.known_depths.source]}")
    if aligned := shown_alignment(scores, run.recipe.views.exposure != "none"):
        print(aligned)
    given = (run.scores or {}).get("given_poses")
    if given is not None:
        print(f"held-out photographs stand where the run localised them; at their given poses: {given['psnr']:.2f} dB")
    worst = ", ".join(f"{each.name} ({each.psnr:.2f} dB)" for each in scores.worst(WORST))
    print(f"done: {path}; worst: {worst}")
    return 0


def _lpips(trunk: str | None, linear: str | None) -> Lpips | None:
    if trunk is None and linear is None:
        return None
    if trunk is None or linear is None:
        missing = "lpips_trunk" if trunk is None else "lpips_linear"
        raise InputError(f"{missing}: LPIPS needs the files of --lpips-trunk and --lpips-linear, got one of them")
    from splatlearn.evaluation.views.perceptual import read_lpips

    return read_lpips(Path(trunk), Path(linear))


def _row(first: str, scores: SceneScores, lpips: str, depth: str) -> str:
    """A row of the table: its first columns, and those of the further scores that there are."""
    has = scores.lpips is not None, scores.depth is not None
    return "  ".join([first, *(column for column, is_there in zip((lpips, depth), has, strict=True) if is_there)])
