"""What makes one vector of an image: a trained encoder, the same with random weights, and raw pixels.

Letters in shapes: B images, C channels, H W pixels, D numbers of a feature.
"""

from __future__ import annotations

import dataclasses
from typing import get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.evaluation.choices import POOLING, Pooling
from splatlearn.models import GMAE, MAE, MAEConfig, ViT
from splatlearn.models.channels import check_reads_pictures, fit_channels
from splatlearn.models.masked_autoencoder import MaskedAutoencoder

PIXEL_SIDE = 16
"""Raw pixels are averaged down to at most this many a side: 768 numbers, as many as a base encoder gives."""
RANDOM_SEED = 0
"""Seed of the random weights that a trained encoder is compared with."""


class Embedder(nn.Module):
    """A module from images [B, C, H, W] in [0, 1] to features [B, D].

    - `image_size`: height and width in pixels of the images that it takes.
    - `description`: with the weights, all that its features depend on.
    """

    image_size: tuple[int, int]
    description: str


class EncoderFeatures(Embedder):
    """Features of an encoder, nothing hidden: a pooled token sequence. One of grey images sees RGB images in grey.

    - `pooling`: `"cls"` the class token, `"mean"` the mean of the patches' tokens.
    - `block`: the block 1..depth whose tokens are taken, then normed as the last ones are; None takes the last.

    Raises InputError for a pooling that is not known, a block that the encoder does not have, and an encoder of images
    that are neither RGB nor grey.
    """

    def __init__(self, encoder: ViT, pooling: Pooling = POOLING, block: int | None = None) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise InputError(f"pooling: expected one of {', '.join(get_args(Pooling))}, got {pooling!r}")
        check_reads_pictures(encoder.config)
        depth = encoder.config.depth
        if block is not None and not 1 <= block <= depth:
            raise InputError(f"block: expected a number from 1 to {depth}, the encoder's depth, got {block}")
        self.encoder = encoder if block in (None, depth) else shortened(encoder, block)
        self.pooling = pooling
        self.image_size = encoder.config.image_size
        self.description = f"{pooling} {self.encoder.config}"
        # The wrapper's mode goes with the encoder's, which must stay as it is.
        self.train(encoder.training)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        tokens = self.encoder(fit_channels(images, self.encoder.config.channels))
        return tokens[:, 0] if self.pooling == "cls" else tokens[:, 1:].mean(dim=1)


class PixelFeatures(Embedder):
    """Raw pixels averaged down by boxes to at most 16 a side and flattened: what no learning at all gives."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid = (min(image_size[0], PIXEL_SIDE), min(image_size[1], PIXEL_SIDE))
        self.description = f"pixels {self.grid[0]}x{self.grid[1]} of {image_size[0]}x{image_size[1]}"

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        return F.adaptive_avg_pool2d(images, self.grid).flatten(1)


def shortened(encoder: ViT, depth: int) -> ViT:
    """A copy of an encoder's first blocks, with its final norm after them."""
    with torch.random.fork_rng(devices=[]):
        short = ViT(dataclasses.replace(encoder.config, depth=depth))
    weights = encoder.state_dict()
    short.load_state_dict({name: weights[name] for name in short.state_dict()})
    return short.to(encoder.cls_token.device).train(encoder.training)


def random_twin(model: MaskedAutoencoder, seed: int = RANDOM_SEED) -> MaskedAutoencoder:
    """A model of the same configuration with fresh weights: the control that says what training added.

    Raises TypeError for anything but a MAE or a GMAE.
    """
    if not isinstance(model, MAE | GMAE):
        raise TypeError(f"model: expected a MAE or a GMAE, got {type(model).__name__}")
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    with torch.random.fork_rng(devices=[]):
        twin = MAE(config, generator) if isinstance(config, MAEConfig) else GMAE(config, generator)
    return twin.eval()
