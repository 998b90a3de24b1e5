"""A classifier: an encoder, of images or splat sets, pooling, and one linear layer, with timm's names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.core.typed import shown
from splatlearn.models.masked_autoencoder import MaskedAutoencoder
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.encoder import ViT
from splatlearn.models.nn.sizes import ViTConfig
from splatlearn.models.options import Pooling
from splatlearn.models.splats.config import SplatEncoderConfig
from splatlearn.models.splats.encoder import SplatEncoder
from splatlearn.models.splats.splat_jepa import SplatJEPA
from splatlearn.models.splats.splat_mae import SplatMAE

HEAD_STD = 2e-5
"""Standard deviation of the head's first weights (He et al. 2022, official fine-tuning code)."""


@dataclass(frozen=True)
class ClassifierConfig:
    """Sizes of a classifier.

    - `classes`: their names, by number.
    - `encoder`: its sizes.
    - `pooling`: `"mean"` normalises the mean of the patches' tokens, `"cls"` takes the normalised class token.

    Raises InputError for fewer than two classes and an unknown pooling.
    """

    classes: tuple[str, ...]
    encoder: ViTConfig = field(default_factory=ViTConfig)
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        _check(self.classes, self.pooling)


@dataclass(frozen=True)
class SplatClassifierConfig:
    """Sizes of a classifier of splat sets; its fields, and what it raises, are those of `ClassifierConfig`."""

    classes: tuple[str, ...]
    encoder: SplatEncoderConfig = field(default_factory=SplatEncoderConfig)
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        _check(self.classes, self.pooling)


def _check(classes: tuple[str, ...], pooling: str) -> None:
    if len(classes) < 2:
        raise InputError(f"classes: expected at least two, got {list(classes)}")
    if pooling not in get_args(Pooling):
        raise InputError(f"pooling: expected one of {', '.join(get_args(Pooling))}, got {shown(pooling)}")


class Classifier(nn.Module):
    """An encoder whose pooled tokens a linear head turns into a logit for each class.

    Weights are drawn from `generator` (PyTorch's global one by default): the encoder's as in the official MAE, the
    head's so small that all classes start alike. Source: He et al. 2022, appendix A.1 (global pooling).
    """

    def __init__(
        self, config: ClassifierConfig | SplatClassifierConfig, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        embed_dim = config.encoder.embed_dim
        self.encoder: ViT | SplatEncoder = (
            ViT(config.encoder, generator)
            if isinstance(config.encoder, ViTConfig)
            else SplatEncoder(config.encoder, generator)
        )
        self.fc_norm: nn.LayerNorm | nn.Identity = (
            nn.LayerNorm(embed_dim, eps=1e-6) if config.pooling == "mean" else nn.Identity()
        )
        if config.pooling == "mean":
            # As in timm, the norm moves behind the pooling.
            self.encoder.register_module("norm", nn.Identity())
        self.head = nn.Linear(embed_dim, len(config.classes))
        nn.init.trunc_normal_(self.head.weight, std=HEAD_STD, generator=generator)
        nn.init.zeros_(self.head.bias)

    @property
    def image_size(self) -> tuple[int, int]:
        """Native height and width, pixels; other multiples of the patch work too. Only of a classifier of images."""
        assert isinstance(self.config.encoder, ViTConfig)
        return self.config.encoder.image_size

    def set_drop_path(self, rate: float) -> None:
        """Set the stochastic-depth rate of the last block; those of the others grow linearly from 0 at the first.

        Raises InputError for a rate outside [0, 1).
        """
        if not 0.0 <= rate < 1.0:
            raise InputError(f"drop_path: expected a rate of at least 0 and below 1, got {rate}")
        blocks = self.encoder.blocks
        for index, block in enumerate(blocks):
            assert isinstance(block, Block)
            block.drop_path = rate * index / max(len(blocks) - 1, 1)

    def forward(self, samples: Float[Tensor, "B C H W"] | Float[Tensor, "B N 14"]) -> Float[Tensor, "B L"]:
        """Logits [B, L] of L classes for images in [0, 1], or for splat sets of placed attributes.

        Raises as the encoder does for other dtypes and shapes.
        """
        tokens = self.encoder(samples)
        pooled = tokens[:, 1:].mean(dim=1) if self.config.pooling == "mean" else tokens[:, 0]
        return self.head(self.fc_norm(pooled))


def classifier_from(
    model: MaskedAutoencoder | SplatMAE | SplatJEPA,
    classes: tuple[str, ...],
    pooling: Pooling = "mean",
    generator: torch.Generator | None = None,
) -> Classifier:
    """A classifier with a copy of a masked autoencoder's encoder, and a fresh head drawn from `generator`.

    With `"mean"` pooling the norm starts afresh too, as in the official code. Raises InputError as `ClassifierConfig`.
    """
    encoder = model.encoder.config
    kind = ClassifierConfig if isinstance(encoder, ViTConfig) else SplatClassifierConfig
    with torch.random.fork_rng(devices=[]):
        classifier = Classifier(kind(classes, encoder, pooling), generator)  # pyright: ignore[reportArgumentType]
    weights = model.encoder.state_dict()
    if pooling == "mean":
        weights = {name: value for name, value in weights.items() if not name.startswith("norm.")}
    classifier.encoder.load_state_dict(weights)
    return classifier
