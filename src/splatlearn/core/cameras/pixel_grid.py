"""Which pixels of a picture are rendered: all of them, or every s-th in each direction.

Letters in shapes: H, W pixels of the whole picture, h, w of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole

Picture = TypeVar("Picture", Tensor, np.ndarray)


@dataclass(frozen=True)
class PixelGrid:
    """Every `stride`-th pixel of a picture in each direction, from column `left` and row `top` on.

    The stride² grids of a picture, one for each offset, tile it. A pixel of a grid has the centre and the
    colour that it has in the whole picture: a Gaussian keeps its footprint and its filter (dilated rendering, Turbo-GS,
    arXiv 2412.13547). A smaller picture of the same view is something else: its pixels integrate more.

    Raises InputError for a stride below 1, and for offsets that are not in [0, stride).
    """

    stride: int = 1
    left: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        check_whole("stride", self.stride, 1)
        check_whole("left", self.left, 0, self.stride - 1)
        check_whole("top", self.top, 0, self.stride - 1)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return h and w of the grid of a picture; raises InputError for a picture without a pixel on the grid."""
        size = -(-(height - self.top) // self.stride), -(-(width - self.left) // self.stride)
        if min(size) < 1:
            raise InputError(
                f"grid: expected a picture with pixels from column {self.left} and row {self.top} on, got one of "
                f"{height} × {width} pixels; take a smaller stride"
            )
        return size

    def of(self, picture: Picture) -> Picture:
        """Return the pixels [*, h, w] of a picture [*, H, W]; nothing is copied."""
        return picture[..., self.top :: self.stride, self.left :: self.stride]

    def intrinsics(self, fx: float, fy: float, cx: float, cy: float) -> tuple[float, float, float, float]:
        """Return the intrinsics in pixels of the grid."""
        s = self.stride
        return fx / s, fy / s, (cx - self.left - 0.5) / s + 0.5, (cy - self.top - 0.5) / s + 0.5

    def splats(self, means2d: Tensor, conics: Tensor) -> tuple[Tensor, Tensor]:
        """Return means2d [*, 2] and conics [*, 3] in pixels of the grid, with gradients."""
        offset = means2d.new_tensor((self.left + 0.5, self.top + 0.5))
        return (means2d - offset) / self.stride + 0.5, conics * self.stride**2


WHOLE_PICTURE = PixelGrid()
"""All pixels."""
