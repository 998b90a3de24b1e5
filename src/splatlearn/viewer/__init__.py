"""A page in which a person walks around the Gaussians of images."""

from splatlearn.viewer.contents import ViewedImage, viewed_images
from splatlearn.viewer.page import write_view

__all__ = ["ViewedImage", "viewed_images", "write_view"]
