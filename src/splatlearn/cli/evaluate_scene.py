"""`splatlearn evaluate RUN` of a reconstruction: how close its renderings are to photographs that it did not see."""

from __future__ import annotations

from pathlib import Path

WORST = 3
"""Views that are named."""


def evaluate_scene(folder: str) -> int:
    """Render the held-out photographs of a run anew, print their scores, and write scores.json."""
    from splatlearn.reconstruction.results.scene_run import SceneRun, shown_background, write_scores

    run = SceneRun(Path(folder))
    scores = run.evaluate()
    facts = {"gaussians": run.gaussians.count, "background": shown_background(run.recipe, run.capture)}
    path = write_scores(run.folder, {**(run.scores or {}), **facts, **scores.as_dict()})
    longest = max(len(each.name) for each in scores.views)
    print(f"{'photograph'.ljust(longest)}   PSNR   SSIM     L1")
    for each in scores.views:
        print(f"{each.name.ljust(longest)}  {each.psnr:5.2f}  {each.ssim:.3f}  {each.l1:.4f}")
    print(f"{'mean'.ljust(longest)}  {scores.psnr:5.2f}  {scores.ssim:.3f}  {scores.l1:.4f}")
    worst = ", ".join(f"{each.name} ({each.psnr:.2f} dB)" for each in scores.worst(WORST))
    print(f"done: {path}; worst: {worst}")
    return 0
