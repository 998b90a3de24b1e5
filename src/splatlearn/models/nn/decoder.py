"""What MAE and GMAE share: the encoder, the decoder's blocks, and what a reconstruction is.

Letters in shapes: B images, C channels, H W pixels, N patches, V visible patches, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.gaussians import Gaussians
from splatlearn.models.masking import Grid, Mask
from splatlearn.models.nn.encoder import Block, Common, ViT, ViTConfig, check_sizes, initialize
from splatlearn.models.nn.positions import Positioned, gather_tokens
from splatlearn.rendering.composite import Background


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder: token length, number of blocks, attention heads, and an MLP's hidden width over the length.

    Raises InputError for sizes that are not positive or do not divide.
    """

    width: int = 512
    depth: int = 8
    heads: int = 16
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        check_sizes(self.width, self.depth, self.heads, self.mlp_ratio)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a masked autoencoder makes of masked images.

    - `image` [B, C, H, W]: all patches as predicted, the visible ones too unless a MAE was asked to leave them out;
      differentiable. Colours in [0, 1], or standardised patches where a MAE was trained on those.
    - `mask`: the one that came in.
    - `latent` [B, 1+V, D]: the encoder's normed tokens, the class token first, then the mask's visible patches.
    - `gaussians`, `background`: what GMAE rendered the image from; None for MAE.
    """

    image: Float[Tensor, "B C H W"]
    mask: Mask
    latent: Float[Tensor, "B T D"]
    gaussians: Gaussians | None = None
    background: Background | None = None


class Decoder(Positioned):
    """A linear map from the encoder's width, and blocks over any sequence of tokens, with a final norm."""

    def __init__(self, encoder: ViTConfig, config: DecoderConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(encoder.grid, config.width)
        self.embed = nn.Linear(encoder.width, config.width)
        self.blocks = nn.ModuleList([Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        initialize(self, generator)

    def embed_latent(self, latent: Float[Tensor, "B T D"], grid: Grid, mask: Mask | None) -> Float[Tensor, "B T d"]:
        """The encoder's tokens at the decoder's width, each with the position of its patch."""
        positions = self.positions(grid)
        if mask is not None:
            visible = gather_tokens(positions[:, 1:], mask.visible)
            positions = torch.cat([positions[:, :1].expand(mask.batch, -1, -1), visible], dim=1)
        return self.embed(latent) + positions

    def forward(self, tokens: Float[Tensor, "B T d"], common: Common, last: int) -> Float[Tensor, "B M d"]:
        """Run the blocks and the final norm over each image's tokens and, behind them, those in common.

        Returns the `last` tokens, the only ones that the last block works out.
        """
        blocks = list(self.blocks)
        for index, block in enumerate(blocks):
            only = last if index == len(blocks) - 1 else None
            tokens = block(tokens, only, common if index == 0 else None)
        return self.norm(tokens)


class MaskedAutoencoder(nn.Module):
    """An encoder and a decoder, and the uses of the encoder that every masked autoencoder has."""

    def __init__(self, encoder: ViTConfig, decoder: DecoderConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.encoder = ViT(encoder, generator)
        self.decoder = Decoder(encoder, decoder, generator)

    @property
    def patch(self) -> int:
        """Side of a patch, pixels."""
        return self.encoder.config.patch

    @property
    def image_size(self) -> tuple[int, int]:
        """Native height and width, pixels; other multiples of the patch work too."""
        return self.encoder.config.image_size

    def encode(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B T D"]:
        """Tokens [B, 1+N, D] of images in [0, 1], without masking: the class token, then the patches row by row.

        Raises TypeError for images that are not floating-point and ValueError for shapes that do not fit the patch.
        """
        return self.encoder(images)

    def feature_map(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """The patches' tokens as a map of h×w patches, without masking; raises as `encode` does."""
        grid = self.encoder.check_images(images)
        return self.encode(images)[:, 1:].transpose(1, 2).unflatten(2, grid)

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder, which `splatlearn.load` reads."""
        # Loading has to know the models, so that only a late import breaks the circle.
        from splatlearn.models.folders.io import save_model

        save_model(self, folder)
