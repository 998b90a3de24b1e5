"""Gaussians fitted through the renderer: parametrisation, losses, optimisers, and the fit of one image."""

from splatlearn.fitting.clamping import PictureError, clamping_error, picture_error
from splatlearn.fitting.colors import refit_colors
from splatlearn.fitting.descent import FitOptions, fit
from splatlearn.fitting.initial import initial_gaussians
from splatlearn.fitting.losses import photometric_loss, psnr, ssim
from splatlearn.fitting.optimizers import GaussianAdam
from splatlearn.fitting.parameters import ColorRange, LearningRates, Parameters

__all__ = [
    "ColorRange",
    "Parameters",
    "PictureError",
    "LearningRates",
    "FitOptions",
    "GaussianAdam",
    "clamping_error",
    "initial_gaussians",
    "picture_error",
    "fit",
    "photometric_loss",
    "psnr",
    "refit_colors",
    "ssim",
]
