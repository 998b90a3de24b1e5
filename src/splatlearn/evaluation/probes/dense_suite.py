"""The segmentation probe of one model on photographs with masks, beside its controls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from splatlearn.data.labelled import SPLIT_SEED
from splatlearn.evaluation.features.cache import files_digest, weights_digest
from splatlearn.evaluation.features.embedders import random_twin
from splatlearn.evaluation.features.extraction import Extraction, Progress
from splatlearn.evaluation.probes.dense import (
    DenseFeatures,
    SegmentationRecipe,
    dense_features,
    intersection_over_union,
    segment,
)
from splatlearn.evaluation.results import Evaluation, Score, Subject
from splatlearn.evaluation.segmentation_data import (
    IGNORED,
    SegmentClasses,
    SegmentedImages,
    open_segmented_images,
    segment_classes,
)
from splatlearn.images import DataError
from splatlearn.models import load_model
from splatlearn.models.channels import check_reads_pictures
from splatlearn.models.masked_autoencoder import MaskedAutoencoder

PATCH_TOKENS = "patch tokens"


def evaluate_segmentation(
    model: str | Path | MaskedAutoencoder,
    data: str | Path | SegmentedImages,
    controls: bool = True,
    recipe: SegmentationRecipe | None = None,
    extraction: Extraction | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Mean IoU of a linear layer on a model's patch tokens, trained on four fifths of photographs with masks.

    - `model`: as `evaluate` takes it; `data`: what `open_segmented_images` opens, or what it gave.
    - `controls`: give the tokens of a random-weights encoder and the pixels of patches the same layer.

    Classes are those of `segment_classes`; void pixels count neither in training nor in scores. Chance is the mean IoU
    of calling every pixel by the commonest class. Raises what loading and opening raise, and DataError as
    `segment_classes` does and where the images to learn from or to be judged on show fewer than two classes.
    """
    recipe, extraction = recipe or SegmentationRecipe(), extraction or Extraction()
    loaded = (load_model(model) if isinstance(model, str | Path) else model).to(extraction.device)
    check_reads_pictures(loaded.encoder.config)
    images = data if isinstance(data, SegmentedImages) else open_segmented_images(data)
    classes = segment_classes(images, progress)
    subjects: dict[str, MaskedAutoencoder | None] = {"model": loaded}
    if controls:
        subjects |= {"random weights": random_twin(loaded).to(extraction.device), "raw pixels": None}
    parts = images.split()
    found: list[Subject] = []
    chance = 0.0
    for name, each in subjects.items():
        size, patch_size = loaded.image_size, loaded.patch_size
        train, val = (dense_features(each, part, classes, size, patch_size, extraction, progress) for part in parts)
        for part, features in (("to learn from", train), ("to be judged on", val)):
            _check_shown(part, features, classes)
        steps = None if progress is None else partial(progress, f"{name}: segmentation")
        shares = intersection_over_union(segment(train, val, len(classes), recipe, steps), val.masks, len(classes))
        commonest = torch.bincount(train.masks[train.masks != IGNORED], minlength=len(classes)).argmax()
        alone = intersection_over_union(torch.full_like(val.masks, int(commonest)), val.masks, len(classes))
        chance = float(alone.nanmean())
        named = zip(classes.names, shares.tolist(), strict=True)
        settings = {f"IoU of {label}": share for label, share in named if share == share}
        score = Score("linear segmentation", float(shares.nanmean()), metric="mean IoU", settings=settings)
        found.append(Subject(name, train.tokens.shape[1], (score,)))
    return Evaluation(
        data=images.description,
        split=f"a fifth of the images, held out by the keyed order of seed {SPLIT_SEED}",
        contents=files_digest([path for pair in images.pairs for path in pair]),
        classes=classes.names,
        train_images=len(parts[0].pairs),
        val_images=len(parts[1].pairs),
        features=PATCH_TOKENS,
        weights=weights_digest(loaded.encoder),
        chance=chance,
        seed=recipe.seed,
        subjects=tuple(found),
    )


def _check_shown(part: str, features: DenseFeatures, classes: SegmentClasses) -> None:
    """Raise DataError where images show one class at most, of which every score would be 100 %."""
    shown = torch.unique(features.masks[features.masks != IGNORED]).tolist()
    if len(shown) < 2:
        came = classes.names[shown[0]] if shown else "void"
        raise DataError(
            f"segmentation: expected at least two of {len(classes)} classes in the {len(features.masks)} images "
            f"{part}, cropped to the model's aspect, got {came} alone; add images"
        )
