"""Cameras, and the camera models that they are made of."""

from splatlearn.core.cameras.camera import GMAE_DISTANCE, Camera
from splatlearn.core.cameras.fisheye import Fisheye
from splatlearn.core.cameras.models import CameraModel, Lens, camera_model, camera_models, register_camera_model
from splatlearn.core.cameras.panorama import Panorama, solid_angles, tangent_frames
from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid

__all__ = [
    "GMAE_DISTANCE",
    "WHOLE_PICTURE",
    "Camera",
    "CameraModel",
    "Fisheye",
    "Lens",
    "Panorama",
    "PixelGrid",
    "camera_model",
    "camera_models",
    "register_camera_model",
    "solid_angles",
    "tangent_frames",
]
