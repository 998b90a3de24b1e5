"""Options that several commands share, apart from what they compute with: the help needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from splatlearn.zero_shot.choices import Sizing

MAX_SIZE = 1024
"""Longer side at which larger photographs are read: there is nothing finer in a few hundred Gaussians."""

ModelFormat = Literal["timm", "hf", "hf-mae", "onnx", "onnx-gaussians", "hub"]


@dataclass(frozen=True)
class Reading:
    """How images are shown to the model."""

    sizing: Sizing = "resize"
    """resize: the whole image at the model's size; windows: overlapping windows, blended."""
    window: int | None = None
    """Height of a window in pixels of the image. Default: the largest that fits."""
    overlap: float = 0.5
    """Smallest share of a window that its neighbour covers too."""
    refine: int = 0
    """Gradient steps through the renderer before the read-out, at the image's own size."""
    batch_size: int = 8
    """Images of equal size that are read together."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


Read = Annotated[Reading, tyro.conf.arg(name="")]
Run = tyro.conf.Positional[str | None]
Images = tyro.conf.Positional[tuple[str, ...]]
