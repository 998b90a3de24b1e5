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
    """Facts that weights do not contain. The defaults come from the files beside the weights, or are the usual
    values."""

    num_heads: int | None = None
    """Number of attention heads of the encoder. Default: from its config.json, otherwise the usual number for its
    width."""
    decoder_num_heads: int | None = None
    """Number of attention heads of the decoder. Default: from its config.json, otherwise 16 for a width of 512."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images in pixels. Default: from its config.json, otherwise a square."""
    input_mean: tuple[float, ...] | None = None
    """Mean with which images are normalised. Default: the stored value, otherwise ImageNet's, or 0.5 for images that
    are not RGB."""
    input_std: tuple[float, ...] | None = None
    """Standard deviation with which images are normalised. Default: the stored value, otherwise ImageNet's, or 0.5 for
    images that are not RGB."""
    target: Target | None = None
    """What a decoder predicts: colors, or patches standardised by their own mean and standard deviation. Default: the
    stored value."""
