"""A pre-training run of a few splat sets that takes seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions, SplatTraining

SIZES: dict[str, Any] = {"draw": 48, "groups": 8, "group_size": 8, "encoder_depth": 2, "predictor_depth": 1}


def small_splat_recipe(out: Path, method: str = "splat-mae", **splats: Any) -> Recipe:
    """Two epochs of steps of four sets."""
    return Recipe(
        method=method,  # pyright: ignore[reportArgumentType]
        data=DataOptions(data="memory", workers=0),
        run=RunOptions(out=str(out), device="cpu", precision="fp32", trackers=(), checkpoint_every=2, log_every=1),
        objective=ObjectiveOptions(),
        optimizer=OptimizerOptions(epochs=2, batch_size=4),
        model=f"{method}_vit_micro",
        splats=SplatTraining(**{**SIZES, **splats}),
    )


def stopped(recipe: Recipe, after: int, resume: bool = False) -> Recipe:
    """The recipe that stops after some steps, or goes on from there."""
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, stop_after=after, resume=resume))
