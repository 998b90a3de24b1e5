"""Cameras as a transforms file, with other poses than the capture has, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from splatlearn.captures.capture import Capture
from splatlearn.captures.lenses import Lens
from splatlearn.captures.poses import inverted, rigid
from splatlearn.captures.transforms.document import matrix, read_document, text
from splatlearn.captures.transforms.reader import OPENGL, SPLITS
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import FormatError, Malformed

Poses = Mapping[str, Float64[np.ndarray, "4 4"]]
"""World-to-camera transforms by names of photographs."""
AS = {
    "SIMPLE_PINHOLE": ("PINHOLE", ()),
    "PINHOLE": ("PINHOLE", ()),
    "SIMPLE_RADIAL": ("OPENCV", ("k1",)),
    "RADIAL": ("OPENCV", ("k1", "k2")),
    "OPENCV": ("OPENCV", ("k1", "k2", "p1", "p2")),
    "FULL_OPENCV": ("FULL_OPENCV", ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "SIMPLE_RADIAL_FISHEYE": ("OPENCV_FISHEYE", ("k1",)),
    "RADIAL_FISHEYE": ("OPENCV_FISHEYE", ("k1", "k2")),
    "OPENCV_FISHEYE": ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")),
}
"""COLMAP's models as those of transforms files: the name there, and the names of the parameters after cx and cy."""
FOCALS = {"SIMPLE_PINHOLE": 1, "SIMPLE_RADIAL": 1, "RADIAL": 1, "SIMPLE_RADIAL_FISHEYE": 1, "RADIAL_FISHEYE": 1}
"""Models with one focal length."""


def write_transforms(path: Path, capture: Capture, poses: Poses) -> Path:
    """Write the cameras of a capture as a transforms file that `load_capture` reads, and return its path.

    - `poses`: world-to-camera transforms, in the capture's world, of the views that have others than the capture; by
      the views' names.

    Photographs are named as the capture names them: copy the file into the capture's folder, or read it with `images`
    naming that folder. A lens that transforms files cannot hold keeps its own name and parameters, and `load_capture`
    refuses it.
    """
    frames = []
    for view in capture.views:
        pose = inverted(poses.get(view.name, view.world_to_camera)) @ OPENGL
        frames.append({"file_path": view.name, **_lens(view.lens), "transform_matrix": pose.tolist()})
    listed = {f"{split}_filenames": [view.name for view in capture.views if view.split == split] for split in SPLITS}
    write_whole(path, json.dumps({**{name: each for name, each in listed.items() if each}, "frames": frames}, indent=1))
    return path


def read_poses(path: Path) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """Return the world-to-camera transforms of a file of `write_transforms`, by names of photographs.

    Raises FormatError for a file that is damaged.
    """
    found = {}
    for frame in read_document(path)["frames"]:
        try:
            if not isinstance(frame, Mapping) or (name := text(frame, "file_path")) is None:
                raise Malformed("file_path: expected the name of a photograph")
            found[name] = inverted(rigid(matrix(frame, "transform_matrix")) @ OPENGL)
        except Malformed as error:
            raise FormatError(f"{path}: {error}") from None
    return found


def _lens(lens: Lens) -> dict[str, Any]:
    size = {"w": lens.width, "h": lens.height}
    if lens.is_panorama:
        return {"camera_model": "EQUIRECTANGULAR", **size}
    if lens.model not in AS:
        return {"camera_model": lens.model, **size, "params": list(lens.params)}
    name, further = AS[lens.model]
    focals = FOCALS.get(lens.model, 2)
    values = dict(zip(further, lens.params[focals + 2 :], strict=True))
    cx, cy = lens.params[focals : focals + 2]
    fx, fy = lens.params[0], lens.params[focals - 1]
    return {"camera_model": name, **size, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, **values}
