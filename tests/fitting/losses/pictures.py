"""Pictures and targets for the tests of losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIZES = [(1, 1), (1, 7), (7, 1), (3, 5), (10, 10), (11, 11), (16, 138), (37, 53), (6, 300), (141, 9)]
"""Height and width: less than a window, a vector and a strip, and more than each."""
KINDS = ["floats", "floats with opacity", "bytes", "bytes with opacity", "planes of bytes"]
WEIGHTS = ["none", "mask", "any"]


@dataclass(frozen=True)
class Case:
    images: Tensor
    targets: Tensor
    background: Tensor
    weights: Tensor | None


def noisy(generator: torch.Generator, size: tuple[int, int], batch: int = 2) -> tuple[Tensor, Tensor]:
    """Smooth pictures with some noise, and the pictures without it."""
    height, width = size
    coarse = torch.rand(batch, 3, height // 6 + 2, width // 6 + 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return smooth + 0.05 * torch.randn(smooth.shape, generator=generator), smooth


def case(
    generator: torch.Generator, size: tuple[int, int], kind: str = "floats", weights: str = "none", batch: int = 2
) -> Case:
    """Noisy pictures, and targets of a kind of `KINDS` with weights of a kind of `WEIGHTS`."""
    images, targets = noisy(generator, size, batch)
    if "opacity" in kind:
        opacity = torch.rand(batch, 1, *size, generator=generator)
        # Some are all clear and some opaque.
        targets = torch.cat([targets, (1.5 * opacity - 0.25).clamp(0, 1)], dim=1)
    if "bytes" in kind:
        targets = (255 * targets).round().to(torch.uint8)
        if "planes" not in kind:
            targets = targets.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    chosen = None
    if weights != "none":
        chosen = torch.rand(batch, *size, generator=generator)
        # Blocks, so that some windows see nothing else, and single pixels.
        chosen = chosen * (chosen > 0.1)
        chosen[:, : size[0] // 2, size[1] // 3 :] = 0
        if weights == "mask":
            chosen = (chosen > 0).float()
    return Case(images, targets, torch.rand(batch, 3, generator=generator), chosen)
