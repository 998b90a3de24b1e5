"""A plain Vision Transformer with timm's parameter names, which encodes all patches of an image or the visible ones.

Letters in shapes: B images, C channels, H W pixels, P patch side, N patches, T tokens, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.checks import check_images
from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.typed import shown
from splatlearn.models.masking import Grid, Mask
from splatlearn.models.nn.block import Block, check_sizes
from splatlearn.models.nn.initial import initialize
from splatlearn.models.nn.patches import grid_of, patchify
from splatlearn.models.nn.positions import Positioned, gather_tokens

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

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


class PatchEmbed(nn.Module):
    """A linear map of flattened patches, its weight shaped as the equivalent convolution's."""

    def __init__(self, patch_size: int, channels: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, embed_dim, patch_size, patch_size)

    def forward(self, patches: Float[Tensor, "B N PPC"]) -> Float[Tensor, "B N D"]:
        return F.linear(patches, self.proj.weight.permute(0, 2, 3, 1).flatten(1), self.proj.bias)


class ViT(Positioned):
    """The encoder: class token and patches through pre-norm blocks and a final norm.

    `drop_path` is the stochastic-depth rate of the last block, growing linearly from 0 at the first. Weights are
    drawn from `generator` (PyTorch's global one by default) as in the official MAE. Raises InputError for a rate
    outside [0, 1).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ViTConfig, generator: torch.Generator | None = None, drop_path: float = 0.0) -> None:
        super().__init__(config.grid, config.embed_dim)
        self.config = config
        self.register_buffer("mean", torch.tensor(config.input_mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.input_std), persistent=False)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dim))
        self.patch_embed = PatchEmbed(config.patch_size, config.channels, config.embed_dim)
        self.blocks = nn.ModuleList(
            [Block(config.embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)]
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.set_drop_path(drop_path)
        initialize(self, generator)
        nn.init.normal_(self.cls_token, std=0.02, generator=generator)

    def set_drop_path(self, rate: float) -> None:
        """Set the stochastic-depth rate of the last block, the others' growing linearly up to it."""
        if not 0.0 <= rate < 1.0:
            raise InputError(f"drop_path: expected a rate of at least 0 and below 1, got {rate}")
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            block.drop_path = rate * index / max(len(self.blocks) - 1, 1)

    def forward(self, images: Float[Tensor, "B C H W"], mask: Mask | None = None) -> Float[Tensor, "B T D"]:
        """Encode images [B, C, H, W] in [0, 1], all their patches or those that the mask leaves visible.

        Height and width may be any multiples of the patch. Returns the normed tokens, the class token first, then
        the patches in the mask's order. Raises TypeError for images that are not floating-point and ValueError when
        they and the patch, the channels or the mask do not fit.
        """
        grid = self.check_images(images, mask)
        patches, positions = patchify(images, self.config.patch_size), self.positions(grid)
        places = positions[:, 1:]
        if mask is not None:
            # Embedding after the selection does the work for the visible patches only.
            patches, places = gather_tokens(patches, mask.visible), gather_tokens(places, mask.visible)
        pixels = patches.unflatten(-1, (-1, self.config.channels))
        tokens = self.patch_embed(((pixels - self.mean) / self.std).flatten(2)) + places
        cls = (self.cls_token + positions[:, :1]).expand(tokens.shape[0], -1, -1).to(tokens.dtype)
        tokens = torch.cat([cls, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def check_images(self, images: Tensor, mask: Mask | None = None) -> Grid:
        """The grid of the images' patches; raises as `forward` does where they cannot be encoded."""
        # A model that normalises nothing may have been given what is normalised.
        raw = not any(self.config.input_mean) and all(each == 1.0 for each in self.config.input_std)
        check_images(images, self.config.channels, raw)
        if images.dtype == torch.float64 != self.cls_token.dtype:
            wanted = f"images: expected {self.cls_token.dtype} like the model's weights"
            raise TypeError(f"{wanted}, got {images.dtype}; convert them with .float()")
        grid = grid_of(images.shape[2], images.shape[3], self.config.patch_size)
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
