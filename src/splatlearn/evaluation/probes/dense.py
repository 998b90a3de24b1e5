"""A linear segmentation probe: what single patch tokens know about the pixels they stand for.

Letters in shapes: B images, D numbers of a token, H W pixels, h w patches, C classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import half_cosine
from splatlearn.data import sample_order
from splatlearn.evaluation.features.extraction import Extraction, Progress
from splatlearn.evaluation.masked.reconstruction import evaluating
from splatlearn.evaluation.segmentation_data import IGNORED, SegmentClasses, SegmentedImages, read_pair
from splatlearn.models.channels import fit_channels
from splatlearn.models.masked_autoencoder import MaskedAutoencoder
from splatlearn.models.nn.patches import patchify
from splatlearn.models.nn.sizes import grid_of


@dataclass(frozen=True)
class SegmentationRecipe:
    """Training of the linear layer on tokens: AdamW with a cosine schedule, cross-entropy of each pixel."""

    steps: int = 500
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class DenseFeatures:
    """Token maps float32 [B, D, h, w] with masks int64 [B, H, W] of class numbers, IGNORED where a pixel is void."""

    tokens: Float[Tensor, "B D h w"]
    masks: Int64[Tensor, "B H W"]


def dense_features(
    model: MaskedAutoencoder | None,
    images: SegmentedImages,
    classes: SegmentClasses,
    image_size: tuple[int, int],
    patch_size: int,
    extraction: Extraction | None = None,
    progress: Progress | None = None,
) -> DenseFeatures:
    """Token maps of photographs and their masks at the model's size: the largest central box, resized.

    A model of grey images sees them in grey.

    - `model`: None takes the pixels of each patch, the control without learning.
    - `classes`: of the whole set, as `segment_classes` finds them.

    Raises DataError as `read_pair` does.
    """
    extraction = extraction or Extraction()
    device = torch.device(extraction.device)
    tokens: list[Tensor] = []
    masks: list[Tensor] = []
    for start in range(0, len(images.pairs), extraction.batch_size):
        read = [read_pair(pair, image_size, classes) for pair in images.pairs[start : start + extraction.batch_size]]
        pixels = torch.from_numpy(np.stack([image for image, _ in read])).to(device).float() / 255
        masks.append(torch.from_numpy(np.stack([mask for _, mask in read])))
        if model is None:
            grid = grid_of(*image_size, patch_size)
            tokens.append(patchify(pixels, patch_size).transpose(1, 2).unflatten(2, grid).cpu())
        else:
            autocast = torch.autocast(device.type, torch.bfloat16, enabled=extraction.precision == "bf16")
            with evaluating(model), autocast:
                seen = fit_channels(pixels, model.encoder.config.channels)
                tokens.append(model.feature_map(seen).float().cpu())
        if progress is not None:
            progress("token maps", min(start + extraction.batch_size, len(images.pairs)), len(images.pairs))
    return DenseFeatures(torch.cat(tokens), torch.cat(masks))


def segment(
    train: DenseFeatures,
    val: DenseFeatures,
    classes: int,
    recipe: SegmentationRecipe | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Int64[Tensor, "B H W"]:
    """Class numbers of the pixels of `val`, by a linear layer on standardised tokens trained on `train`.

    Its logits are enlarged bilinearly to the masks' size, in training too; void pixels are left out of the loss.
    `told` is called with the steps done and their number. A function of the other arguments alone.
    """
    recipe = recipe or SegmentationRecipe()
    mean = train.tokens.mean(dim=(0, 2, 3), keepdim=True)
    deviation = train.tokens.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    weight = nn.Parameter(torch.zeros(classes, train.tokens.shape[1], 1, 1))
    bias = nn.Parameter(torch.zeros(classes))
    optimizer = torch.optim.AdamW([weight, bias], lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def logits(tokens: Tensor) -> Tensor:
        made = F.conv2d((tokens - mean) / deviation, weight, bias)
        return F.interpolate(made, size=tuple(train.masks.shape[1:]), mode="bilinear", align_corners=False)

    size = min(recipe.batch_size, len(train.tokens))
    for step, chosen in zip(range(recipe.steps), _batches(len(train.tokens), size, recipe.seed), strict=False):
        rate = recipe.learning_rate * half_cosine(step, recipe.steps)
        optimizer.param_groups[0]["lr"] = rate
        if told is not None:
            told(step, recipe.steps)
        masks = train.masks[chosen]
        if bool((masks == IGNORED).all()):  # the mean over no pixel is not a number
            continue
        optimizer.zero_grad()
        F.cross_entropy(logits(train.tokens[chosen]), masks, ignore_index=IGNORED).backward()
        optimizer.step()
    with torch.no_grad():
        return torch.cat([logits(tokens).argmax(dim=1) for tokens in val.tokens.split(size)])


def _batches(count: int, size: int, seed: int) -> Iterator[Int64[Tensor, " K"]]:
    """Whole batches, epoch after epoch without end."""
    for epoch in itertools.count():
        order = sample_order(count, seed, epoch)(np.arange(count // size * size))
        yield from torch.from_numpy(order).split(size)


def intersection_over_union(
    predicted: Int64[Tensor, "B H W"], masks: Int64[Tensor, "B H W"], classes: int
) -> Float[Tensor, " C"]:
    """Pixels in both over pixels in either, for each class, summed over all images; NaN for a class in neither.

    Void pixels of `masks` count nowhere. The mean over classes is the mean IoU. Raises InputError when shapes differ.
    """
    if predicted.shape != masks.shape:
        raise InputError(f"predicted: expected shape {list(masks.shape)} like masks, got {list(predicted.shape)}")
    pairs = (masks * classes + predicted)[masks != IGNORED]
    pairs = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    both = pairs.diagonal().double()
    return both / (pairs.sum(dim=0) + pairs.sum(dim=1) - both)
