"""A plain Vision Transformer with timm's parameter names, which encodes all patches of an image or the visible ones.

Letters in shapes: B images, C channels, H W pixels, P patch side, N patches, T tokens, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splatlearn.core.checks import check_images
from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.typed import shown
from splatlearn.models.masking import Grid, Mask
from splatlearn.models.nn.fused_block import AttentionHalf, MlpHalf, is_untouched, residual
from splatlearn.models.nn.layers import attention, gelu
from splatlearn.models.nn.patches import grid_of, patchify
from splatlearn.models.nn.positions import Positioned, gather_tokens

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEEPEST = 1024
"""Blocks that an encoder or a decoder may have."""
MOST_PATCHES = 2**16
"""Patches that an image of the native size may have: the table of positions has a row for each of them."""


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of an encoder.

    - `width`, `depth`, `heads`: token length D, number of blocks, attention heads.
    - `patch`: side of a patch, pixels; `image_size`: native height and width, pixels.
    - `mlp_ratio`: hidden width of a block's MLP over D; `channels`: of the images.
    - `input_mean`, `input_std`: per channel, what images in [0, 1] are normalised with before they are embedded.

    Raises InputError for sizes that are not positive or do not divide.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    patch: int = 16
    image_size: tuple[int, int] = (224, 224)
    mlp_ratio: float = 4.0
    channels: int = 3
    input_mean: tuple[float, ...] = IMAGENET_MEAN
    input_std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        check_sizes(self.width, self.depth, self.heads, self.mlp_ratio)
        if self.patch < 1 or self.channels < 1:
            raise InputError(f"patch, channels: expected positive sizes, got {self.patch} and {self.channels}")
        if not isinstance(self.image_size, tuple | list) or len(self.image_size) != 2:
            raise InputError(f"image_size: expected height and width, got {shown(self.image_size)}")
        rows, columns = grid_of(*self.image_size, self.patch, "image_size")
        if rows * columns > MOST_PATCHES:
            raise InputError(
                f"image_size: expected at most {MOST_PATCHES:,} patches of {self.patch} px, got {rows:,}×{columns:,}; "
                "choose larger patches or smaller images"
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
        return self.image_size[0] // self.patch, self.image_size[1] // self.patch


def check_sizes(width: int, depth: int, heads: int, mlp_ratio: float) -> None:
    """Raise InputError unless blocks of these sizes can be built."""
    if depth < 1 or heads < 1 or width < 1 or width % heads or width % 4:
        raise InputError(
            "width, depth, heads: expected positive numbers and a width that the heads and (for the positions) 4 "
            f"divide, got width {width}, depth {depth}, heads {heads}"
        )
    if depth > DEEPEST:
        raise InputError(f"depth: expected at most {DEEPEST} blocks, got {depth}")
    if not 1 <= width * mlp_ratio < 2**31:
        raise InputError(
            f"mlp_ratio: expected a number that gives an MLP at width {width} 1 to 2^31 hidden units, got {mlp_ratio}"
        )


@dataclass(frozen=True, eq=False)
class Common:
    """Tokens that are the same for all images: `tokens` [1, R, D], of which an image has the rows `places` [B, S].

    Without places it has all of them. What depends on a token alone is worked out once for all images.
    """

    tokens: Float[Tensor, "1 R D"]
    places: Int64[Tensor, "B S"] | None = None

    def dealt(self, values: Float[Tensor, "1 R E"], batch: int) -> Float[Tensor, "B S E"]:
        """What has been made of the tokens, for each image of a batch."""
        return values.expand(batch, -1, -1) if self.places is None else gather_tokens(values, self.places)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "B N D"], last: int | None = None, common: Common | None = None
    ) -> Float[Tensor, "B M D"]:
        """What each of the tokens, or each of the `last` of them, takes from all; those in common come behind."""
        width = tokens.shape[-1]
        if common is not None:
            vectors = torch.cat([self.qkv(tokens), common.dealt(self.qkv(common.tokens), tokens.shape[0])], dim=1)
            parts = [vectors] if last is None else [vectors[:, -last:, :width], vectors[..., width:]]
        elif last is None or last == tokens.shape[1]:
            parts = [self.qkv(tokens)]
        else:
            weights, biases = self.qkv.weight, self.qkv.bias
            query = F.linear(tokens[:, -last:], weights[:width], biases[:width])
            parts = [query, F.linear(tokens, weights[width:], biases[width:])]
        return self.proj(attention(self.heads, *parts))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.fc2(gelu(self.fc1(tokens)))


class Block(nn.Module):
    """A pre-norm transformer block; `drop_path` is the chance that a training image skips a residual branch."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(
        self, tokens: Float[Tensor, "B N D"], last: int | None = None, common: Common | None = None
    ) -> Float[Tensor, "B M D"]:
        """All tokens, those in common last, or the `last` of them, behind the block; every one is attended to."""
        mlp = [MlpHalf(self.norm2, self.mlp.fc1, self.mlp.fc2)] if is_untouched(self.mlp, Mlp) else []
        if mlp and last is None and common is None and is_untouched(self.attn, Attention) and not self._skips():
            attn = AttentionHalf(self.attn.heads, self.norm1, self.attn.qkv, self.attn.proj)
            done = residual(tokens, attn, *mlp)
            if done is not None:
                return done
        if common is None:
            attended = self.attn(self.norm1(tokens), last)
        else:
            attended = self.attn(self.norm1(tokens), last, replace(common, tokens=self.norm1(common.tokens)))
            tokens = torch.cat([tokens, common.dealt(common.tokens, tokens.shape[0])], dim=1)
        tokens = (tokens if last is None else tokens[:, -last:]) + self._maybe_skip(attended)
        done = residual(tokens, *mlp) if mlp and not self._skips() else None
        return tokens + self._maybe_skip(self.mlp(self.norm2(tokens))) if done is None else done

    def _skips(self) -> bool:
        return self.training and self.drop_path > 0.0

    def _maybe_skip(self, branch: Tensor) -> Tensor:
        if not self._skips():
            return branch
        keep = 1.0 - self.drop_path
        return branch * branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep).div_(keep)


class PatchEmbed(nn.Module):
    """A linear map of flattened patches, its weight shaped as the equivalent convolution's."""

    def __init__(self, patch: int, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

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
        super().__init__(config.grid, config.width)
        self.config = config
        self.register_buffer("mean", torch.tensor(config.input_mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.input_std), persistent=False)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.patch_embed = PatchEmbed(config.patch, config.channels, config.width)
        self.blocks = nn.ModuleList([Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
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
        patches, positions = patchify(images, self.config.patch), self.positions(grid)
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
        grid = grid_of(images.shape[2], images.shape[3], self.config.patch)
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


@torch.no_grad()
def initialize(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw linear and patch-embedding weights Xavier-uniform and set biases to 0, norms to 1 (official MAE)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.view(part.weight.shape[0], -1), generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
