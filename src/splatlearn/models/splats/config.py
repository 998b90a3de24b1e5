"""The sizes of models of splat sets, and their choices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import get_args

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole
from splatlearn.core.typed import shown
from splatlearn.models.nn.sizes import DecoderConfig, check_sizes
from splatlearn.models.splats.options import (
    ALL_ATTRIBUTES,
    Attribute,
    GroupPooling,
    Matching,
    ScaleNumbers,
    Shared,
    TokenizerName,
)
from splatlearn.models.tokenizers.groups import SetTokenizer
from splatlearn.models.tokenizers.morton import MortonGroups
from splatlearn.models.tokenizers.neighbours import NeighbourGroups

TOKENIZERS = {"neighbours": NeighbourGroups, "morton": MortonGroups}
"""The tokenisers by name; each is made of G and k."""


@dataclass(frozen=True)
class SplatEncoderConfig:
    """Sizes of an encoder of splat sets, and how it sees them.

    - `embed_dim`, `depth`, `num_heads`, `mlp_ratio`: as of a Vision Transformer.
    - `draw`: N, the Gaussians of a set that training and probes draw; sets of other sizes work too.
    - `groups`, `group_size`: G tokens of k Gaussians each; `tokenizer`: how they are grouped.
    - `attributes`: those that the encoder sees. Predictions are always of all.
    - `scale_numbers`: `"log"` standardises logarithms of scales by constants; `"paper"` subtracts a set's mean scale
      and divides by its largest norm, statistics that hidden Gaussians are part of.
    - `embed_hidden`: width of the layers that embed a single Gaussian.
    - `group_pooling`: what makes a token of a group: the maximum over its members, or `"soft"`, the pooling layer.
    - `shared`: whether a Gaussian of both a hidden and a visible group is hidden from the encoder, or shown.

    Raises InputError for sizes that are not positive or do not fit, and unknown names.
    """

    embed_dim: int = 384
    depth: int = 12
    num_heads: int = 6
    mlp_ratio: float = 4.0
    draw: int = 1024
    groups: int = 64
    group_size: int = 32
    tokenizer: TokenizerName = "neighbours"
    attributes: tuple[Attribute, ...] = ALL_ATTRIBUTES
    scale_numbers: ScaleNumbers = "log"
    embed_hidden: int = 64
    group_pooling: GroupPooling = "max"
    shared: Shared = "hidden"

    def __post_init__(self) -> None:
        check_sizes(self.embed_dim, self.depth, self.num_heads, self.mlp_ratio)
        for name in ("draw", "groups", "group_size", "embed_hidden"):
            check_whole(name, getattr(self, name), 1)
        choices = {
            "tokenizer": TokenizerName,
            "scale_numbers": ScaleNumbers,
            "group_pooling": GroupPooling,
            "shared": Shared,
        }
        for name, known in choices.items():
            if (value := getattr(self, name)) not in get_args(known):
                raise InputError(f"{name}: expected one of {', '.join(get_args(known))}, got {shown(value)}")
        if not self.attributes or len({*self.attributes} & {*ALL_ATTRIBUTES}) != len(self.attributes):
            raise InputError(
                f"attributes: expected some of {', '.join(ALL_ATTRIBUTES)}, each once, got {shown(self.attributes)}"
            )
        if self.draw < self.make_tokenizer().smallest:
            raise InputError(
                f"draw: expected at least {self.make_tokenizer().smallest} for {self.groups} groups of "
                f"{self.group_size}, got {self.draw}; draw more Gaussians, or choose fewer or smaller groups"
            )

    def make_tokenizer(self, group_size: int | None = None) -> SetTokenizer:
        """The tokeniser of these sizes, or of another size of groups."""
        return TOKENIZERS[self.tokenizer](self.groups, self.group_size if group_size is None else group_size)

    @property
    def reach(self) -> float:
        """The factor that brings positions within a group to about unit size: groups of a surface shrink with √G."""
        return math.sqrt(self.groups) / 2.0


@dataclass(frozen=True)
class SplatMAEConfig:
    """Sizes of a splat-mae.

    - `matching`: the Gaussian that a predicted one's attributes are compared with: the `"nearest"` one, in both
      directions as Chamfer's distance has them, or that of the same `"index"` (official code).
    """

    encoder: SplatEncoderConfig = field(default_factory=SplatEncoderConfig)
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(384, 4, 6))
    matching: Matching = "nearest"

    def __post_init__(self) -> None:
        if self.matching not in get_args(Matching):
            raise InputError(f"matching: expected one of {', '.join(get_args(Matching))}, got {shown(self.matching)}")


@dataclass(frozen=True)
class SplatJEPAConfig:
    """Sizes of a splat-jepa: an encoder, and a predictor with the sizes of a decoder."""

    encoder: SplatEncoderConfig = field(default_factory=SplatEncoderConfig)
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(192, 4, 6))
