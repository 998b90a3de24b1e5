"""The base of MAE and GMAE: an encoder, a decoder, and the output for masked images.

Letters in shapes: B images, C channels, H W pixels, N patches, V visible patches, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.gaussians import Gaussians
from splatlearn.models.masking import Mask
from splatlearn.models.nn.decoder import Decoder
from splatlearn.models.nn.encoder import ViT
from splatlearn.models.nn.sizes import DecoderConfig, ViTConfig
from splatlearn.rendering.compositing import Background


@dataclass(frozen=True)
class MaskedConfig:
    """Sizes of an encoder and a decoder, which every masked autoencoder has."""

    encoder: ViTConfig = field(default_factory=ViTConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


@dataclass(frozen=True, eq=False)
class MaskedOutput:
    """The output of a masked autoencoder.

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


class MaskedAutoencoder(nn.Module):
    """An encoder and a decoder, with the uses of the encoder that MAE and GMAE share."""

    def __init__(self, config: MaskedConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.encoder = ViT(config.encoder, generator)
        self.decoder = Decoder(config.encoder, config.decoder, generator)

    @property
    def patch_size(self) -> int:
        """Side of a patch, pixels."""
        return self.encoder.config.patch_size

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
