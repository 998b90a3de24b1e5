"""Scenes seen from nearer and farther than they were photographed: what each filter changes.

    python -m benchmarks.zoom [--seeds 0 1] [--steps 1000] [--count 2500] [--json-file FILE]

Two known scenes of Gaussians are photographed by cameras on a circle: a striped shell, and a cloud of small discs of
random colours. A photograph is the mean over the area of each pixel of a rendering with 1024 × 1024 samples, so it has
no filter of the fits. Fits see photographs of 64 or of 256 pixels a side. Held-out cameras then look at all three
sizes, 64, 128 and 256, through the same lens, and each picture is compared with the truth of its size. Arms: the filter
"point", the filter "mip" in pictures alone, both filters of Mip-Splatting, as by `reconstruct --filter mip`, and the
filter "analytic".
"""

from __future__ import annotations

import json
import math
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from benchmarks.common import table
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import MCMCOptions, MCMCStrategy, SceneFit, SceneSchedule, Smoothing, psnr
from splatlearn.rendering import render
from splatlearn.runs.folder import environment

SIDES = (64, 128, 256)
TRUTH = 1024
"""Samples along a side of the truth."""
FITTED, HELD_OUT = 20, 4
"""Cameras."""
SCENES = ("shell", "discs")
START = 0.03
"""Scale of the first Gaussians: some 0.8 pixels of a picture of 64, and less than half the way to a neighbour."""
ARMS = ("point", "mip in pictures", "mip", "analytic")
BEHIND = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Options:
    """How much is fitted."""

    seeds: tuple[int, ...] = (0, 1)
    """One pair of scenes and fits for each."""
    steps: int = 1_000
    """Steps of a fit."""
    count: int = 2_500
    """Gaussians of the truth, and at most of a fit."""
    json_file: Path | None = None
    """File for all numbers."""


def main(options: Options) -> None:
    """Fit, look, and print a table of PSNR in dB."""
    rows: list[dict[str, Any]] = []
    for scene in SCENES:
        for seed in options.seeds:
            truth = known_scene(scene, seed, options.count)
            samples = [render(truth, camera, BEHIND, depth=False).color for camera in cameras(TRUTH)]
            pictures = {side: torch.stack([F.avg_pool2d(each, TRUTH // side) for each in samples]) for side in SIDES}
            for side in (SIDES[0], SIDES[-1]):
                for arm in ARMS:
                    begun = time.process_time()
                    fit = fitted(arm, truth, side, pictures[side][:FITTED], seed, options)
                    seconds = time.process_time() - begun
                    quality = {str(each): looked_at(fit, each, pictures[each][FITTED:]) for each in SIDES}
                    count = fit.optimizer.count
                    rows.append(
                        {"scene": scene, "seed": seed, "fitted": side, "arm": arm, "psnr": quality, "count": count}
                        | {"cpu_seconds": round(seconds, 1)}
                    )
                    print(rows[-1], flush=True)
    print(table(["scene", "fitted at", "filter", *(f"{side} px" for side in SIDES)], summary(rows)))
    if options.json_file is not None:
        found = {"environment": environment(), "steps": options.steps, "rows": rows}
        options.json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def known_scene(name: str, seed: int, count: int) -> Gaussians:
    """A closed shell of overlapping balls with stripes, or discs within a ball, 0.6 to 3 pixels of 256 wide."""
    generator = torch.Generator().manual_seed(seed)
    means = F.normalize(torch.randn(count, 3, generator=generator), dim=1)
    if name == "shell":
        x, y, z = means.unbind(1)
        stripes = torch.stack([(14 * x + 3 * z).sin(), (11 * y).cos(), (9 * z - 5 * y).sin()], dim=1)
        scales, colors = torch.full((count, 3), 0.04), 0.5 + 0.4 * stripes
    else:
        means = means * (0.4 + 0.6 * torch.rand(count, 1, generator=generator) ** 0.3)
        unit = 0.012 + 0.02 * torch.rand(count, 1, generator=generator)
        scales, colors = unit * torch.tensor([1.0, 1.0, 0.1]), torch.rand(count, 3, generator=generator)
    return Gaussians(
        means=means,
        scales=scales,
        quaternions=torch.randn(count, 4, generator=generator),
        opacities=torch.full((count,), 0.9),
        colors=colors,
    )


def cameras(side: int) -> list[Camera]:
    """Those that are fitted, then those that are held out, with pictures of a size."""
    made = []
    for number in range(FITTED + HELD_OUT):
        turn = 2 * math.pi * number / FITTED if number < FITTED else 2 * math.pi * (number + 0.5) / HELD_OUT
        eye = (3.2 * math.sin(turn), 1.2 * math.sin(3 * turn), -3.2 * math.cos(turn))
        made.append(Camera.look_at(eye, (0.0, 0.0, 0.0), side, side, 45.0))
    return made


def fitted(arm: str, truth: Gaussians, side: int, targets: Tensor, seed: int, options: Options) -> SceneFit:
    """Fit from grey Gaussians at the true places, moved a little, as points of a capture would be."""
    generator = torch.Generator().manual_seed(seed + 1)
    start = replace(
        truth,
        means=truth.means + 0.01 * torch.randn(truth.means.shape, generator=generator),
        scales=torch.full_like(truth.scales, START),
        opacities=torch.full_like(truth.opacities, 0.5),
        colors=torch.full_like(truth.fixed_colors(), 0.5),
    )
    strategy = MCMCStrategy(MCMCOptions.for_steps(options.steps, options.count))
    schedule = SceneSchedule(steps=options.steps, degree=0, seed=seed)
    views = cameras(side)[:FITTED]
    smoothing = Smoothing(views) if arm == "mip" else None
    fit = SceneFit(start, 1.0, strategy, schedule, smoothing=smoothing, filter=arm.partition(" ")[0])
    order = torch.Generator().manual_seed(seed + 2)
    for _ in range(options.steps):
        view = int(torch.randint(FITTED, (), generator=order))
        batch = replace(views[view], viewmats=views[view].viewmats[None])
        fit.step(batch, targets[view][None], background=BEHIND)
    return fit


@torch.no_grad()
def looked_at(fit: SceneFit, side: int, targets: Tensor) -> float:
    """The mean PSNR of the held-out views at a size."""
    found = []
    for camera, target in zip(cameras(side)[FITTED:], targets, strict=True):
        color = render(fit.gaussians(), camera, BEHIND, depth=False, filter=fit.filter).color.clamp(0, 1)
        found.append(float(psnr(color[None], target[None])))
    return statistics.mean(found)


def summary(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Means over seeds, one row for each scene, size of photographs and arm."""
    lines = []
    for key in dict.fromkeys((row["scene"], row["fitted"], row["arm"]) for row in rows):
        found = [row["psnr"] for row in rows if (row["scene"], row["fitted"], row["arm"]) == key]
        means = [statistics.mean(each[str(side)] for each in found) for side in SIDES]
        lines.append([*map(str, key), *(f"{mean:.2f}" for mean in means)])
    return lines


if __name__ == "__main__":
    main(tyro.cli(Options))
