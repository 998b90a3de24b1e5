"""Losses: functions of reconstructions, targets and masks, never inside a model."""

from splatlearn.objectives.reconstruction import denormalize_patches, masked_mse, normalize_patches
from splatlearn.objectives.weighted import ObjectiveValue, Term, WeightedSum

__all__ = ["ObjectiveValue", "Term", "WeightedSum", "denormalize_patches", "masked_mse", "normalize_patches"]
