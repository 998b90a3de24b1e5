"""The sizes of a GMAE and its choices about Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Never, get_args

from splatlearn.core.cameras import GMAE_DISTANCE, Camera
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number
from splatlearn.core.typed import shown
from splatlearn.models.masked_autoencoder import MaskedConfig
from splatlearn.models.options import Color, Depth, GaussianOptions, Heads, Layout, NamedBackground, Rotation

PINHOLE_DISTANCE = 4.0
"""World units between the pinhole camera and the middle of the Gaussians: near ones move 5/3 as fast as far ones."""


@dataclass(frozen=True)
class GMAEConfig(GaussianOptions[Never], MaskedConfig):
    """Sizes of a GMAE and its choices about Gaussians, which `GaussianOptions` describes.

    Raises InputError for numbers that are not positive or do not divide, and unknown names.
    """

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
