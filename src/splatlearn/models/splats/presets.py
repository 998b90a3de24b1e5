"""Models of splat sets by name."""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, replace
from typing import Any, get_args

import torch

from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_whole
from splatlearn.core.typed import shown
from splatlearn.models.nn.sizes import DecoderConfig
from splatlearn.models.options import Preset
from splatlearn.models.splats.config import SplatEncoderConfig, SplatJEPAConfig, SplatMAEConfig
from splatlearn.models.splats.options import SplatOptions
from splatlearn.models.splats.splat_jepa import SplatJEPA
from splatlearn.models.splats.splat_mae import SplatMAE

SplatModel = SplatMAE | SplatJEPA
SplatConfig = SplatMAEConfig | SplatJEPAConfig

SPLAT_ENCODERS = {"micro": (128, 4, 2), "tiny": (192, 6, 3), "small": (384, 12, 6)}
"""Width, depth and heads of the encoders of splat sets; small is the published one."""
SPLAT_DECODERS = {
    "micro": DecoderConfig(128, 1, 2),
    "tiny": DecoderConfig(192, 2, 3),
    "small": DecoderConfig(384, 4, 6),
}
PAPER: dict[str, Any] = {"scale_numbers": "paper", "shared": "shown"}
"""What the paper preset chooses about an encoder."""

_NAME = re.compile(r"(?P<kind>splat-mae|splat-jepa)_vit_(?P<size>[a-z]+)")


def create_splat_model(
    name: str, preset: Preset = "default", seed: int | None = None, options: SplatOptions | None = None
) -> SplatModel:
    """Build a model of splat sets with fresh weights.

    - `name`: `{splat-mae|splat-jepa}_vit_{micro|tiny|small}`.
    - `preset`: `"paper"` for the published choices: attributes compared by index, a set's own statistics of scales, and
      Gaussians of hidden groups shown where a visible group has them too.
    - `seed`: of the weights; None draws them from PyTorch's global generator, which is otherwise left alone.
    - `options`: see `SplatOptions`.

    Raises InputError for an unknown name or preset and sizes that do not fit.
    """
    config = splat_config(name, preset, options)
    if seed is not None:
        check_whole("seed", seed, -(2**63), 2**64 - 1)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    # Layers draw weights as they are made, before ours replace them.
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        return model_of(config, generator)


def model_of(config: SplatConfig, generator: torch.Generator | None = None) -> SplatModel:
    """A model of a configuration, with fresh weights."""
    return SplatMAE(config, generator) if isinstance(config, SplatMAEConfig) else SplatJEPA(config, generator)


def splat_config(name: str, preset: Preset = "default", options: SplatOptions | None = None) -> SplatConfig:
    """The configuration that `create_splat_model` builds; raises as it does."""
    if preset not in get_args(Preset):
        raise InputError(f"preset: expected one of {', '.join(get_args(Preset))}, got {preset!r}")
    check_kind("name", name, str)
    match = _NAME.fullmatch(name)
    if match is None or match["size"] not in SPLAT_ENCODERS:
        known = [f"{kind}_vit_{size}" for kind in ("splat-mae", "splat-jepa") for size in SPLAT_ENCODERS]
        closest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"name: expected {{splat-mae|splat-jepa}}_vit_{{{'|'.join(SPLAT_ENCODERS)}}}, got {shown(name)}; "
            f"did you mean {closest!r}?"
        )
    given = (options or SplatOptions()).given()
    embed_dim, depth, num_heads = SPLAT_ENCODERS[match["size"]]
    decoder = SPLAT_DECODERS[match["size"]]
    if "predictor_depth" in given:
        decoder = replace(decoder, depth=given.pop("predictor_depth"))
    matching = given.pop("matching", "index" if preset == "paper" else "nearest")
    sizes = {"embed_dim": embed_dim, "depth": given.pop("encoder_depth", depth), "num_heads": num_heads}
    encoder = SplatEncoderConfig(**{**sizes, **(PAPER if preset == "paper" else {}), **given})
    if match["kind"] == "splat-mae":
        return SplatMAEConfig(encoder, decoder, matching)
    return SplatJEPAConfig(encoder, decoder)


def complete_splat_options(name: str, preset: Preset = "default", options: SplatOptions | None = None) -> SplatOptions:
    """The options with the preset's choices in place of None, so that they fix the model whatever a preset becomes."""
    return options_of(splat_config(name, preset, options))


def options_of(config: SplatConfig) -> SplatOptions:
    """The options that fix a configuration beside its name."""
    values = asdict(config.encoder)
    values["encoder_depth"], values["predictor_depth"] = values["depth"], config.decoder.depth
    if isinstance(config, SplatMAEConfig):
        values["matching"] = config.matching
    known = SplatOptions.__dataclass_fields__
    return SplatOptions(**{key: value for key, value in values.items() if key in known})


def splat_model_name(config: SplatConfig) -> str:
    """The name of a configuration. Raises InputError for widths that no name says."""
    kind = "splat-mae" if isinstance(config, SplatMAEConfig) else "splat-jepa"
    for size, (embed_dim, _, num_heads) in SPLAT_ENCODERS.items():
        if (embed_dim, num_heads) == (config.encoder.embed_dim, config.encoder.num_heads):
            return f"{kind}_vit_{size}"
    raise InputError(f"config: expected the width of a {{{'|'.join(SPLAT_ENCODERS)}}} encoder, got {config.encoder}")
