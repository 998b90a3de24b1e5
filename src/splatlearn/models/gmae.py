"""GMAE: reconstruct images by painting them with 3D Gaussians (arXiv 2501.03229)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.kinds import check_kind
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.heads.gaussian_head import make_head
from splatlearn.models.heads.gaussian_numbers import OPACITY, ROTATION
from splatlearn.models.heads.hierarchical_head import HierarchicalHead
from splatlearn.models.heads.seen_colors import colors_at, mean_color
from splatlearn.models.masked_autoencoder import MaskedAutoencoder, MaskedOutput
from splatlearn.models.masking import Grid, Mask
from splatlearn.models.nn.attention import Common
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

GRID_HEAD_GAIN = 0.3
"""Gain of the head's initial weights, relative to the usual initialisation, if Gaussians start as a grid."""


class GMAE(MaskedAutoencoder):
    """A masked autoencoder whose decoder predicts K Gaussians, rendered by a fixed camera (section 3).

    Weights are drawn from `generator` (PyTorch's global one by default) as in the official MAE.
    """

    def __init__(self, config: GMAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.config = config
        embed_dim = config.decoder.embed_dim
        self.query_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.query_embed = nn.Parameter(torch.empty(1, config.num_queries, embed_dim))
        nn.init.normal_(self.query_token, std=0.02, generator=generator)
        nn.init.normal_(self.query_embed, std=0.02, generator=generator)
        self.head = make_head(config, generator)
        self.anchors = None
        if config.layout == "grid":
            self.anchors = nn.Parameter(self.head.first_numbers())
            self.head.scale_weights(GRID_HEAD_GAIN)
        if config.rotation == "quaternion":
            # A start near the identity keeps clear of the zero quaternion, where directions change without bound. The
            # other biases stay 0: the Xavier rows already set the Gaussians of one query apart from one another.
            self.head.shift_number(ROTATION, 1.0)
        if config.opacity != 0.5:
            self.head.shift_number(OPACITY, math.log(config.opacity / (1.0 - config.opacity)))
        # Its sigmoid is the colour.
        self.behind = nn.Parameter(torch.zeros(3)) if config.background == "learned" else None

    def forward(self, images: Float[Tensor, "B 3 H W"], mask: Mask) -> MaskedOutput:
        """Reconstruct images [B, 3, H, W] in [0, 1] from the patches that the mask leaves visible.

        Height and width may be any multiples of the patch. Raises TypeError for images that are not floating-point
        and ValueError when they, the patch and the mask do not fit.
        """
        check_kind("mask", mask, Mask)
        latent = self.encoder(images, mask)
        gaussians = self.decode(latent, mask.grid, mask, self.seen(images, mask))
        camera, background = self.camera(images.shape[2], images.shape[3]), self.background(images, mask)
        rendering = render(gaussians, camera, background, depth=False, check=False)
        return MaskedOutput(rendering.color, mask, latent, gaussians, background)

    def gaussians(self, images: Float[Tensor, "B 3 H W"]) -> Gaussians:
        """The Gaussians of images in [0, 1], without masking; raises as `encode` does."""
        return self.decode(self.encode(images), self.encoder.check_images(images), None, self.seen(images))

    def decode(
        self,
        latent: Float[Tensor, "B T D"],
        grid: Grid,
        mask: Mask | None,
        seen: Float[Tensor, "B S 3"] | None = None,
    ) -> Gaussians:
        """Predict the Gaussians of images from their tokens: those of the visible patches, or of all without a mask.

        `seen`: the colours that Gaussians start from, where the model's are residual.
        """
        tokens = self.decoder.embed_latent(latent, grid, mask)
        queries = (self.query_token + self.query_embed).to(tokens.dtype)
        decoded = self.decoder(tokens, Common(queries), self.config.num_queries)
        return self.head.gaussians(decoded, self.anchors, seen)

    def seen(self, images: Float[Tensor, "B 3 H W"], mask: Mask | None = None) -> Float[Tensor, "B S 3"] | None:
        """The colours of visible patches where each Gaussian starts; None where colours are not residual."""
        if self.config.color != "residual":
            return None
        places = None
        if self.anchors is not None and isinstance(self.head, HierarchicalHead):
            places = self.head.leaves(self.anchors.detach().float()).means[:, :2]
        elif self.anchors is not None:
            places = 2.0 * self.config.reach * (self.anchors[:, :2].detach().float().sigmoid() - 0.5)
        return colors_at(places, images, mask, self.patch_size)

    def background(self, images: Float[Tensor, "B 3 H W"], mask: Mask | None = None) -> Background:
        """The background of images of which the mask's visible patches are known."""
        if self.behind is not None:
            return self.behind.sigmoid()
        if self.config.background == "mean":
            return mean_color(images, mask, self.patch_size)
        return self.config.background

    def camera(self, height: int, width: int) -> Camera:
        """The camera that renders images of this height and width in pixels."""
        return self.config.camera(height, width)
