"""Losses: functions of reconstructions, targets and masks, never inside a model."""

from splatlearn.objectives.bounds import club, contrastive_loss, donsker_varadhan, leave_one_out
from splatlearn.objectives.estimators import Estimate, Estimator, create_estimator
from splatlearn.objectives.mutual_information import MaximizeTerm, MinimizeTerm, frozen_bound, info_nce
from splatlearn.objectives.reconstruction import (
    denormalize_patches,
    masked_mse,
    masked_mse_and_pattern_error,
    masked_pattern_error,
    normalize_patches,
)
from splatlearn.objectives.soft_order import SoftOrder
from splatlearn.objectives.weighted import ObjectiveValue, Term, WeightedSum

__all__ = [
    "Estimate",
    "Estimator",
    "MaximizeTerm",
    "MinimizeTerm",
    "ObjectiveValue",
    "SoftOrder",
    "Term",
    "WeightedSum",
    "club",
    "contrastive_loss",
    "create_estimator",
    "denormalize_patches",
    "donsker_varadhan",
    "frozen_bound",
    "info_nce",
    "leave_one_out",
    "masked_mse",
    "masked_mse_and_pattern_error",
    "masked_pattern_error",
    "normalize_patches",
]
