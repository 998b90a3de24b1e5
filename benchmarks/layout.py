"""Does it help to start the Gaussians as a grid? The demo's recipe, shortened, with both layouts and several seeds.

python -m benchmarks.layout --seeds 0 1 2 --epochs 1 --json-file benchmarks/results/layout.json
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
from pathlib import Path
from typing import Literal

import tyro

from benchmarks.common import PAPER_LIKE
from splatlearn.cli.demo_run import CROP_SIDE, demo_recipe, unseen_squares
from splatlearn.data import photo_crops, sample_photos, split_photos
from splatlearn.evaluation import masked_psnr
from splatlearn.models import ModelOptions, load_model
from splatlearn.runs.folder import environment
from splatlearn.training import ObjectiveOptions, pretrain
from splatlearn.training.pretraining.recipe import MASK_RATIO

LAYOUTS: tuple[Literal["grid", "free"], ...] = ("grid", "free")


def gain(layout: Literal["grid", "free"], seed: int, epochs: int) -> float:
    """Masked PSNR on unseen photographs over the mean of the visible pixels, in dB, after a short training."""
    training, held_out = split_photos(sample_photos())
    crops = photo_crops(training, CROP_SIDE, scales=(1.0, 0.5, 0.25, 0.15))
    with tempfile.TemporaryDirectory() as folder:
        recipe = demo_recipe(Path(folder) / "run", short=False, seed=seed, device="cpu")
        recipe = dataclasses.replace(
            recipe,
            # As the demo was when this was measured.
            options=ModelOptions(
                gaussians=256, gaussians_per_query=16, decoder_depth=2, scale_limit=2.0, layout=layout, **PAPER_LIKE
            ),
            objective=ObjectiveOptions(error="squared", visible_weight=0.0),
            optimizer=dataclasses.replace(recipe.optimizer, epochs=epochs),
        )
        result = pretrain(recipe, crops)
        unseen = unseen_squares(held_out, recipe.objective.mask_ratio or MASK_RATIO)
        scores = masked_psnr(load_model(result.folder), unseen.images, unseen.mask)
    return scores["masked_psnr_model"] - scores["masked_psnr_mean"]


def main(seeds: tuple[int, ...] = (0, 1, 2), epochs: int = 1, json_file: Path | None = None) -> None:
    """Compare the layouts over seeds and print mean and standard deviation."""
    gains = {layout: [gain(layout, seed, epochs) for seed in seeds] for layout in LAYOUTS}
    for layout, values in gains.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{layout:5s} {statistics.mean(values):+.2f} ± {spread:.2f} dB   {[round(value, 2) for value in values]}")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        facts = {"gain_db": gains, "seeds": seeds, "epochs": epochs, "environment": environment()}
        json_file.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
