"""splatlearn: image representations learned by painting with Gaussians."""

from splatlearn import zero_shot
from splatlearn.camera import Camera
from splatlearn.files import SplatCloud, SplatFileError, bake_pinhole, read_splats, write_splats
from splatlearn.fitting import refine
from splatlearn.gaussians import Gaussians
from splatlearn.models import (
    GMAE,
    MAE,
    Mask,
    ModelOptions,
    Reconstruction,
    create_model,
    load_classifier,
    orthogonal_masks,
    random_mask,
)
from splatlearn.models import load_model as load
from splatlearn.models import save_model as save
from splatlearn.models.exchange import import_model
from splatlearn.models.hub import push_to_hub
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
    "SplatCloud",
    "SplatFileError",
    "Splats",
    "available_backends",
    "bake_pinhole",
    "composite",
    "create_model",
    "import_model",
    "load",
    "load_classifier",
    "orthogonal_masks",
    "project",
    "push_to_hub",
    "random_mask",
    "read_splats",
    "refine",
    "render",
    "save",
    "write_splats",
    "zero_shot",
]
