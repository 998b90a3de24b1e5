"""Pages in which a person walks around the Gaussians of images and of scenes."""

from splatlearn.viewer.contents import ViewedImage, viewed_images
from splatlearn.viewer.model_sets import masked_sets
from splatlearn.viewer.page import write_view
from splatlearn.viewer.panorama_page import ViewedPanorama, write_panorama_view
from splatlearn.viewer.scene_contents import ScenePhotograph, Snapshot, ViewedScene
from splatlearn.viewer.scene_page import write_scene_view
from splatlearn.viewer.sets_page import ViewedSets, write_sets_view

__all__ = [
    "ScenePhotograph",
    "Snapshot",
    "ViewedImage",
    "ViewedPanorama",
    "ViewedScene",
    "ViewedSets",
    "masked_sets",
    "viewed_images",
    "write_panorama_view",
    "write_scene_view",
    "write_sets_view",
    "write_view",
]
