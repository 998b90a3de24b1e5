"""The specification of compositing: dense PyTorch, any device, float32 and float64.

`composite_pixels` is the formula and nothing else, `pixel_gradients` its derivative; `forward` and `backward` apply
them to one chunk of pixels after the other, so that memory is bounded whatever the image and K.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.rendering.formula import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN

CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Largest B·K·pixels held at a time, by device; about fifteen tensors of it live at the peak of the backward. Small on
a CPU, whose caches hold such chunks."""


def status() -> str:
    """ "ok": this backend needs nothing but PyTorch."""
    return "ok"


def refusal(means2d: Tensor, channels: int) -> str | None:
    """Why the backend cannot take these inputs, or None."""
    return None


@dataclass(frozen=True)
class _Dense:
    """Everything the formula makes at P pixels, [B, K, P] each."""

    dx: Tensor
    dy: Tensor
    falloff: Tensor
    """exp(−power), 1 where the power is negative, by rounding or because the conic is not positive definite."""
    moves: Tensor
    """Whether the power was not negative, so that α depends on centre and conic."""
    raw: Tensor
    """opacity · falloff, before the clamp."""
    alpha: Tensor
    """After clamp, skip and stop."""
    before: Tensor
    """Transmittance in front of each splat."""


def _dense(
    means2d: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    pixels: Float[Tensor, "P 2"],
) -> _Dense:
    dx = pixels[:, 0] - means2d[..., 0:1]
    dy = pixels[:, 1] - means2d[..., 1:2]
    a, b, c = (conics[..., i : i + 1] for i in range(3))
    power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    falloff = torch.exp(-power.clamp_min(0.0))
    raw = opacities.unsqueeze(-1) * falloff
    alpha = raw.clamp_max(ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha, 0.0)
    ones = alpha.new_ones(alpha.shape[0], 1, alpha.shape[2])
    before = torch.cat([ones, torch.cumprod(1.0 - alpha, dim=1)], dim=1)[:, :-1]
    alpha = torch.where(before >= TRANSMITTANCE_MIN, alpha, 0.0)
    return _Dense(dx, dy, falloff, power >= 0, raw, alpha, before)


def composite_pixels(
    means2d: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    pixels: Float[Tensor, "P 2"],
) -> tuple[Float[Tensor, "B C P"], Float[Tensor, "B P"]]:
    """Colour and transmittance at P pixel centres (x, y), differentiable; see `formula` for the equations."""
    dense = _dense(means2d, conics, opacities, pixels)
    transmittance = (1.0 - dense.alpha).prod(dim=1)
    color = torch.einsum("bkp,bkc->bcp", dense.before * dense.alpha, colors)
    return color + transmittance.unsqueeze(1) * background.unsqueeze(-1), transmittance


def pixel_gradients(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    pixels: Float[Tensor, "P 2"],
    color_gradient: Float[Tensor, "B C P"],
    transmittance_gradient: Float[Tensor, "B P"],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the five inputs of `composite_pixels`, written out as every kernel computes them.

    ∂L/∂α_k = T_k (g·color_k) − 1/(1 − α_k) · [Σ_{j>k} T_j α_j (g·color_j) + T_end (g·background + g_T)]
    """
    means2d, conics, opacities, colors, background = inputs
    dense = _dense(means2d, conics, opacities, pixels)
    weights = dense.before * dense.alpha
    transmittance = (1.0 - dense.alpha).prod(dim=1)

    toward = torch.einsum("bcp,bkc->bkp", color_gradient, colors)
    contribution = weights * toward
    nearer_than = contribution.flip(1).cumsum(1).flip(1) - contribution
    last = transmittance * (torch.einsum("bcp,bc->bp", color_gradient, background) + transmittance_gradient)
    from_alpha = dense.before * toward - (nearer_than + last.unsqueeze(1)) / (1.0 - dense.alpha)
    from_alpha = torch.where((dense.alpha > 0) & (dense.raw <= ALPHA_MAX), from_alpha, 0.0)

    # ∂L/∂power; the centre, conic and opacity gradients are its moments.
    from_power = torch.where(dense.moves, -from_alpha * dense.raw, 0.0)
    x, y = from_power * dense.dx, from_power * dense.dy
    moment_x, moment_y = x.sum(-1), y.sum(-1)
    a, b, c = conics.unbind(-1)
    return (
        -torch.stack([a * moment_x + b * moment_y, b * moment_x + c * moment_y], dim=-1),
        torch.stack([0.5 * (x * dense.dx).sum(-1), (x * dense.dy).sum(-1), 0.5 * (y * dense.dy).sum(-1)], dim=-1),
        (from_alpha * dense.falloff).sum(-1),
        torch.einsum("bcp,bkp->bkc", color_gradient, weights),
        torch.einsum("bcp,bp->bc", color_gradient, transmittance),
    )


def forward(
    means2d: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width)."""
    splats = (means2d, conics, opacities, colors, background)
    parts = [composite_pixels(*splats, pixels) for _, pixels in _chunks(means2d, size)]
    color = torch.cat([part[0] for part in parts], dim=-1)
    transmittance = torch.cat([part[1] for part in parts], dim=-1)
    return color.unflatten(-1, size), transmittance.unflatten(-1, size)


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (means2d, conics, opacities, colors, background) from those of (color, transmittance)."""
    size = (int(outputs[1].shape[-2]), int(outputs[1].shape[-1]))
    color_gradient, transmittance_gradient = (gradients[0].flatten(-2), gradients[1].flatten(-2))
    totals = [torch.zeros_like(tensor) for tensor in inputs]
    for chunk, pixels in _chunks(inputs[0], size):
        parts = pixel_gradients(inputs, pixels, color_gradient[..., chunk], transmittance_gradient[..., chunk])
        totals = [total + part for total, part in zip(totals, parts, strict=True)]
    return totals[0], totals[1], totals[2], totals[3], totals[4]


def _chunks(means2d: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Iterator[tuple[slice, Float[Tensor, "P 2"]]]:
    """The pixel centres of an image in row order, a chunk at a time, with their places in the flattened image."""
    height, width = size
    rows = torch.arange(height, device=means2d.device, dtype=means2d.dtype) + 0.5
    columns = torch.arange(width, device=means2d.device, dtype=means2d.dtype) + 0.5
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2)
    elements = CHUNK_ELEMENTS.get(means2d.device.type, 2**22)
    step = max(64, elements // max(1, means2d.shape[0] * means2d.shape[1]))
    for start in range(0, pixels.shape[0], step):
        yield slice(start, start + step), pixels[start : start + step]
