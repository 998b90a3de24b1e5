"""What `splatlearn export` makes of a photograph, and how a viewer shows it."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.data import resize_center_crop
from splatlearn.images import decode
from splatlearn.models import GMAE
from splatlearn.rendering.compositing import Background


def central_box(model: GMAE, image: Path) -> Tensor:
    """Return the largest central box of a photograph that has a model's aspect, [1, 3, H, W] in [0, 1]."""
    pixels = resize_center_crop(decode(image, str(image)), *model.config.encoder.image_size)
    return torch.from_numpy(pixels).float().unsqueeze(0) / 255


def instructions(camera: Camera, background: Background, eps2d: float) -> str:
    """Return a sentence on how a viewer must stand to show the picture of a splat file."""
    angle = math.degrees(2 * math.atan(camera.height / 2 / camera.fy))
    distance = float(camera.viewmats[2, 3])
    if isinstance(background, torch.Tensor):
        background = [round(float(value), 3) for value in background.reshape(-1)]
    size = "many times larger than" if eps2d else "of the same size as"
    return (
        f"With x right, y down and z away, a viewer at (0, 0, {-distance:g}) that looks along z, with a vertical field "
        f"of view of {angle:.1f}° and the background {background}, shows the model's picture in a window {size} its "
        f"{camera.width} × {camera.height} px"
    )
