"""Gaussians of one image, fitted through the renderer: from a model's prediction or from scratch."""

from splatlearn.fitting.colors import refit_colors
from splatlearn.fitting.initial import initial_gaussians
from splatlearn.fitting.parameters import Parameters, Rates
from splatlearn.fitting.refine import RefineOptions, refine

__all__ = ["Parameters", "Rates", "RefineOptions", "initial_gaussians", "refine", "refit_colors"]
