"""splatlearn: image representations learned by painting with Gaussians."""

from splatlearn import zero_shot
from splatlearn.camera import Camera
from splatlearn.fitting import refine
from splatlearn.gaussians import Gaussians
from splatlearn.models import GMAE, MAE, Mask, ModelOptions, Reconstruction, create_model, orthogonal_masks, random_mask
from splatlearn.models import load_model as load
from splatlearn.models import save_model as save
from splatlearn.render import Rendering, Splats, available_backends, composite, project, render

__all__ = [
    "GMAE",
    "MAE",
    "Camera",
    "Gaussians",
    "Mask",
    "ModelOptions",
    "Reconstruction",
    "Rendering",
    "Splats",
    "available_backends",
    "composite",
    "create_model",
    "load",
    "orthogonal_masks",
    "project",
    "random_mask",
    "refine",
    "render",
    "save",
    "zero_shot",
]
