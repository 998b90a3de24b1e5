"""The sizes of a GMAE and its choices about Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import get_args

from splatlearn.core.cameras import GMAE_DISTANCE, Camera
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number
from splatlearn.core.typed import shown
from splatlearn.models.nn.decoder import DecoderConfig
from splatlearn.models.nn.encoder import ViTConfig
from splatlearn.models.options import Background, Color, Depth, Heads, Layout, NamedBackground, Rotation

PINHOLE_DISTANCE = 4.0
"""World units between the pinhole camera and the middle of the Gaussians: near ones move 5/3 as fast as far ones."""


@dataclass(frozen=True)
class GMAEConfig:
    """Sizes of a GMAE and its choices about Gaussians.

    - `gaussians`: K, for an image; `gaussians_per_query`: how many one token of the decoder emits (1 in the paper).
    - `scale_limit`: the paper's c, the largest standard deviation in world units; an image is 2 wide.
    - `rotation`: `"quaternion"` normalises 4 numbers; `"uniform"` maps 3 numbers in (0, 1) by Shoemake's formula, as
      the authors' code does, and ignores the fourth.
    - `background`: `"white"`, `"black"` or an RGB colour in [0, 1]; `"mean"`: of each image's visible patches;
      `"learned"`: one colour for all images, which starts grey.
    - `color`: `"bounded"`: a sigmoid; `"linear"`: the number plus a half, whatever it is; `"residual"`: a sigmoid that
      starts from the colours of the visible patches around the Gaussian's place in the grid (of all of them without a
      grid), so that the decoder says what is not there to see.
    - `opacity`: where opacities start, in (0, 1).
    - `heads`: `"joint"`: one linear layer predicts all numbers; `"separate"`: centre, scale, rotation, colour and
      opacity have an MLP each.
    - `layout`: `"grid"` adds learnable numbers to the head's, which start as a grid of Gaussians that covers the image;
      `"free"` has no such numbers, so that all Gaussians start near the centre, as in the paper.
    - `initial_scale`: standard deviation of the Gaussians of that grid, in spacings, up to nine tenths of the limit of
      scales; without a grid they start at half of it.
    - `depth`: what a Gaussian's depth does. `"paper"`: it sorts and shrinks, and only the shrinking has a gradient;
      `"soft-order"`: the same, and training adds a rendering whose order is soft (`objectives.SoftOrder`), so that
      occlusion has a gradient too; `"pinhole"`: it also moves centres, as in a pinhole camera 4 units away;
      `"orthographic"`: it sorts, nothing else. In the last two an extent is divided by 8, so that `scale_limit` bounds
      the same extent in pixels at the middle depth as in the paper's camera.

    Raises InputError for numbers that are not positive or do not divide, and unknown names.
    """

    encoder: ViTConfig = field(default_factory=ViTConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    gaussians: int = 256
    gaussians_per_query: int = 1
    scale_limit: float = 1.0
    rotation: Rotation = "quaternion"
    background: Background = "white"
    layout: Layout = "grid"
    depth: Depth = "paper"
    color: Color = "bounded"
    opacity: float = 0.5
    heads: Heads = "joint"
    initial_scale: float = 0.5

    def __post_init__(self) -> None:
        if self.encoder.channels != 3:
            raise InputError(f"channels: expected 3, the colours of a Gaussian, got {self.encoder.channels}")
        if self.gaussians < 1 or self.gaussians_per_query < 1 or self.gaussians % self.gaussians_per_query:
            raise InputError(
                "gaussians: expected a positive multiple of gaussians_per_query, "
                f"got {self.gaussians} with {self.gaussians_per_query} per query"
            )
        for name in ("scale_limit", "initial_scale", "opacity"):
            if not isinstance(getattr(self, name), int | float):
                check_number(name, getattr(self, name))
        if not (self.scale_limit > 0 and math.isfinite(self.scale_limit)):
            raise InputError(f"scale_limit: expected a positive number, got {self.scale_limit}")
        if not (self.initial_scale > 0 and math.isfinite(self.initial_scale)):
            raise InputError(f"initial_scale: expected a positive number, got {self.initial_scale}")
        if not 0.0 < self.opacity < 1.0:
            raise InputError(f"opacity: expected a number in (0, 1), got {self.opacity}")
        choices = {"rotation": Rotation, "layout": Layout, "depth": Depth, "color": Color, "heads": Heads}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in get_args(known):
                raise InputError(f"{name}: expected one of {', '.join(get_args(known))}, got {shown(value)}")
        self._check_background()

    def _check_background(self) -> None:
        color = self.background
        if isinstance(color, str):
            fits = color in get_args(NamedBackground)
        else:
            fits = isinstance(color, tuple | list) and len(color) == 3 and all(0.0 <= each <= 1.0 for each in color)
        if not fits:
            names = ", ".join(get_args(NamedBackground))
            raise InputError(f"background: expected one of {names}, or 3 numbers in [0, 1], got {shown(color)}")

    @property
    def reach(self) -> float:
        """Bound of the centres' x and y; beyond 1 only where the far plane is wider than the image."""
        return (PINHOLE_DISTANCE + 1.0) / PINHOLE_DISTANCE if self.depth == "pinhole" else 1.0

    @property
    def largest_scale(self) -> float:
        """Bound of the standard deviations, world units."""
        return self.scale_limit / (1.0 if self.depth in ("paper", "soft-order") else GMAE_DISTANCE)

    def camera(self, height: int, width: int) -> Camera:
        """The camera that renders images of this height and width in pixels."""
        if self.depth == "pinhole":
            return Camera.pinhole_window(height, width, PINHOLE_DISTANCE)
        return Camera.orthographic(height, width) if self.depth == "orthographic" else Camera.gmae(height, width)

    @property
    def num_queries(self) -> int:
        """Q = K / gaussians_per_query, the decoder's tokens that emit Gaussians."""
        return self.gaussians // self.gaussians_per_query
