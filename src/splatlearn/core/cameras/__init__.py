"""Cameras, and the camera models that they are made of."""

from splatlearn.core.cameras.camera import GMAE_DISTANCE, Camera
from splatlearn.core.cameras.models import CameraModel, Lens, camera_model, camera_models, register_camera_model

__all__ = [
    "GMAE_DISTANCE",
    "Camera",
    "CameraModel",
    "Lens",
    "camera_model",
    "camera_models",
    "register_camera_model",
]
