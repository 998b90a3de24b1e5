"""Pixel reconstruction losses of masked autoencoding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.models.masking import Mask
from splatlearn.models.patches import patchify

PATCH_VARIANCE_EPS = 1e-6
"""Added to a patch's variance before the square root (He et al. 2022, official configuration)."""


def masked_mse(
    prediction: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B C H W"],
    mask: Mask,
    patch: int,
    normalize: bool = False,
    visible_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean squared error over the pixels of hidden patches (He et al. 2022, section 3).

    - `target`: images in [0, 1].
    - `patch`: side of a patch, pixels.
    - `normalize`: standardise each target patch by its own mean and (unbiased) standard deviation; the prediction is
      then in those units. MAE learns better features so; GMAE, whose colours lie in [0, 1], must not use it.
    - `visible_weight`: weight of a visible patch beside 1 for a hidden one; 0 is the paper's loss, 1 weighs all alike.

    Raises ValueError when the images' shapes differ or the weight is negative.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"prediction: expected shape {list(target.shape)} like target, got {list(prediction.shape)}")
    if visible_weight < 0:
        raise ValueError(f"visible_weight: expected a number ≥ 0, got {visible_weight}")
    predicted, wanted = patchify(prediction.float(), patch), patchify(target.float(), patch)
    if normalize:
        wanted = normalize_patches(wanted)
    per_patch = F.mse_loss(predicted, wanted, reduction="none").mean(dim=-1)
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
