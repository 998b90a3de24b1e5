"""Compositing with a soft depth order, which gives depth a gradient through occlusion."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.rendering.backends.torch.primitives.registry import formula
from splatlearn.rendering.compositing import Background, background_colors
from splatlearn.rendering.splats import Splats


def composite_softly(
    splats: Splats,
    pixels: Float[Tensor, "P 2"],
    softness: float,
    background: Background = "white",
) -> Float[Tensor, "B P C"]:
    """The colours of some pixels, with weights that depend smoothly on differences of depth.

    - `splats`: in any order.
    - `pixels`: x and y, in pixels; the first pixel's centre is (0.5, 0.5).
    - `softness`: the difference of depth, in world units, at which a splat is in front with probability 0.73.

    Splat j hides splat i with s_ij = sigmoid((z_i − z_j) / softness), so that T_i = Π_j (1 − α_j)^s_ij, and the
    weights α_i T_i and the background's Π_j (1 − α_j) are divided by their sum. As the softness goes to 0 this is
    what `composite` computes, without its cut at low transmittance; it costs K² · P products for an image. Raises
    ValueError for a softness that is not positive.
    """
    if not softness > 0:
        raise InputError(f"softness: expected a positive number, got {softness}")
    # Powers of numbers near 0 and a softmax over them: half precision would round them all to the same.
    with torch.autocast(splats.means2d.device.type, enabled=False):
        drawn, at = formula(splats.primitive), pixels.to(splats.means2d)
        alpha = drawn.alpha_at(splats.means2d, splats.packed, splats.opacities, at).alpha
        passed = torch.log1p(-alpha)
        behind = splats.depths.unsqueeze(-1) - splats.depths.unsqueeze(-2)
        front = torch.sigmoid(behind / softness)
        # A splat does not hide itself.
        front = front * (1.0 - torch.eye(splats.count, device=front.device, dtype=front.dtype))
        weights = alpha * torch.exp(front @ passed)
        rest = torch.exp(passed.sum(dim=1, keepdim=True))
        total = weights.sum(dim=1, keepdim=True) + rest
        ground = background_colors(background, splats.colors).unsqueeze(1)
        return ((weights / total).mT @ splats.colors) + (rest / total).mT * ground
