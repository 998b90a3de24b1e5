"""A plain Vision Transformer with timm's parameter names, which encodes all patches of an image or the visible ones.

Letters in shapes: B images, C channels, H W pixels, P patch side, N patches, T tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models.masking import Grid, Mask
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.initial import initialize
from splatlearn.models.nn.patches import patchify
from splatlearn.models.nn.positions import Positioned, gather_tokens
from splatlearn.models.nn.sizes import ViTConfig, grid_of_images


class PatchEmbed(nn.Module):
    """A linear map of flattened patches, its weight shaped as the equivalent convolution's."""

    def __init__(self, patch_size: int, channels: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, embed_dim, patch_size, patch_size)

    def forward(self, patches: Float[Tensor, "B N PPC"]) -> Float[Tensor, "B N D"]:
        return F.linear(patches, self.proj.weight.permute(0, 2, 3, 1).flatten(1), self.proj.bias)


class ViT(Positioned):
    """The encoder: class token and patches through pre-norm blocks and a final norm.

    Weights are drawn from `generator` (PyTorch's global one by default) as in the official MAE.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ViTConfig, generator: torch.Generator | None = None) -> None:
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
        initialize(self, generator)
        nn.init.normal_(self.cls_token, std=0.02, generator=generator)

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
        return grid_of_images(self.config, self.cls_token.dtype, images, mask)
