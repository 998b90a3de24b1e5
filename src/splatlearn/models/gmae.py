"""GMAE: reconstruct images by painting them with 3D Gaussians (arXiv 2501.03229)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.camera import GMAE_DISTANCE, Camera
from splatlearn.gaussians import Gaussians
from splatlearn.models.decoder import DecoderConfig, MaskedAutoencoder, Reconstruction
from splatlearn.models.masking import Grid, Mask
from splatlearn.models.vit import ViTConfig, initialize
from splatlearn.render import render

Rotation = Literal["quaternion", "uniform"]
Layout = Literal["grid", "free"]
Background = Literal["white", "black"] | tuple[float, float, float]

NUMBERS = (3, 3, 4, 3, 1)
"""How many of a Gaussian's 14 numbers are its centre, scale, rotation, colour and opacity, in this order."""


@dataclass(frozen=True)
class GMAEConfig:
    """Sizes of a GMAE and its choices about Gaussians.

    - `gaussians`: K, for an image; `gaussians_per_query`: how many one token of the decoder emits (1 in the paper).
    - `scale_limit`: the paper's c, the largest standard deviation in world units; an image is 2 wide.
    - `rotation`: `"quaternion"` normalises 4 numbers; `"uniform"` maps 3 numbers in (0, 1) by Shoemake's formula, as
      the authors' code does, and ignores the fourth.
    - `background`: `"white"`, `"black"` or an RGB colour in [0, 1].
    - `layout`: `"grid"` adds learnable numbers to the head's, which start as a grid of Gaussians that covers the image;
      `"free"` has no such numbers, so that all Gaussians start near the centre, as in the paper.

    Raises ValueError for numbers that are not positive or do not divide, and unknown names.
    """

    encoder: ViTConfig = field(default_factory=ViTConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    gaussians: int = 256
    gaussians_per_query: int = 1
    scale_limit: float = 1.0
    rotation: Rotation = "quaternion"
    background: Background = "white"
    layout: Layout = "grid"

    def __post_init__(self) -> None:
        if self.encoder.channels != 3:
            raise ValueError(f"channels: expected 3, the colours of a Gaussian, got {self.encoder.channels}")
        if self.gaussians < 1 or self.gaussians_per_query < 1 or self.gaussians % self.gaussians_per_query:
            raise ValueError(
                "gaussians: expected a positive multiple of gaussians_per_query, "
                f"got {self.gaussians} with {self.gaussians_per_query} per query"
            )
        if not (self.scale_limit > 0 and math.isfinite(self.scale_limit)):
            raise ValueError(f"scale_limit: expected a positive number, got {self.scale_limit}")
        if self.rotation not in get_args(Rotation):
            raise ValueError(f"rotation: expected one of {', '.join(get_args(Rotation))}, got {self.rotation!r}")
        if self.layout not in get_args(Layout):
            raise ValueError(f"layout: expected one of {', '.join(get_args(Layout))}, got {self.layout!r}")
        named = self.background in ("white", "black")
        if not named and (isinstance(self.background, str) or len(self.background) != 3):
            raise ValueError(f"background: expected 'white', 'black' or 3 numbers, got {self.background!r}")

    @property
    def queries(self) -> int:
        """Q = K / gaussians_per_query, the decoder's tokens that emit Gaussians."""
        return self.gaussians // self.gaussians_per_query


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
        return Camera.gmae(height, width)

    def _numbers(self, decoded: Tensor) -> Tensor:
        # In bfloat16 a centre would move in steps of half a pixel at 224 px.
        with torch.autocast(decoded.device.type, enabled=False):
            exact = at_least_float32(decoded)
            numbers = F.linear(exact, self.head.weight.to(exact), self.head.bias.to(exact))
        numbers = numbers.unflatten(-1, (-1, sum(NUMBERS))).flatten(1, 2)
        return numbers if self.anchors is None else numbers + self.anchors


def grid_numbers(config: GMAEConfig) -> Float[Tensor, "K 14"]:
    """The numbers of Gaussians whose centres form a grid over the image and whose extents overlap a little.

    The Gaussians of one query lie beside each other. Depth, colour and opacity start in the middle of their ranges.
    """
    shape = _grid_shape(config.queries, config.gaussians_per_query)
    rows, columns, down, across = shape
    y = (torch.arange(rows)[:, None, None, None] * down + torch.arange(down)[:, None] + 0.5) / (rows * down)
    x = (torch.arange(columns)[:, None, None] * across + torch.arange(across) + 0.5) / (columns * across)
    numbers = torch.zeros(config.gaussians, sum(NUMBERS))
    numbers[:, 0] = torch.logit(x.expand(shape).reshape(-1))
    numbers[:, 1] = torch.logit(y.expand(shape).reshape(-1))
    # Seen from a distance of 8, a standard deviation of 8 would span half the image: this is half a grid spacing.
    scale = 0.5 * GMAE_DISTANCE * 2.0 / math.sqrt(config.gaussians)
    share = min(0.9, scale / config.scale_limit)
    numbers[:, 3:6] = math.log(share / (1.0 - share))
    return numbers


def _grid_shape(queries: int, per_query: int) -> tuple[int, int, int, int]:
    """Rows and columns of queries, and of the Gaussians within one, such that the whole is as square as it can be."""
    shapes = [
        (rows, queries // rows, down, per_query // down)
        for rows in range(1, queries + 1)
        for down in range(1, per_query + 1)
        if queries % rows == 0 and per_query % down == 0
    ]

    def lengthiness(shape: tuple[int, int, int, int]) -> tuple[float, float]:
        rows, columns, down, across = shape
        return abs(math.log(rows * down / (columns * across))), abs(math.log(down / across))

    return min(shapes, key=lengthiness)


def gaussians_from_numbers(numbers: Float[Tensor, "*B K 14"], config: GMAEConfig) -> Gaussians:
    """Turn the head's numbers [*B, K, 14] into Gaussians (arXiv 2501.03229, section 3, and the authors' code).

    Centres 2·(sigmoid − 0.5) in (−1, 1), scales c·sigmoid in (0, c), colours and opacities sigmoid, unit quaternions.
    Computed in float32, in float64 for float64 numbers.
    """
    center, scale, rotation, color, opacity = at_least_float32(numbers).split(NUMBERS, dim=-1)
    turn = uniform_quaternions if config.rotation == "uniform" else unit_quaternions
    return Gaussians(
        means=2.0 * (center.sigmoid() - 0.5),
        scales=config.scale_limit * scale.sigmoid(),
        quaternions=turn(rotation),
        colors=color.sigmoid(),
        opacities=opacity.sigmoid().squeeze(-1),
    )


def unit_quaternions(numbers: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Normalise quaternions (w first); one shorter than 1e-4 becomes the identity, without a gradient."""
    identity = torch.eye(4, dtype=numbers.dtype, device=numbers.device)[0]
    tiny = numbers.square().sum(-1, keepdim=True) < 1e-8
    # Replacing before dividing keeps NaN out of the backward pass too.
    return F.normalize(torch.where(tiny, identity, numbers), dim=-1)


def uniform_quaternions(numbers: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Map the sigmoids (u, v, w) of the first 3 numbers to a rotation, uniform where they are (Shoemake 1992)."""
    u, v, w = numbers[..., :3].sigmoid().unbind(-1)
    # The square roots have no finite slope at 0 and 1, where a saturated sigmoid ends up.
    u = u.clamp(1e-6, 1.0 - 1e-6)
    v, w = 2.0 * math.pi * v, 2.0 * math.pi * w
    first, second = (1.0 - u).sqrt(), u.sqrt()
    return torch.stack([first * v.sin(), first * v.cos(), second * w.sin(), second * w.cos()], dim=-1)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()
