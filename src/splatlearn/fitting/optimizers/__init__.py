"""Optimisers whose state follows Gaussians that are added, moved and removed."""

from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam

__all__ = ["GaussianAdam"]
