"""Cameras, and the camera models that they are made of."""

from splatlearn.core.cameras.camera import GMAE_DISTANCE, Camera

__all__ = ["GMAE_DISTANCE", "Camera"]
