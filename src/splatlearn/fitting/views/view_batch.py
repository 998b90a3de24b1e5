"""Views that a step renders together, with their photographs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from splatlearn.core.cameras import WHOLE_PICTURE, Camera, PixelGrid
from splatlearn.core.errors import InputError
from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.rendering.compositing import Background


@dataclass(frozen=True, eq=False)
class ViewBatch:
    """V views of one size with their pictures.

    - `cameras` [V]: of one size.
    - `targets` [V, 3 or 4, H, W]: uint8, or floating-point in [0, 1], in any memory layout. RGBA is composed over the
      background.
    - `masks` [V, H, W]: weights of pixels, or bool; pixels of weight 0 and False are ignored.
    - `background`: "white", "black", 3 numbers, or a tensor [3] or [V, 3].
    - `depth`: known depths of the views, for terms that compare them.
    - `views` [V]: the rows of the photographs in the view models of a fit; needed if there are any.
    - `grid`: the pixels that are rendered and compared. SSIM then has windows of 11 × 11 pixels of the grid, which are
      wider in the picture by its stride. A fit with terms or view models takes whole pictures alone.

    Raises InputError for cameras that are no batch [V] of at least one view.
    """

    cameras: Camera
    targets: Shaped[Tensor, "V C H W"]
    masks: Shaped[Tensor, "V H W"] | None = None
    background: Background = "black"
    depth: DepthTargets | None = None
    views: Int64[Tensor, " V"] | None = None
    grid: PixelGrid = WHOLE_PICTURE

    def __post_init__(self) -> None:
        shape = self.cameras.batch_shape
        if len(shape) != 1 or not shape[0]:
            raise InputError(f"cameras: expected a batch [V] of at least one view, got {list(shape)}")

    @property
    def count(self) -> int:
        """V, the number of views."""
        return self.cameras.batch_shape[0]

    def compared(self) -> tuple[Shaped[Tensor, "V C h w"], Float[Tensor, "V h w"] | None]:
        """Return the targets and the weights of pixels on the grid."""
        masks = self.masks
        if masks is not None and masks.dtype == torch.bool:
            masks = masks.float()
        return self.grid.of(self.targets), None if masks is None else self.grid.of(masks)
