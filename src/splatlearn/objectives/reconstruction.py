"""Pixel reconstruction losses of masked autoencoding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.masking import Mask
from splatlearn.models.nn.patches import patchify

PATCH_VARIANCE_EPS = 1e-6
"""Added to a patch's variance before the square root (He et al. 2022, official configuration)."""
PATTERN_FLOOR = 0.1
"""Contrast, a standard deviation of colours in [0, 1], below which a pattern counts less."""
PATTERN_MEAN = 0.03
"""Weight of a patch's mean colour beside its pattern."""


def masked_mse(
    prediction: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B C H W"],
    mask: Mask,
    patch_size: int,
    normalize: bool = False,
    visible_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean squared error over the pixels of hidden patches (He et al. 2022, section 3).

    - `target`: images in [0, 1].
    - `patch_size`: side of a patch, pixels.
    - `normalize`: standardise each target patch by its own mean and (unbiased) standard deviation; the prediction is
      then in those units. MAE learns better features so; GMAE, whose colours lie in [0, 1], must not use it.
    - `visible_weight`: weight of a visible patch beside 1 for a hidden one; 0 is the paper's loss, 1 weighs all alike.

    Raises InputError when the images' shapes differ or the weight is negative.
    """
    predicted, wanted = _patches(prediction, target, patch_size)
    if normalize:
        wanted = normalize_patches(wanted)
    per_patch = F.mse_loss(predicted, wanted, reduction="none").mean(dim=-1)
    return _averaged(per_patch, mask, visible_weight)


def masked_pattern_error(
    prediction: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B C H W"],
    mask: Mask,
    patch_size: int,
    visible_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """Error of hidden patches' patterns, whatever their contrast, and, with little weight, of their mean colours.

    What MAE's normalised targets are to its pixels, for a model that paints colours: both patches, the painted one too,
    lose their mean and are divided by sqrt(var + 0.1²), so that those of little contrast count, and those of none do
    not. Mean over patches of 0.1² · mean((p′ − t′)²) + 0.03 · (mean(p) − mean(t))².

    Arguments as for `masked_mse`. Raises InputError when the images' shapes differ or the weight is negative.
    """
    return _averaged(_pattern_error(*_patches(prediction, target, patch_size)), mask, visible_weight)


def masked_mse_and_pattern_error(
    prediction: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B C H W"],
    mask: Mask,
    patch_size: int,
    visible_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """The sum of `masked_mse` and `masked_pattern_error`, in half the time of both.

    Arguments as for `masked_mse`. Raises InputError when the images' shapes differ or the weight is negative.
    """
    predicted, wanted = _patches(prediction, target, patch_size)
    squared = F.mse_loss(predicted, wanted, reduction="none").mean(dim=-1)
    return _averaged(squared + _pattern_error(predicted, wanted), mask, visible_weight)


def _pattern_error(predicted: Float[Tensor, "B N D"], wanted: Float[Tensor, "B N D"]) -> Float[Tensor, "B N"]:
    pattern = F.mse_loss(_pattern(predicted), _pattern(wanted), reduction="none").mean(dim=-1)
    mean = (predicted.mean(dim=-1) - wanted.mean(dim=-1)).square()
    return PATTERN_FLOOR**2 * pattern + PATTERN_MEAN * mean


def _pattern(patches: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
    return F.layer_norm(patches, patches.shape[-1:], eps=PATTERN_FLOOR**2)


def _patches(prediction: Tensor, target: Tensor, patch_size: int) -> tuple[Tensor, Tensor]:
    if prediction.shape != target.shape:
        raise InputError(f"prediction: expected shape {list(target.shape)} like target, got {list(prediction.shape)}")
    return patchify(prediction.float(), patch_size), patchify(target.float(), patch_size)


def _averaged(per_patch: Float[Tensor, "B N"], mask: Mask, visible_weight: float) -> Float[Tensor, ""]:
    if visible_weight < 0:
        raise InputError(f"visible_weight: expected a number ≥ 0, got {visible_weight}")
    hidden = per_patch.gather(1, mask.hidden)
    if visible_weight == 0:
        return hidden.mean()
    visible = per_patch.gather(1, mask.visible)
    total = hidden.sum() + visible_weight * visible.sum()
    return total / (hidden.numel() + visible_weight * visible.numel())


def normalize_patches(patches: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
    """Each patch standardised by its own mean and unbiased variance: (x − mean) / sqrt(var + 1e-6)."""
    mean, std = _patch_statistics(patches)
    return (patches - mean) / std


def denormalize_patches(normalized: Float[Tensor, "B N D"], patches: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
    """Undo `normalize_patches` with the statistics of the original patches, to show a prediction as an image."""
    mean, std = _patch_statistics(patches)
    return normalized * std + mean


def _patch_statistics(patches: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B N 1"], Float[Tensor, "B N 1"]]:
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + PATCH_VARIANCE_EPS).sqrt()
