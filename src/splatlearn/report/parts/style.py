"""What all figures share: colours, sizes, and the border where tensors become arrays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from splatlearn.core.errors import InputError

THEME = {
    "ink": "#1c2024",
    "muted": "#60676f",
    "line": "#dfe2e6",
    "accent": "#1f6f8b",
    "second": "#b8622b",
}
"""Colours that figures draw with; in the SVG each becomes the page's CSS variable of that name."""
WIDTH = 6.2
"""Width of a figure in inches: 595 CSS pixels, so that its text stays legible where a phone shrinks it."""
TEXT = 9.5
"""Size of a figure's text in points."""


def to_array(values: ArrayLike) -> NDArray[np.float64]:
    """An array or tensor, on whatever device, as a float64 array."""
    return np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=np.float64)


def check_size(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise InputError naming the argument whose shape does not fit the others."""
    if shape != expected:
        raise InputError(f"{name}: expected shape {list(expected)} to match the others, got {list(shape)}")
