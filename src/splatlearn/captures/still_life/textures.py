"""Textures of a still life: photographs that scikit-image carries, cut and tinted."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from splatlearn.images.decoding import decode
from splatlearn.images.installed import installed_file

Color = tuple[float, float, float]
GAMMA = 2.2
"""Exponent that turns stored values of a picture into light."""
FRAME = 0.09
"""Width of the painted frame around a picture on a toy block, in sides of the block."""


def to_light(values: Tensor) -> Tensor:
    """Return the light of stored values in [0, 1]."""
    return values.clamp(0, 1) ** GAMMA


def to_stored(light: Tensor) -> Tensor:
    """Return the values in [0, 1] under which light is stored."""
    return light.clamp(0, 1) ** (1 / GAMMA)


def painted(color: Color) -> Float[Tensor, "3 8 8"]:
    """A texture of one colour, given as it would be stored."""
    return to_light(torch.tensor(color)).view(3, 1, 1).expand(3, 8, 8).contiguous()


def photograph(name: str, side: int) -> Float[Tensor, "3 S S"]:
    """The middle square of a photograph, `side` pixels wide."""
    return to_light(_values(name, side))


def ground(name: str, side: int, tint: Color, contrast: float = 1.0) -> Float[Tensor, "3 S S"]:
    """A grey photograph of a material, coloured with `tint` where it is of mean brightness."""
    grey = _values(name, side).mean(dim=0, keepdim=True)
    grey = (1 + contrast * (grey / grey.mean() - 1)).clamp_min(0.05)
    return to_light(grey * torch.tensor(tint).view(3, 1, 1))


def framed(picture: Float[Tensor, "3 S S"], color: Color) -> Float[Tensor, "3 S S"]:
    """A picture with a painted frame around it."""
    side = picture.shape[1]
    width = round(FRAME * side)
    made = to_light(torch.tensor(color)).view(3, 1, 1).repeat(1, side, side)
    inner = torch.nn.functional.interpolate(picture[None], (side - 2 * width,) * 2, mode="area")[0]
    made[:, width : side - width, width : side - width] = inner
    return made


def mirrored(texture: Float[Tensor, "3 H W"], columns: int = 1, rows: int = 1) -> Float[Tensor, "3 h w"]:
    """A texture beside its mirror image, `columns` and `rows` times, so that it has no seam around a body."""
    both = torch.cat([texture, texture.flip(2)], dim=2)
    return both.repeat(1, rows, columns)


def garden(side: int) -> Float[Tensor, "3 S S"]:
    """The top of the plinth: a terrace of bricks with a border of gravel, and grass around it."""
    rows, columns = torch.meshgrid(*[(torch.arange(side) + 0.5) / side * 2 - 1] * 2, indexing="ij")
    away = torch.hypot(columns, rows)
    turn = torch.atan2(rows, columns)
    wavy = away + 0.012 * torch.sin(7 * turn + 1) + 0.008 * torch.sin(17 * turn)
    grass = ground("grass", side, (0.37, 0.50, 0.24), 0.7)
    gravel = ground("gravel", side, (0.70, 0.66, 0.60), 0.8)
    bricks = ground("brick", side, (0.68, 0.46, 0.36), 1.0)
    edge = 2.0 / side
    is_lawn = ((wavy - 0.72) / edge + 0.5).clamp(0, 1)
    is_path = ((away - 0.58) / edge + 0.5).clamp(0, 1)
    inner = bricks + (gravel - bricks) * is_path
    return inner + (grass - inner) * is_lawn


def moon(side: int) -> Float[Tensor, "3 S W"]:
    """The photograph of the moon's surface, to be wrapped around a ball."""
    return mirrored(ground("moon", side, (0.64, 0.63, 0.61), 1.5))


def _values(name: str, side: int) -> Float[Tensor, "3 S S"]:
    """Return the middle square of one of scikit-image's pictures; names without a suffix are those of PNG files."""
    file = name if "." in name else f"{name}.png"
    image = decode(installed_file(f"skimage/data/{file}"), name)
    least = min(image.size)
    left, top = (image.width - least) // 2, (image.height - least) // 2
    square = image.crop((left, top, left + least, top + least))
    small = square.resize((side, side), Image.Resampling.BOX if side < least else Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
