"""Cameras for photographs that have none: structure from motion by pycolmap, in a process of its own."""

from splatlearn.captures.sfm.films import frames_of_film, is_film
from splatlearn.captures.sfm.reconstruct import Motion, check_pycolmap, find_cameras

__all__ = ["Motion", "check_pycolmap", "find_cameras", "frames_of_film", "is_film"]
