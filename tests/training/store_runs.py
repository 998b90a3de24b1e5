"""Make the runs under `stored/`, which later versions must still read, resume and evaluate.

    PYTHONPATH=tests python tests/training/store_runs.py FOLDER

They are stopped in the middle. They are made once for each schema of what is stored, and kept.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path

import torch

from splatlearn.models import MAE, DecoderConfig, MAEConfig, ViTConfig, presets, save_model
from splatlearn.training import MutualInformationOptions, Recipe, finetune, pretrain
from training.small_finetune import labelled, small_finetuning
from training.small_run import pictures, small_recipe

ENCODER = (12, 1, 3)
"""Width, depth and heads."""


def store(folder: Path) -> None:
    """Write the runs `gmae`, `mae`, `mi-gmae` (stopped at step 4 of 9) and `finetuned` (at step 6 of 16)."""
    presets.ENCODERS["tiny"] = ENCODER
    folder.mkdir(parents=True)
    os.chdir(folder)  # so that recipes hold names that are nobody's folders
    for method in ("gmae", "mae", "mi-gmae"):
        pretrain(recipe(method), pictures())
    width, depth, heads = ENCODER
    encoder = ViTConfig(embed_dim=width, depth=depth, num_heads=heads, patch_size=4, image_size=(16, 16))
    config = MAEConfig(encoder, DecoderConfig(embed_dim=16, depth=1, num_heads=2))
    save_model(MAE(config, torch.Generator().manual_seed(0)), "model")
    finetune(small_finetuning(Path("model"), Path("finetuned"), stop_after=6), labelled())
    for path in Path().rglob("*"):
        if path.name in {".lock", "environment.json"}:
            path.unlink()
    shutil.rmtree("model")


def recipe(method: str) -> Recipe:
    """Three epochs of three steps."""
    small = small_recipe(Path(method), method.removeprefix("mi-"), stop_after=4)
    several = {
        "mutual": MutualInformationOptions(projector=8, estimator_width=16),
        "objective": dataclasses.replace(small.objective, mask_ratio=0.75),
    }
    options = dataclasses.replace(small.options, decoder_embed_dim=16)
    return dataclasses.replace(small, method=method, options=options, **(several if method == "mi-gmae" else {}))


if __name__ == "__main__":
    store(Path(sys.argv[1]))
