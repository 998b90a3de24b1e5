"""The choices about a model of splat sets that options, recipes and configurations name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

TokenizerName = Literal["neighbours", "morton"]
Attribute = Literal["means", "opacities", "scales", "quaternions", "colors"]
ScaleNumbers = Literal["log", "paper"]
GroupPooling = Literal["max", "soft"]
Shared = Literal["hidden", "shown"]
Matching = Literal["nearest", "index"]

ALL_ATTRIBUTES: tuple[Attribute, ...] = ("means", "opacities", "scales", "quaternions", "colors")


@dataclass(frozen=True, kw_only=True)
class SplatOptions:
    """Options of models of splat sets. The preset and the model's name choose what is not given; the defaults shown
    here are those of the default preset."""

    draw: int | None = None
    """Number of Gaussians drawn of each set. Default: 1024."""
    groups: int | None = None
    """Number of groups of a set, each of which is a token. Default: 64."""
    group_size: int | None = None
    """Number of Gaussians of a group. Default: 32."""
    tokenizer: TokenizerName | None = None
    """How groups are made. neighbours: nearest neighbours of farthest points; morton: runs along Morton's curve.
    Default: neighbours."""
    attributes: tuple[Attribute, ...] | None = None
    """Attributes that the encoder sees; predictions are of all. Default: all five."""
    scale_numbers: ScaleNumbers | None = None
    """How scales are normalised. log: by constants of their logarithms; paper: by a set's own mean and largest norm.
    Default: log."""
    group_pooling: GroupPooling | None = None
    """What makes a token of a group. max: a small PointNet; soft: the splats pooling layer. Default: max."""
    shared: Shared | None = None
    """Whether a Gaussian of both a hidden and a visible group is hidden from the encoder or shown. Default: hidden."""
    matching: Matching | None = None
    """The Gaussian that a predicted one is compared with. nearest: the nearest one; index: that of the same index, as
    in the official code. Default: nearest."""
    encoder_depth: int | None = None
    """Number of blocks of the encoder. Default: 12 for small, 6 for tiny, 4 for micro."""
    predictor_depth: int | None = None
    """Number of blocks of the decoder or the predictor. Default: 4 for small, 2 for tiny, 1 for micro."""

    def given(self) -> dict[str, Any]:
        """Return the options that are not left to the preset."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
