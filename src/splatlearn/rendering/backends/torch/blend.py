"""The specification's third step: splats near to far over a background.

`blend_pixels` is the formula and nothing else, `pixel_gradients` its derivative; `forward` and `backward` apply them to
one chunk of pixels after the other, so that memory is bounded for any size of image and any K.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.torch.bin import tile_lists
from splatlearn.rendering.backends.torch.primitives.primitive import Alpha
from splatlearn.rendering.backends.torch.primitives.registry import formula
from splatlearn.rendering.formula import ALPHA_MAX, TRANSMITTANCE_MIN

CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Largest B·K·pixels held at a time, by device; about fifteen tensors of it live at the peak of the backward. Small on
a CPU, whose caches hold such chunks."""


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
    transmittance = (1.0 - alpha).prod(dim=1)
    weights = before * alpha
    # Not a matrix product: the order of its sums, and with it the last bit of a pixel, depends on the pixels beside it.
    channels = [*(each.unsqueeze(-1) for each in colors.unbind(-1)), *varying]
    color = torch.stack([_in_order(weights * each) for each in channels], dim=1)
    return color + transmittance.unsqueeze(1) * background.unsqueeze(-1), transmittance


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
    transmittance = (1.0 - alpha).prod(dim=1)

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
    splats = (means2d, packed, opacities, colors, background)
    lists = tile_lists(means2d, packed, opacities, reached(size, grid), primitive)
    parts = [
        blend_pixels(*splats, pixels, lists.at(pixels), primitive)
        for _, pixels in chunks_of_pixels(means2d, size, grid)
    ]
    color = torch.cat([part[0] for part in parts], dim=-1)
    transmittance = torch.cat([part[1] for part in parts], dim=-1)
    return color.unflatten(-1, size), transmittance.unflatten(-1, size)


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
    lists = tile_lists(*inputs[:3], reached(size, grid), primitive)
    for chunk, pixels in chunks_of_pixels(inputs[0], size, grid):
        seen = lists.at(pixels)
        upstream = color_gradient[..., chunk], transmittance_gradient[..., chunk]
        parts = pixel_gradients(inputs, pixels, *upstream, seen, primitive)
        totals = [total + part for total, part in zip(totals, parts, strict=True)]
    return totals[0], totals[1], totals[2], totals[3], totals[4]


def reached(size: tuple[int, int], grid: PixelGrid) -> tuple[int, int]:
    """The height and width up to the last pixels of a grid."""
    return grid.top + grid.stride * (size[0] - 1) + 1, grid.left + grid.stride * (size[1] - 1) + 1


def chunks_of_pixels(
    means2d: Float[Tensor, "B K 2"], size: tuple[int, int], grid: PixelGrid
) -> Iterator[tuple[slice, Float[Tensor, "P 2"]]]:
    """The pixel centres of an image in row order, a chunk at a time, with their places in the flattened image."""
    height, width = size
    like = {"device": means2d.device, "dtype": means2d.dtype}
    rows = torch.arange(height, **like) * grid.stride + (grid.top + 0.5)
    columns = torch.arange(width, **like) * grid.stride + (grid.left + 0.5)
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2)
    elements = CHUNK_ELEMENTS.get(means2d.device.type, 2**22)
    step = max(64, elements // max(1, means2d.shape[0] * means2d.shape[1]))
    for start in range(0, pixels.shape[0], step):
        yield slice(start, start + step), pixels[start : start + step]
