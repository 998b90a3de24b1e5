"""A pre-training run of a second or two."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from splatlearn.data import ImageList
from splatlearn.models import ModelOptions
from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions


def pictures(count: int = 24, side: int = 20) -> ImageList:
    """Smooth random pictures."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 256, size=(count, 2, 2, 3)).astype(np.float64)
    ramp = np.linspace(0, 1, side)
    rows = corners[:, :1] * (1 - ramp)[None, :, None, None] + corners[:, 1:] * ramp[None, :, None, None]
    images = rows[:, :, :1] * (1 - ramp)[None, None, :, None] + rows[:, :, 1:] * ramp[None, None, :, None]
    return ImageList([image.astype(np.uint8) for image in images], [f"picture {i}" for i in range(count)])


def small_recipe(out: Path, method: str = "gmae", **run) -> Recipe:
    options = ModelOptions(
        decoder_depth=1, decoder_embed_dim=32, decoder_num_heads=2, gaussians=16 if method == "gmae" else None
    )
    run = {"trackers": (), "log_every": 3, **run}
    return Recipe(
        method=method,  # type: ignore[arg-type]
        model=f"{method}_vit_tiny_patch4_16",
        options=options,
        data=DataOptions(data="pictures", workers=0),
        objective=ObjectiveOptions(mask_ratio=0.5, normalize_targets=False),
        optimizer=OptimizerOptions(epochs=3, batch_size=8, base_learning_rate=2e-2, accumulate=1),
        run=RunOptions(out=str(out), device="cpu", precision="fp32", **run),
    )


def losses(folder: Path) -> dict[int, float]:
    """The loss of every step in a run's log."""
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}
