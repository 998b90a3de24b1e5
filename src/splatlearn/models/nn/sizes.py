"""The sizes of encoders and decoders, and whether images and masks fit them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from splatlearn.core.checks import check_images
from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.typed import shown
from splatlearn.models.masking import Grid, Mask

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEEPEST = 1024
"""Largest number of blocks of an encoder or a decoder."""
MOST_PATCHES = 2**16
"""Patches that an image of the native size may have: the table of positions has a row for each of them."""


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of an encoder.

    - `embed_dim`, `depth`, `num_heads`: token length D, number of blocks, attention heads.
    - `patch_size`: side of a patch, pixels; `image_size`: native height and width, pixels.
    - `mlp_ratio`: hidden width of a block's MLP over D; `channels`: of the images.
    - `input_mean`, `input_std`: per channel, what images in [0, 1] are normalised with before they are embedded.

    Raises InputError for sizes that are not positive or do not divide.
    """

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    patch_size: int = 16
    image_size: tuple[int, int] = (224, 224)
    mlp_ratio: float = 4.0
    channels: int = 3
    input_mean: tuple[float, ...] = IMAGENET_MEAN
    input_std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        check_sizes(self.embed_dim, self.depth, self.num_heads, self.mlp_ratio)
        if self.patch_size < 1 or self.channels < 1:
            raise InputError(
                f"patch_size, channels: expected positive sizes, got {self.patch_size} and {self.channels}"
            )
        if not isinstance(self.image_size, tuple | list) or len(self.image_size) != 2:
            raise InputError(f"image_size: expected height and width, got {shown(self.image_size)}")
        rows, columns = grid_of(*self.image_size, self.patch_size, "image_size")
        if rows * columns > MOST_PATCHES:
            raise InputError(
                f"image_size: expected at most {MOST_PATCHES:,} patches of {self.patch_size} px, got "
                f"{rows:,}×{columns:,}; choose larger patches or smaller images"
            )
        for name, values in (("input_mean", self.input_mean), ("input_std", self.input_std)):
            if len(values) != self.channels:
                raise InputError(
                    f"{name}: expected one number for each of {self.channels} channels, got {shown(values)}"
                )
            if not all(math.isfinite(value) and (name == "input_mean" or value > 0) for value in values):
                kind = "finite numbers" if name == "input_mean" else "positive numbers"
                raise InputError(f"{name}: expected {kind}, got {shown(values)}")

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches at the native size."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder: token length, number of blocks, attention heads, and an MLP's hidden width over the length.

    Raises InputError for sizes that are not positive or do not divide.
    """

    embed_dim: int = 512
    depth: int = 8
    num_heads: int = 16
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        check_sizes(self.embed_dim, self.depth, self.num_heads, self.mlp_ratio)


def check_sizes(embed_dim: int, depth: int, num_heads: int, mlp_ratio: float) -> None:
    """Raise InputError unless blocks of these sizes can be built."""
    if depth < 1 or num_heads < 1 or embed_dim < 1 or embed_dim % num_heads or embed_dim % 4:
        raise InputError(
            "embed_dim, depth, num_heads: expected positive numbers and an embed_dim divisible by num_heads and (for "
            f"the positions) by 4, got embed_dim {embed_dim}, depth {depth}, num_heads {num_heads}"
        )
    if depth > DEEPEST:
        raise InputError(f"depth: expected at most {DEEPEST} blocks, got {depth}")
    if not 1 <= embed_dim * mlp_ratio < 2**31:
        raise InputError(
            f"mlp_ratio: expected a number that gives an MLP of embed_dim {embed_dim} 1 to 2^31 hidden units, "
            f"got {mlp_ratio}"
        )


def grid_of(height: int, width: int, patch_size: int, name: str = "images") -> Grid:
    """Rows and columns of patches in an image of `height`×`width` pixels.

    Raises InputError naming the nearest sizes that work unless the patch divides both sides.
    """
    if height < 1 or width < 1 or height % patch_size or width % patch_size:
        smaller = [max(side // patch_size, 1) * patch_size for side in (height, width)]
        larger = [max(-(-side // patch_size), 1) * patch_size for side in (height, width)]
        nearest = " or ".join(dict.fromkeys(f"{sides[0]}×{sides[1]}" for sides in (smaller, larger)))
        raise InputError(
            f"{name}: expected a height and width divisible by the patch size of {patch_size} px, got "
            f"{height}×{width}; the nearest sizes that work: {nearest}"
        )
    return height // patch_size, width // patch_size


def grid_of_images(config: ViTConfig, dtype: torch.dtype, images: Tensor, mask: Mask | None = None) -> Grid:
    """The grid of images' patches for an encoder with weights of a dtype.

    Raises TypeError and InputError for images that it cannot encode, or not under this mask.
    """
    # A model that normalises nothing may have been given what is normalised.
    raw = not any(config.input_mean) and all(each == 1.0 for each in config.input_std)
    check_images(images, config.channels, raw)
    if images.dtype == torch.float64 != dtype:
        wanted = f"images: expected {dtype} like the model's weights"
        raise TypeError(f"{wanted}, got {images.dtype}; convert them with .float()")
    grid = grid_of(images.shape[2], images.shape[3], config.patch_size)
    if mask is None:
        return grid
    check_kind("mask", mask, Mask)
    if mask.grid != grid or mask.batch != images.shape[0]:
        raise InputError(
            f"mask: expected {images.shape[0]} images of {grid[0]}×{grid[1]} patches like images, "
            f"got {mask.batch} of {mask.grid[0]}×{mask.grid[1]}"
        )
    if mask.visible.device != images.device:
        raise InputError(
            f"mask: expected it on {images.device} like images, got {mask.visible.device}; "
            f"move it with .to({str(images.device)!r})"
        )
    return grid
