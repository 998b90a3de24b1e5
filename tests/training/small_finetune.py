"""A fine-tuning run of a second or two: dark and bright pictures to tell apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from splatlearn.data import ImageList
from splatlearn.data.labelled import Labelled, labelled_parts
from splatlearn.models import (
    GMAE,
    MAE,
    Classifier,
    DecoderConfig,
    GMAEConfig,
    MAEConfig,
    ViTConfig,
    load_classifier,
    save_model,
)
from splatlearn.training import (
    AugmentOptions,
    FinetuneOptimizerOptions,
    FinetuneRecipe,
    LabelledOptions,
    RunOptions,
)

PLAIN = AugmentOptions(crop_scale=(0.8, 1.0), rand_augment=0.0, erase=0.0, mixup=0.0, cutmix=0.0)
"""Crops and flips alone."""


def two_classes(count: int = 16, side: int = 20, seed: int = 0) -> ImageList:
    """Noise about a dark grey (even) or a bright one (odd)."""
    rng = np.random.default_rng(seed)
    labels = [index % 2 for index in range(count)]
    images = [rng.normal(80 + 90 * label, 40, (side, side, 3)).clip(0, 255).astype(np.uint8) for label in labels]
    return ImageList(images, [f"picture {index}" for index in range(count)], labels, ["dark", "bright"])


def labelled(count: int = 16) -> Labelled:
    return labelled_parts(two_classes(count), two_classes(8, seed=1))


def pretrained(folder: Path, kind: str = "mae") -> Path:
    """A small model as pre-training leaves it behind, with fresh weights."""
    encoder = ViTConfig(embed_dim=48, depth=2, num_heads=3, patch_size=4, image_size=(16, 16))
    decoder, generator = DecoderConfig(embed_dim=16, depth=1, num_heads=2), torch.Generator().manual_seed(0)
    if kind == "mae":
        save_model(MAE(MAEConfig(encoder, decoder), generator), folder)
    else:
        save_model(GMAE(GMAEConfig(encoder, decoder, gaussians=16), generator), folder)
    return folder


def small_finetuning(model: Path, out: Path, augment: AugmentOptions = PLAIN, **run) -> FinetuneRecipe:
    optimizer = FinetuneOptimizerOptions(epochs=4, batch_size=4, base_learning_rate=0.02, layer_decay=0.9)
    run = {"trackers": (), "log_every": 3, "device": "cpu", "precision": "fp32", **run}
    return FinetuneRecipe(
        model=str(model),
        data=LabelledOptions(data="pictures", workers=0),
        run=RunOptions(out=str(out), **run),
        augment=augment,
        optimizer=optimizer,
    )


def with_optimizer(recipe: FinetuneRecipe, **changes) -> FinetuneRecipe:
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, **changes))


def weights(folder: Path) -> dict[str, np.ndarray]:
    model: Classifier = load_classifier(folder)
    return {name: value.numpy() for name, value in model.state_dict().items()}
