"""GMAE: reconstruct images by painting them with 3D Gaussians (arXiv 2501.03229)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.camera import Camera
from splatlearn.gaussians import Gaussians
from splatlearn.models.decoder import MaskedAutoencoder, Reconstruction
from splatlearn.models.gaussian_numbers import NUMBERS, at_least_float32, gaussians_from_numbers, grid_numbers
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.masking import Grid, Mask
from splatlearn.models.vit import initialize
from splatlearn.render import render

GRID_HEAD_GAIN = 0.3
"""How far the head's first predictions may stray from the grid, beside the usual initialisation."""


class GMAE(MaskedAutoencoder):
    """A masked autoencoder whose decoder predicts K Gaussians, rendered by a fixed camera (section 3).

    Weights are drawn from `generator` (PyTorch's global one by default) as in the official MAE.
    """

    def __init__(self, config: GMAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config.encoder, config.decoder, generator)
        self.config = config
        width = config.decoder.width
        self.query_token = nn.Parameter(torch.empty(1, 1, width))
        self.query_embed = nn.Parameter(torch.empty(1, config.queries, width))
        self.head = nn.Linear(width, config.gaussians_per_query * sum(NUMBERS))
        nn.init.normal_(self.query_token, std=0.02, generator=generator)
        nn.init.normal_(self.query_embed, std=0.02, generator=generator)
        initialize(self.head, generator)
        self.anchors = None
        if config.layout == "grid":
            self.anchors = nn.Parameter(grid_numbers(config))
            with torch.no_grad():
                self.head.weight.mul_(GRID_HEAD_GAIN)
        if config.rotation == "quaternion":
            # A start near the identity keeps clear of the zero quaternion, where directions change without bound. The
            # other biases stay 0: the Xavier rows already set the Gaussians of one query apart from one another.
            with torch.no_grad():
                self.head.bias[6 :: sum(NUMBERS)] = 1.0

    def forward(self, images: Float[Tensor, "B 3 H W"], mask: Mask) -> Reconstruction:
        """Reconstruct images [B, 3, H, W] in [0, 1] from the patches that the mask leaves visible.

        Height and width may be any multiples of the patch. Raises TypeError for images that are not floating-point
        and ValueError when they, the patch and the mask do not fit.
        """
        latent = self.encoder(images, mask)
        gaussians = self.decode(latent, mask.grid, mask)
        camera = self.camera(images.shape[2], images.shape[3])
        rendering = render(gaussians, camera, self.config.background, depth=False, check=False)
        return Reconstruction(rendering.color, mask, latent, gaussians)

    def gaussians(self, images: Float[Tensor, "B 3 H W"]) -> Gaussians:
        """The Gaussians of images in [0, 1], without masking; raises as `encode` does."""
        return self.decode(self.encode(images), self.encoder.check_images(images), None)

    def decode(self, latent: Float[Tensor, "B T D"], grid: Grid, mask: Mask | None) -> Gaussians:
        """Predict the Gaussians of images from their tokens: those of the visible patches, or of all without a mask."""
        tokens = self.decoder.embed_latent(latent, grid, mask)
        queries = (self.query_token + self.query_embed).expand(tokens.shape[0], -1, -1).to(tokens.dtype)
        decoded = self.decoder(torch.cat([tokens, queries], dim=1))[:, -self.config.queries :]
        return gaussians_from_numbers(self._numbers(decoded), self.config)

    def camera(self, height: int, width: int) -> Camera:
        """The camera that renders images of this height and width in pixels."""
        return self.config.camera(height, width)

    def _numbers(self, decoded: Tensor) -> Tensor:
        # In bfloat16 a centre would move in steps of half a pixel at 224 px.
        with torch.autocast(decoded.device.type, enabled=False):
            exact = at_least_float32(decoded)
            numbers = F.linear(exact, self.head.weight.to(exact), self.head.bias.to(exact))
        numbers = numbers.unflatten(-1, (-1, sum(NUMBERS))).flatten(1, 2)
        return numbers if self.anchors is None else numbers + self.anchors
