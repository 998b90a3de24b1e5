"""A classifier: an encoder, pooling, and one linear layer, with timm's names `fc_norm` and `head`."""

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
        if len(self.classes) < 2:
            raise InputError(f"classes: expected at least two, got {list(self.classes)}")
        if self.pooling not in get_args(Pooling):
            raise InputError(f"pooling: expected one of {', '.join(get_args(Pooling))}, got {shown(self.pooling)}")


class Classifier(nn.Module):
    """An encoder whose pooled tokens a linear head turns into a logit for each class.

    Weights are drawn from `generator` (PyTorch's global one by default): the encoder's as in the official MAE, the
    head's so small that all classes start alike. Source: He et al. 2022, appendix A.1 (global pooling).
    """

    def __init__(self, config: ClassifierConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        embed_dim = config.encoder.embed_dim
        self.encoder = ViT(config.encoder, generator)
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
        """Native height and width, pixels; other multiples of the patch work too."""
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

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B L"]:
        """Logits [B, L] of L classes for images in [0, 1].

        Raises TypeError for images that are not floating-point and ValueError for shapes that do not fit the patch.
        """
        tokens = self.encoder(images)
        pooled = tokens[:, 1:].mean(dim=1) if self.config.pooling == "mean" else tokens[:, 0]
        return self.head(self.fc_norm(pooled))


def classifier_from(
    model: MaskedAutoencoder,
    classes: tuple[str, ...],
    pooling: Pooling = "mean",
    generator: torch.Generator | None = None,
) -> Classifier:
    """A classifier with a copy of a masked autoencoder's encoder, and a fresh head drawn from `generator`.

    With `"mean"` pooling the norm starts afresh too, as in the official code. Raises InputError as `ClassifierConfig`.
    """
    with torch.random.fork_rng(devices=[]):
        classifier = Classifier(ClassifierConfig(classes, model.encoder.config, pooling), generator)
    weights = model.encoder.state_dict()
    if pooling == "mean":
        weights = {name: value for name, value in weights.items() if not name.startswith("norm.")}
    classifier.encoder.load_state_dict(weights)
    return classifier
