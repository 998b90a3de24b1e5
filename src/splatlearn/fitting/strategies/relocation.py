"""Several Gaussians at one place that together look like one."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

MOST_TERMS = 128
"""Terms of the series of `relocated`. They fall as Lᵏ/k! with L = −ln(1 − opacity) ≤ 17 for float32 opacities."""


def relocated(
    opacities: Float[Tensor, " N"], scales: Float[Tensor, "N 3"], copies: Int64[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"]]:
    """Return the opacity and the scales of each of n equal Gaussians that take the place of one.

    - `opacities` in [0, 1], 1 taken as the number below it; `scales` [N, 3]: of the one; `copies` [N]: n, at least 1.

    Opacities are o' = 1 − (1 − o)^(1/n): at their common centre n Gaussians block as much as one did. Scales are
    s' = s · o / Σₖ₌₁ⁿ (−1)ᵏ⁻¹ C(n, k) o'ᵏ / √k: the integral of α along a line through the centre stays as well. The
    sum is the double sum of equation 9 of Kheradmand et al. 2024 (3DGS-MCMC), whose inner binomials add up to
    C(n, k); it is taken in float64, so that it holds for any n (published code stops at 51).
    """
    o = opacities.clamp_max(1.0 - torch.finfo(opacities.dtype).eps / 2).double()
    n = copies.double()
    each = -torch.expm1(torch.log1p(-o) / n)
    term, total = n * each, n * each
    for k in range(1, min(int(copies.max()) if copies.numel() else 0, MOST_TERMS)):
        # C(n, k + 1) = C(n, k) · (n − k) / (k + 1), and 0 from k = n on.
        term = -term * each * ((n - k) / (k + 1)).clamp_min(0.0)
        total = total + term / (k + 1) ** 0.5
    share = torch.where(total > 0, o / total, 1.0)
    return each.to(opacities), (scales.double() * share.unsqueeze(-1)).to(scales)
