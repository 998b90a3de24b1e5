"""Messages of a run: sentences for people, and lines of `log.jsonl`."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from splatlearn.captures import Photographs
from splatlearn.core.memory import peak_memory, shown_bytes
from splatlearn.evaluation.views.scores import SceneScores
from splatlearn.files.offset import Offset, shown_offset
from splatlearn.fitting.views.step import StepResult
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.results.small_file import SMALL
from splatlearn.reconstruction.running.checkpoint import SceneProgress

if TYPE_CHECKING:
    from splatlearn.compression import Compressed


def greeting(
    recipe: SceneRecipe,
    progress: SceneProgress,
    photographs: tuple[Photographs, Photographs],
    total: int,
    device: torch.device,
    origin: str,
) -> Iterator[str]:
    """Yield sentences about the photographs, the steps and the start of a run.

    - `photographs`: that are fitted, and that are held out; `total`: the last step; `origin`: a phrase that says where
      the Gaussians came from.
    """
    training, held_out = photographs
    yield training.description
    held = f"{len(held_out)} held out" if len(held_out) else "none held out"
    cap, wanted = progress.cap, recipe.scene.max_gaussians or 0
    begun = ", going on from" if progress.step else " from"
    yield (
        f"{len(training)} photographs to fit, {held}: {total:,} steps on {device}, at most {cap:,} Gaussians{begun} "
        f"{origin}"
    )
    if any(view.lens.is_panorama for view in training.views):
        yield "panoramas are fitted as they are; their pixels weigh by their solid angle, in the loss and in scores"
    if cap < wanted:
        yield f"memory had room for {cap:,} of --max-gaussians {wanted:,} when the run began"


def far_away(offset: Offset) -> str:
    """What the positions of the scene's file are relative to."""
    return (
        "the capture lies far from its origin, where float32 is coarse: positions in the scene's file are relative to "
        f"{shown_offset(offset)}, which it says too"
    )


def stopping(step: int, number: int) -> str:
    """Say that a signal ends the run after step `step`."""
    again = "; Ctrl-C again stops at once, without one" if number == signal.SIGINT else ""
    return f"stopping: step {step} is being finished and a checkpoint written{again}"


def removed(step: int, count: int) -> str:
    """How many Gaussians a step had to remove."""
    said = "1 Gaussian was not finite and was" if count == 1 else f"{count:,} Gaussians were not finite and were"
    return f"step {step}: {said} removed"


def cleaned(step: int, count: int) -> str:
    """How many floaters were removed after a step."""
    return f"step {step}: {'1 floater was' if count == 1 else f'{count:,} floaters were'} removed"


def sweeping(views: int, purpose: str) -> str:
    """What a plane sweep does before the first step, such as to "find first points (--start planes)"."""
    return f"comparing {views} photographs on many planes to {purpose}: seconds for each of them"


def found(findings: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield sentences about the `findings` of `ViewCorrections`."""
    if poses := findings.get("poses"):
        yield (
            f"refined cameras turned by {poses['degrees']:.2f}° on average (at most {poses['degrees_most']:.2f}°) and "
            f"moved by {poses['extents']:.4f} (at most {poses['extents_most']:.4f}) of the extent of the cameras"
        )
    if shake := findings.get("shake"):
        yield (
            f"during exposures cameras turned by {shake['degrees']:.2f}° on average (at most "
            f"{shake['degrees_most']:.2f}°) and moved by {shake['extents']:.4f} of the extent of the cameras"
        )
    if widths := findings.get("own_widths"):
        yield (
            f"photographs are blurred by widths of the Gaussians times {widths['factor']:.2f} on average (at most "
            f"{widths['factor_most']:.2f})"
        )
    if defocus := findings.get("defocus"):
        yield (
            f"photographs blur what is far away by {defocus['degrees']:.2f}° on average (at most "
            f"{defocus['degrees_most']:.2f}°), a standard deviation, and are in focus at {defocus['focus']:.2f} of the "
            "extent of the cameras"
        )


def compressing(size: int) -> str:
    """That a compressed copy is being made."""
    return f"compressing the scene to at most {shown_bytes(size)}"


def compressed(gaussians: int, found: Compressed) -> str:
    """How a compressed copy of a scene of `gaussians` came out."""
    return (
        f"{SMALL}: {found.gaussians.count:,} of {gaussians:,} Gaussians in {shown_bytes(found.bytes)}, whose pictures "
        f"are {found.psnr:.1f} dB from the scene's"
    )


def note(gaussians: int, steps: int, seconds: float, psnr: float) -> str:
    """The state of a run beside its progress bar; a PSNR of NaN is left out."""
    rate = f"{steps / max(seconds, 1e-9):.1f} steps/s" if steps else ""
    quality = "" if math.isnan(psnr) else f" · {psnr:.2f} dB"
    return f"{gaussians:,} Gaussians · {rate}{quality}"


def step_entry(progress: SceneProgress, result: StepResult, gaussians: int) -> dict[str, Any]:
    """The line of the log of a step."""
    edits = {name: value for name, value in vars(result.edits).items() if value}
    return {
        "step": progress.step,
        "loss": result.loss,
        "gaussians": gaussians,
        "seconds": round(progress.seconds, 4),
        **edits,
        **({"terms": result.terms} if result.terms else {}),
        **({"removed": result.removed} if result.removed else {}),
    }


def score_entry(progress: SceneProgress, scores: SceneScores, gaussians: int, held_out: bool) -> dict[str, Any]:
    """The line of the log of an evaluation; `held_out`: whether its views are."""
    return {
        "step_of_status": progress.step,
        "psnr": scores.psnr,
        "ssim": scores.ssim,
        "aligned_psnr": scores.aligned_psnr,
        **({} if scores.depth is None else {"depth": scores.depth.median, "depth_relative": scores.depth.relative}),
        "views": len(scores.views),
        "held_out": held_out,
        "gaussians": gaussians,
        "seconds": round(progress.seconds, 4),
        "memory": peak_memory(),
    }
