"""The specification's third step: splats near to far over a background.

`blend_pixels` is the formula and nothing else, `pixel_gradients` its derivative; `forward` and `backward` apply them to
one piece of the picture after the other (`pieces`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.torch.pieces import joined, pieces
from splatlearn.rendering.backends.torch.primitives.primitive import Alpha
from splatlearn.rendering.backends.torch.primitives.registry import formula
from splatlearn.rendering.formula import ALPHA_MAX, TRANSMITTANCE_MIN


def _composited(at: Alpha, seen: Bool[Tensor, "B K P"] | None) -> tuple[Float[Tensor, "B K P"], Float[Tensor, "B K P"]]:
    """α of the splats that are composited, 0 for others, and the transmittance in front of each."""
    alpha = at.alpha if seen is None else torch.where(seen, at.alpha, 0.0)
    ones = alpha.new_ones(alpha.shape[0], 1, alpha.shape[2])
    before = torch.cat([ones, torch.cumprod(1.0 - alpha, dim=1)], dim=1)[:, :-1]
    return torch.where(before >= TRANSMITTANCE_MIN, alpha, 0.0), before


def blend_pixels(
    means2d: Float[Tensor, "B K 2"],
    packed: Float[Tensor, "B K N"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    pixels: Float[Tensor, "P 2"],
    seen: Bool[Tensor, "B K P"] | None = None,
    primitive: str = GAUSSIAN,
) -> tuple[Float[Tensor, "B C P"], Float[Tensor, "B P"]]:
    """Colour and transmittance at P pixel centres (x, y), differentiable; see `formula` for the equations.

    - `packed`: conics, and further parameters of the primitive, which is named by its formula.
    - `seen`: which splats are in the list of a pixel's tile; all by default.
    """
    return composite_alpha(formula(primitive).alpha_at(means2d, packed, opacities, pixels), colors, background, seen)


def composite_alpha(
    at: Alpha,
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B D"],
    seen: Bool[Tensor, "B K P"] | None,
    varying: Sequence[Float[Tensor, "B K P"]] = (),
) -> tuple[Float[Tensor, "B D P"], Float[Tensor, "B P"]]:
    """Colour and transmittance of pixels from the α of their splats, near to far, of which only `seen` ones count.

    `varying`: further channels, in which a splat differs from pixel to pixel; the background has them, too.
    """
    alpha, before = _composited(at, seen)
    transmittance = _left(alpha)
    weights = before * alpha
    # Not a matrix product: the order of its sums, and with it the last bit of a pixel, depends on the pixels beside it.
    channels = [*(each.unsqueeze(-1) for each in colors.unbind(-1)), *varying]
    color = torch.stack([_in_order(weights * each) for each in channels], dim=1)
    return color + transmittance.unsqueeze(1) * background.unsqueeze(-1), transmittance


def _left(alpha: Float[Tensor, "B K P"]) -> Float[Tensor, "B P"]:
    """The transmittance behind all splats, as a product in the order of K, which one without α does not change."""
    passed = 1.0 - alpha
    return passed.cumprod(dim=1)[:, -1] if alpha.shape[1] else passed.prod(dim=1)


def _in_order(values: Float[Tensor, "B K P"]) -> Float[Tensor, "B P"]:
    """The sum over K in the order of K, which no neighbour in P changes."""
    return values.cumsum(dim=1)[:, -1] if values.shape[1] else values.sum(dim=1)


def pixel_gradients(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    pixels: Float[Tensor, "P 2"],
    color_gradient: Float[Tensor, "B C P"],
    transmittance_gradient: Float[Tensor, "B P"],
    seen: Bool[Tensor, "B K P"] | None = None,
    primitive: str = GAUSSIAN,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the five inputs of `blend_pixels`, written out as every kernel computes them.

    ∂L/∂α_k = T_k (g·color_k) − 1/(1 − α_k) · [Σ_{j>k} T_j α_j (g·color_j) + T_end (g·background + g_T)]
    """
    means2d, packed, opacities, colors, background = inputs
    drawn = formula(primitive)
    at = drawn.alpha_at(means2d, packed, opacities, pixels)
    alpha, before = _composited(at, seen)
    weights = before * alpha
    transmittance = _left(alpha)

    toward = torch.einsum("bcp,bkc->bkp", color_gradient, colors)
    contribution = weights * toward
    nearer_than = contribution.flip(1).cumsum(1).flip(1) - contribution
    last = transmittance * (torch.einsum("bcp,bc->bp", color_gradient, background) + transmittance_gradient)
    from_alpha = before * toward - (nearer_than + last.unsqueeze(1)) / (1.0 - alpha)
    from_alpha = torch.where((alpha > 0) & (at.raw <= ALPHA_MAX), from_alpha, 0.0)
    return (
        *drawn.alpha_gradients(packed, at, from_alpha),
        torch.einsum("bcp,bkp->bkc", color_gradient, weights),
        torch.einsum("bcp,bp->bc", color_gradient, transmittance),
    )


def forward(
    means2d: Float[Tensor, "B K 2"],
    packed: Float[Tensor, "B K P"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
    grid: PixelGrid = WHOLE_PICTURE,
    primitive: str = GAUSSIAN,
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width), whose pixels are those of a grid."""
    parts, places = [], []
    for piece in pieces(means2d, packed, opacities, size, grid, primitive):
        splats = piece.of(means2d), piece.of(packed), piece.of(opacities), piece.of(colors), background
        parts.append(blend_pixels(*splats, piece.pixels, piece.seen, primitive))
        places.append(piece.places)
    color, transmittance = (joined([*each], places, size) for each in zip(*parts, strict=True))
    return color, transmittance


@torch.no_grad()
def median_depths(
    at: Alpha, depths: Float[Tensor, "B K P"], seen: Bool[Tensor, "B K P"] | None
) -> Float[Tensor, "B P"]:
    """Depths of the splats in which the transmittance of pixels falls below a half; 0 where it does not."""
    alpha, before = _composited(at, seen)
    passes = (before >= 0.5) & (before * (1.0 - alpha) < 0.5)
    return torch.where(passes, depths, 0.0).sum(dim=1)


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    grid: PixelGrid = WHOLE_PICTURE,
    primitive: str = GAUSSIAN,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (means2d, packed, opacities, colors, background) from those of (color, transmittance)."""
    size = (int(outputs[1].shape[-2]), int(outputs[1].shape[-1]))
    color_gradient, transmittance_gradient = (gradients[0].flatten(-2), gradients[1].flatten(-2))
    totals = [torch.zeros_like(tensor) for tensor in inputs]
    for piece in pieces(*inputs[:3], size, grid, primitive):
        upstream = color_gradient[..., piece.places], transmittance_gradient[..., piece.places]
        here = piece.of(inputs[0]), piece.of(inputs[1]), piece.of(inputs[2]), piece.of(inputs[3]), inputs[4]
        *of_splats, behind = pixel_gradients(here, piece.pixels, *upstream, piece.seen, primitive)
        totals = [*map(piece.added, totals[:4], of_splats), totals[4] + behind]
    return totals[0], totals[1], totals[2], totals[3], totals[4]
