"""The specification of pictures with depths: blending as everywhere, and depths where rays meet the primitives.

Derivatives are autograd's; medians have none.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.rendering.backends.torch.blend import composite_alpha, median_depths
from splatlearn.rendering.backends.torch.pieces import joined, pieces
from splatlearn.rendering.backends.torch.primitives.registry import formula
from splatlearn.rendering.splats import Splats


def blend(
    splats: Splats, background: Float[Tensor, "B C"], kind: str, size: tuple[int, int], grid: PixelGrid = WHOLE_PICTURE
) -> tuple[Float[Tensor, "B D H W"], Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """Return colours, transmittances, and median depths, 0 unless `kind` is "median".

    - `background`: of the colours of the splats. The background of depths is 0.
    - `kind`: "mean" and "median" add the sum of depths by weight as a last channel, "moments" those of inverse depths
      and of their squares.
    """
    primitive = formula(splats.primitive)
    channels = 2 if kind == "moments" else 1
    behind = torch.cat([background, background.new_zeros(len(background), channels)], dim=-1)
    parts, places = [], []
    for piece in pieces(splats.means2d, splats.packed, splats.opacities, size, grid, splats.primitive):
        here = [piece.of(each) for each in (splats.means2d, splats.packed, splats.opacities)]
        at, seen = primitive.alpha_at(here[0], here[1], here[2], piece.pixels), piece.seen
        depths = primitive.depths_at(at, piece.of(splats.depths))
        if kind == "moments":
            # Splats that are culled have depths of any sign, and no weight.
            inverse = 1.0 / torch.where(at.alpha > 0, depths, 1.0)
            varying = [inverse, inverse.square()]
        else:
            varying = [depths]
        color, transmittance = composite_alpha(at, piece.of(splats.colors), behind, seen, varying)
        median = median_depths(at, depths, seen) if kind == "median" else torch.zeros_like(transmittance)
        parts.append((color, transmittance, median))
        places.append(piece.places)
    color, transmittance, median = (joined([*each], places, size) for each in zip(*parts, strict=True))
    return color, transmittance, median
