"""The segmentation probe of one model on photographs with masks, beside its controls."""

from __future__ import annotations

from pathlib import Path

import torch

from splatlearn.data.labelled import SPLIT_SEED
from splatlearn.evaluation.dense import SegmentationRecipe, dense_features, intersection_over_union, segment
from splatlearn.evaluation.embedders import random_twin
from splatlearn.evaluation.feature_cache import files_digest, weights_digest
from splatlearn.evaluation.features import Extraction, Progress
from splatlearn.evaluation.masked_images import MaskedImages, open_masked_images
from splatlearn.evaluation.results import Evaluation, Score, Subject
from splatlearn.models import load_model
from splatlearn.models.decoder import MaskedAutoencoder

PATCH_TOKENS = "patch tokens"


def evaluate_segmentation(
    model: str | Path | MaskedAutoencoder,
    data: str | Path | MaskedImages,
    controls: bool = True,
    recipe: SegmentationRecipe | None = None,
    extraction: Extraction | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Mean IoU of a linear layer on a model's patch tokens, trained on four fifths of photographs with masks.

    - `model`: as `evaluate` takes it; `data`: what `open_masked_images` opens, or what it gave.
    - `controls`: give the tokens of a random-weights encoder and the pixels of patches the same layer.

    Chance is the mean IoU of calling every pixel by the commonest class. Raises what loading and opening raise.
    """
    recipe, extraction = recipe or SegmentationRecipe(), extraction or Extraction()
    loaded = (load_model(model) if isinstance(model, str | Path) else model).to(extraction.device)
    images = data if isinstance(data, MaskedImages) else open_masked_images(data)
    subjects: dict[str, MaskedAutoencoder | None] = {"model": loaded}
    if controls:
        subjects |= {"random weights": random_twin(loaded).to(extraction.device), "raw pixels": None}
    parts = images.split()
    found: list[Subject] = []
    chance, classes = 0.0, 2
    for name, each in subjects.items():
        size, patch = loaded.image_size, loaded.patch
        train, val = (dense_features(each, part, size, patch, extraction, progress) for part in parts)
        classes = max(2, 1 + int(max(train.masks.max(), val.masks.max())))
        if progress is not None:
            progress(f"{name}: segmentation", 0, 1)
        shares = intersection_over_union(segment(train, val, classes, recipe), val.masks, classes)
        commonest = torch.bincount(train.masks.flatten(), minlength=classes).argmax()
        alone = intersection_over_union(torch.full_like(val.masks, int(commonest)), val.masks, classes)
        chance = float(alone.nanmean())
        settings = {f"IoU of class {number}": float(share) for number, share in enumerate(shares) if share == share}
        score = Score("linear segmentation", float(shares.nanmean()), metric="mean IoU", settings=settings)
        found.append(Subject(name, train.tokens.shape[1], (score,)))
    return Evaluation(
        data=images.description,
        split=f"a fifth of the images, held out by the keyed order of seed {SPLIT_SEED}",
        contents=files_digest([path for pair in images.pairs for path in pair]),
        classes=tuple(f"class {number}" for number in range(classes)),
        train_images=len(parts[0].pairs),
        val_images=len(parts[1].pairs),
        features=PATCH_TOKENS,
        weights=weights_digest(loaded.encoder),
        chance=chance,
        seed=recipe.seed,
        subjects=tuple(found),
    )
