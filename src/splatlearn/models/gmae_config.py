"""The sizes of a GMAE and its choices about Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from splatlearn.models.decoder import DecoderConfig
from splatlearn.models.vit import ViTConfig

Rotation = Literal["quaternion", "uniform"]
Layout = Literal["grid", "free"]
Background = Literal["white", "black"] | tuple[float, float, float]


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
        named = self.background in ("white", "black")
        if not named and (isinstance(self.background, str) or len(self.background) != 3):
            raise ValueError(f"background: expected 'white', 'black' or 3 numbers, got {self.background!r}")

    @property
    def queries(self) -> int:
        """Q = K / gaussians_per_query, the decoder's tokens that emit Gaussians."""
        return self.gaussians // self.gaussians_per_query
