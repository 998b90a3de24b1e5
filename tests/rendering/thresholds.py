"""Where the formula jumps: the thin band of pixels in which rounding decides what is seen."""

from __future__ import annotations

import torch

from splatlearn.rendering.backends.torch.primitives.registry import formula
from splatlearn.rendering.formula import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN


def clear_of_thresholds(
    means2d: torch.Tensor,
    packed: torch.Tensor,
    opacities: torch.Tensor,
    size: tuple[int, int],
    alpha_band: float = 1e-4,
    primitive: str = "gaussian",
) -> torch.Tensor:
    """Pixels [B, H, W] where no α or transmittance lies within rounding of a threshold of the formula.

    `means2d` [B, K, 2], `packed` [B, K, P] (conics, of Gaussians) and `opacities` [B, K] in float64. α counts as near
    the skip threshold or the clamp (where the gradient jumps) within a relative `alpha_band`, and the transmittance as
    near the stop threshold within ten times that. A splat behind an opaque pixel decides nothing there.
    """
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).reshape(-1, 2).double()
    if primitive == "gaussian":
        dx, dy = (pixels - means2d[:, :, None]).unbind(-1)
        a, b, c = packed.unsqueeze(2).unbind(-1)
        power = ((a * dx * dx + c * dy * dy) / 2 + b * dx * dy).clamp_min(0.0)
        alpha = opacities.unsqueeze(-1) * torch.exp(-power)
    else:
        alpha = formula(primitive).alpha_at(means2d, packed, opacities, pixels).raw
    jumps = ((alpha / ALPHA_MIN - 1).abs() < alpha_band) | ((alpha / ALPHA_MAX - 1).abs() < alpha_band)
    kept = torch.where(alpha >= ALPHA_MIN, alpha.clamp_max(ALPHA_MAX), 0.0)
    behind = torch.cumprod(1 - kept, dim=1)
    before = torch.cat([torch.ones_like(behind[:, :1]), behind], dim=1)[:, :-1]
    seen = before > TRANSMITTANCE_MIN * (1 - 10 * alpha_band)
    near_jump = (jumps & seen).any(1)
    near_stop = ((behind / TRANSMITTANCE_MIN - 1).abs() < 10 * alpha_band).any(1)
    return ~(near_jump | near_stop).reshape(-1, height, width)
