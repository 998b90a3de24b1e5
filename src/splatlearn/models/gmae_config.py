"""The sizes of a GMAE and its choices about Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from splatlearn.camera import GMAE_DISTANCE, Camera
from splatlearn.models.decoder import DecoderConfig
from splatlearn.models.vit import ViTConfig

Rotation = Literal["quaternion", "uniform"]
Layout = Literal["grid", "free"]
Depth = Literal["paper", "soft-order", "pinhole", "orthographic"]
Background = Literal["white", "black"] | tuple[float, float, float]

PINHOLE_DISTANCE = 4.0
"""World units between the pinhole camera and the middle of the Gaussians: near ones move 5/3 as fast as far ones."""


@dataclass(frozen=True)
class GMAEConfig:
    """Sizes of a GMAE and its choices about Gaussians.

    - `gaussians`: K, for an image; `gaussians_per_query`: how many one token of the decoder emits (1 in the paper).
    - `scale_limit`: the paper's c, the largest standard deviation in world units; an image is 2 wide.
    - `rotation`: `"quaternion"` normalises 4 numbers; `"uniform"` maps 3 numbers in (0, 1) by Shoemake's formula, as
      the authors' code does, and ignores the fourth.
    - `background`: `"white"`, `"black"` or an RGB colour in [0, 1].
    - `layout`: `"grid"` adds learnable numbers to the head's, which start as a grid of Gaussians that covers the image;
      `"free"` has no such numbers, so that all Gaussians start near the centre, as in the paper.
    - `depth`: what a Gaussian's depth does. `"paper"`: it sorts and shrinks, and only the shrinking has a gradient;
      `"soft-order"`: the same, and training adds a rendering whose order is soft (`objectives.SoftOrder`), so that
      occlusion has a gradient too; `"pinhole"`: it also moves centres, as in a pinhole camera 4 units away;
      `"orthographic"`: it sorts, nothing else. In the last two an extent is divided by 8, so that `scale_limit` bounds
      the same extent in pixels at the middle depth as in the paper's camera.

    Raises ValueError for numbers that are not positive or do not divide, and unknown names.
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

    def __post_init__(self) -> None:
        if self.encoder.channels != 3:
            raise ValueError(f"channels: expected 3, the colours of a Gaussian, got {self.encoder.channels}")
        if self.gaussians < 1 or self.gaussians_per_query < 1 or self.gaussians % self.gaussians_per_query:
            raise ValueError(
                "gaussians: expected a positive multiple of gaussians_per_query, "
                f"got {self.gaussians} with {self.gaussians_per_query} per query"
            )
        if not (self.scale_limit > 0 and math.isfinite(self.scale_limit)):
            raise ValueError(f"scale_limit: expected a positive number, got {self.scale_limit}")
        if self.rotation not in get_args(Rotation):
            raise ValueError(f"rotation: expected one of {', '.join(get_args(Rotation))}, got {self.rotation!r}")
        if self.layout not in get_args(Layout):
            raise ValueError(f"layout: expected one of {', '.join(get_args(Layout))}, got {self.layout!r}")
        if self.depth not in get_args(Depth):
            raise ValueError(f"depth: expected one of {', '.join(get_args(Depth))}, got {self.depth!r}")
        named = self.background in ("white", "black")
        if not named and (isinstance(self.background, str) or len(self.background) != 3):
            raise ValueError(f"background: expected 'white', 'black' or 3 numbers, got {self.background!r}")

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
    def queries(self) -> int:
        """Q = K / gaussians_per_query, the decoder's tokens that emit Gaussians."""
        return self.gaussians // self.gaussians_per_query
