"""Choices of options of exports and imports, apart from the code that does the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Target = Literal["colors", "patches"]
ExportTarget = Literal["colors", "patches", "normalized-patches"]
"""What an exported MAE predicts: colours in [0, 1]; patches standardised from images in [0, 1], as this library trains
them; or from normalised images, as the official MAE and transformers do, and imported weights of theirs."""


@dataclass(frozen=True)
class ImportOptions:
    """Facts that weights do not hold; by default as the files beside them say, or the usual values."""

    num_heads: int | None = None
    """Attention heads of the encoder. Default: as in its config.json, else the usual ones of its width."""
    decoder_num_heads: int | None = None
    """Attention heads of the decoder. Default: as in its config.json, else 16 for a width of 512."""
    image_size: tuple[int, int] | None = None
    """Height and width in pixels. Default: as in its config.json, else square."""
    input_mean: tuple[float, ...] | None = None
    """Mean that images are normalised with. Default: as stored beside it, else ImageNet's, or 0.5 where images are not
    RGB."""
    input_std: tuple[float, ...] | None = None
    """Standard deviation that images are normalised with. Default: as stored beside it, else ImageNet's, or 0.5 where
    images are not RGB."""
    target: Target | None = None
    """What a decoder predicts: colors, or patches standardised by their own mean and deviation. Default: as stored."""
