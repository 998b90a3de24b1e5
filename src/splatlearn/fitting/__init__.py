"""Gaussians of one image, fitted through the renderer: from a model's prediction or from scratch."""

from splatlearn.fitting.clamping import PictureError, clamping_error, picture_error
from splatlearn.fitting.colors import refit_colors
from splatlearn.fitting.descent import FitOptions, fit
from splatlearn.fitting.initial import initial_gaussians
from splatlearn.fitting.parameters import ColorRange, LearningRates, Parameters

__all__ = [
    "ColorRange",
    "Parameters",
    "PictureError",
    "LearningRates",
    "FitOptions",
    "clamping_error",
    "initial_gaussians",
    "picture_error",
    "fit",
    "refit_colors",
]
