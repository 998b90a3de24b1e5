"""Pixels drawn at random by a weight each."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def draw_sites(
    weights: Float[Tensor, "B P"], count: int, generator: torch.Generator | None = None
) -> Int64[Tensor, "B count"]:
    """Draw `count` pixels of each image with probabilities in proportion to weights of at least 0.

    Pixels of an image differ from one another while there are enough with a weight above 0; the others come again.
    `generator`: on the CPU; the default is PyTorch's global one. `torch.multinomial` takes no more than 2²⁴ pixels.

    Without replacement the smallest of E/w with exponential E are drawn (Efraimidis and Spirakis 2006), which is
    drawing one pixel after the other in proportion to what is left. In float64, and on the CPU, so that a device
    changes nothing.
    """
    exact = weights.detach().cpu().double()
    images, pixels = exact.shape
    if count <= pixels:
        waits = torch.rand(exact.shape, generator=generator, dtype=torch.float64).clamp_min_(1e-300).log_().neg_()
        waits /= exact
        return waits.topk(count, dim=1, largest=False).indices.to(weights.device)
    totals = exact.cumsum(dim=1)
    marks = torch.rand(images, count, generator=generator, dtype=torch.float64) * totals[:, -1:]
    return torch.searchsorted(totals, marks, right=True).clamp_max_(pixels - 1).to(weights.device)
