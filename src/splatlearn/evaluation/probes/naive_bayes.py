"""Gaussian classifiers: each class a Gaussian with a diagonal covariance of its own, or all with one covariance.

They need no iterations and, with few labels, often fewer errors than logistic regression (Ng and Jordan, "On
discriminative vs. generative classifiers", NIPS 2001). Letters in shapes: M images to judge, C classes, D numbers.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.evaluation.features.extraction import Features

PRIOR_COUNT = 5.0
"""Number of images that the prior of a variance counts for."""
SMOOTHING = 1e-9
"""Added to variances, as a share of the largest variance in train; scikit-learn's."""


def diagonal_scores(features: Features, prior_count: float = PRIOR_COUNT) -> Float[Tensor, "M C"]:
    """Log posterior, up to a constant, under Gaussians with a diagonal covariance for each class.

    With few labels a class's variances are hardly known. They are drawn towards those within all classes together,
    which count for `prior_count` images, and these towards 1, the variance of standardised features, likewise; at 0
    this is scikit-learn's GaussianNB. Raises InputError for a negative count.
    """
    if not prior_count >= 0:
        raise InputError(f"prior_count: expected a number ≥ 0, got {prior_count}")
    train, val = features.train.double(), features.val.double()
    means, counts = _class_means(features)
    squares = (train - means[features.train_labels]).square()
    sums = torch.zeros_like(means).index_add_(0, features.train_labels, squares)
    pooled = (sums.sum(dim=0) + prior_count) / (counts.sum() + prior_count)
    variances = (sums + prior_count * pooled) / (counts.clamp_min(1) + prior_count).unsqueeze(1)
    variances = variances + SMOOTHING * train.var(dim=0, correction=0).max()
    # Expanding the square turns the sum over D into two matrix products.
    distances = (
        val.square() @ (1 / variances).T
        - 2 * val @ (means / variances).T
        + (means.square() / variances).sum(dim=1)
        + (2 * math.pi * variances).log().sum(dim=1)
    )
    return (_log_prior(counts) - 0.5 * distances).float()


def shared_scores(features: Features, shrinkage: float | None = None) -> Float[Tensor, "M C"]:
    """Log posterior, up to a constant, under Gaussians with one full covariance: linear discriminant analysis.

    - `shrinkage`: weight in [0, 1] of the scaled identity against the covariance within classes; None estimates it
      (Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004).

    Where every image to learn from is the only one of its class, the covariance is the identity, and the nearest mean
    wins. Raises InputError for a weight outside [0, 1].
    """
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise InputError(f"shrinkage: expected a number in [0, 1], got {shrinkage}")
    train, val = features.train.double(), features.val.double()
    means, counts = _class_means(features)
    residuals = train - means[features.train_labels]
    covariance = residuals.T @ residuals / len(train)
    size = float(covariance.diagonal().mean())
    identity = torch.eye(train.shape[1], dtype=torch.float64)
    if size < 1e-12:
        covariance = identity
    else:
        weight = _shrinkage(residuals) if shrinkage is None else shrinkage
        covariance = (1 - weight) * covariance + weight * size * identity
    directions = _solved(covariance, means.T)
    return (val @ directions - 0.5 * (means * directions.T).sum(dim=1) + _log_prior(counts)).float()


def _shrinkage(residuals: Tensor) -> float:
    from sklearn.covariance import ledoit_wolf_shrinkage

    return float(ledoit_wolf_shrinkage(residuals.numpy(), assume_centered=True))


def _solved(covariance: Tensor, targets: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        # Without shrinkage there may be fewer images than numbers.
        return torch.linalg.lstsq(covariance, targets, driver="gelsd").solution
    return torch.cholesky_solve(targets, factor)


def _class_means(features: Features) -> tuple[Float[Tensor, "C D"], Float[Tensor, " C"]]:
    counts = torch.bincount(features.train_labels, minlength=len(features.classes)).double()
    sums = torch.zeros(len(counts), features.train.shape[1], dtype=torch.float64)
    sums.index_add_(0, features.train_labels, features.train.double())
    return sums / counts.clamp_min(1).unsqueeze(1), counts


def _log_prior(counts: Tensor) -> Tensor:
    """Log share of each class in train; a class without images never wins."""
    return (counts / counts.sum()).log()
