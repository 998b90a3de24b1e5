"""What a splat file holds: Gaussians, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.core.gaussians import Gaussians
from splatlearn.files.choices import StoredFormat
from splatlearn.files.offset import NO_OFFSET, Offset


@dataclass(frozen=True, eq=False)
class SplatFile:
    """A splat file that was read.

    - `gaussians` [K]: with `sh`, activated (files hold logarithms of scales and, in PLY, logits of opacities), in the
      frame that was asked for.
    - `format`: the format of the content, whatever the file is called.
    - `frame`: where x, y and z point in the file, by letters of right, left, up, down, front, back.
    - `antialiased`: whether the file says that it was fitted with opacities that make up for the blur of small splats
      (Mip-Splatting, Yu et al. 2024); `filter` is what `render` takes for it.
    - `writer`: the program that wrote the file, as it names itself; None where it does not.
    - `dropped`: the number of Gaussians of the file that could not be used and were left out.
    - `offset`: what positions are relative to, in the world of the photographs and in the frame that was asked for:
      zeros but for files of scenes far from their origin, where float32 would be too coarse (see `write_splats`).
    """

    gaussians: Gaussians
    format: StoredFormat
    frame: str
    antialiased: bool = False
    writer: str | None = None
    dropped: int = 0
    offset: Offset = NO_OFFSET

    @property
    def filter(self) -> str:
        """The filter that the Gaussians were fitted with, for `render`: "mip" if `antialiased`, else "point"."""
        return "mip" if self.antialiased else "point"

    @property
    def count(self) -> int:
        """K, the number of Gaussians that were read."""
        return self.gaussians.count

    @property
    def degree(self) -> int:
        """The degree of the harmonics, 0 for colours that do not depend on the view."""
        return self.gaussians.degree
