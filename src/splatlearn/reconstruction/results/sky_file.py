"""The sky of a run: a picture of all directions beside its scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from splatlearn.core.disk.atomic import replacing
from splatlearn.core.errors import FormatError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.fitting.skies.sky import Sky
from splatlearn.images.decoding import decode
from splatlearn.rendering import as_primitive

SKY = "sky.png"
"""Equirectangular, about the y axis of the capture's own coordinates, −y above."""
DISTANCE = 50.0
"""Extents of the cameras from their middle to a sky of Gaussians."""
SHARE = 20
"""Gaussians of a scene for each one of its sky."""
FEWEST, MOST = 1_024, 8_192
"""Gaussians of a sky."""


def write_sky(run: Path, sky: Sky) -> Path:
    """Write the sky of a run, in bytes."""
    path = run / SKY
    pixels = (sky.picture.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with replacing(path) as beside:
        Image.fromarray(np.ascontiguousarray(pixels)).save(beside, "PNG")
    return path


def read_sky(run: Path) -> Sky | None:
    """Return the sky of a run, None where it has none. Raises FormatError for a picture that is none of a sky."""
    path = run / SKY
    if not path.is_file():
        return None
    pixels = torch.from_numpy(np.asarray(decode(str(path), path.name)).copy())
    if pixels.shape[1] != 2 * pixels.shape[0]:
        wide, high = pixels.shape[1], pixels.shape[0]
        raise FormatError(f"{path}: expected a picture twice as wide as high, got {wide} x {high} pixels")
    return Sky(pixels.permute(2, 0, 1).float() / 255)


def sky_gaussians(sky: Sky, scene: Gaussians, to_unit: Similarity) -> Gaussians:
    """Return the sky as far Gaussians in the coordinates of a capture.

    - `scene`: that it belongs to, whose number of Gaussians, degree of harmonics and primitive decide those of the sky.
    - `to_unit`: of the capture.
    """
    count = min(MOST, max(FEWEST, scene.count // SHARE))
    back = to_unit.inverse
    made = sky.gaussians(back.translation, DISTANCE * back.scale, count, scene.degree)
    return as_primitive(made, scene.primitive)
