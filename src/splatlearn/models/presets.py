"""Models by name."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, ParamSpec, Protocol, cast, get_args, runtime_checkable

import torch

from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_whole
from splatlearn.core.typed import shown
from splatlearn.models.folders.weight_shapes import check_memory
from splatlearn.models.gmae import GMAE
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.mae import MAE, MAEConfig
from splatlearn.models.nn.sizes import DecoderConfig, ViTConfig
from splatlearn.models.options import GaussianOptions, ModelOptions, Preset

PAPER_DECODER = DecoderConfig(512, 8, 16)

ENCODERS = {
    "micro": (128, 6, 2),
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
"""Width, depth and heads of the encoders; micro is for studies of many runs on a CPU."""

DEFAULT_DECODERS = {
    "micro": DecoderConfig(128, 2, 2),
    "tiny": DecoderConfig(192, 4, 3),
    "small": DecoderConfig(256, 4, 8),
}
"""Decoders of the default preset that are smaller than the paper's; a GMAE has one block of them."""

DEFAULT_GAUSSIANS: dict[str, Any] = {
    "gaussians": 512,
    "gaussians_per_query": 8,
    "color": "linear",
    "background": "learned",
    "initial_scale": 1.0,
}
"""What the default preset chooses about Gaussians beside a grid of normalised quaternions; see the documentation's page
about choices for how they were found."""
PAPER_GAUSSIANS: dict[str, Any] = {"rotation": "uniform", "layout": "free"}
"""Choices of the paper preset that differ from the defaults of a configuration."""

Keywords = ParamSpec("Keywords")

_NAME = re.compile(r"(?P<kind>mae|gmae)_vit_(?P<size>[a-z]+)_patch(?P<patch>[1-9]\d{0,5})_(?P<side>[1-9]\d{0,5})")


@runtime_checkable
class _Create(Protocol[Keywords]):
    """`create_model` with the options as keywords."""

    def __call__(
        self,
        name: str,
        preset: Preset = "default",
        seed: int | None = None,
        options: ModelOptions | None = None,
        *none: Keywords.args,
        **changes: Keywords.kwargs,
    ) -> MAE | GMAE: ...


def _taking(options: Callable[Keywords, ModelOptions]) -> Callable[[Callable[..., MAE | GMAE]], _Create[Keywords]]:
    """Tell type checkers and editors that a function of any keywords takes those of these options."""
    return lambda function: cast(_Create[Keywords], function)


@_taking(ModelOptions)
def create_model(
    name: str, preset: Preset = "default", seed: int | None = None, options: ModelOptions | None = None, **changes: Any
) -> MAE | GMAE:
    """Build a model with fresh weights.

    - `name`: `{mae|gmae}_vit_{micro|tiny|small|base|large|huge}_patch{P}_{image size}`, any sizes that divide.
    - `preset`: `"paper"` for the published choices (arXiv 2111.06377, 2501.03229), but for the first bias of the patch
      embedding, which is 0 here and drawn in the official code; `"default"`: 512 Gaussians, eight of a query, that
      start as a grid, with normalised quaternions and colours without a bound over a learned background, and smaller
      decoders for encoders up to small, of one block in a GMAE.
    - `seed`: of the weights; None draws them from PyTorch's global generator, which is otherwise left alone.
    - `options`: see `ModelOptions`. Its fields may also be given as keywords, which win unless they are None.

    Raises InputError for an unknown name or preset, sizes that do not fit each other or the memory of this machine, and
    options that the model does not have.
    """
    keywords = ModelOptions(**changes)
    config = model_config(name, preset, replace(options or ModelOptions(), **keywords.given()))
    check_memory(config)
    if seed is not None:
        check_whole("seed", seed, -(2**63), 2**64 - 1)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    # Layers draw weights as they are made, before ours replace them.
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        return MAE(config, generator) if isinstance(config, MAEConfig) else GMAE(config, generator)


def model_config(name: str, preset: Preset = "default", options: ModelOptions | None = None) -> MAEConfig | GMAEConfig:
    """The configuration that `create_model` builds; raises as it does."""
    if preset not in get_args(Preset):
        raise InputError(f"preset: expected one of {', '.join(get_args(Preset))}, got {preset!r}")
    check_kind("name", name, str)
    kind, size, patch_size, side = _parse(name)
    given = (options or ModelOptions()).given()
    encoder = ViTConfig(*ENCODERS[size], patch_size=patch_size, image_size=given.pop("image_size", (side, side)))
    decoder = PAPER_DECODER if preset == "paper" else default_decoder(kind, size)
    names = [name for name in given if name.startswith("decoder_")]
    decoder = replace(decoder, **{name.removeprefix("decoder_"): given.pop(name) for name in names})
    if kind == "mae":
        if given:
            raise InputError(f"{', '.join(given)}: expected no options about Gaussians for {name!r}; use a gmae_ model")
        return MAEConfig(encoder, decoder)
    chosen: dict[str, Any] = PAPER_GAUSSIANS if preset == "paper" else DEFAULT_GAUSSIANS
    for option in ("gaussians", "gaussians_per_query"):
        if option in given:
            check_whole(option, given[option])
    if preset == "default" and "gaussians" in given:
        # So that every number of Gaussians can be asked for alone.
        chosen = {**chosen, "gaussians_per_query": math.gcd(given["gaussians"], chosen["gaussians_per_query"])}
    return GMAEConfig(encoder, decoder, **{**chosen, **given})


def default_decoder(kind: str, size: str) -> DecoderConfig:
    """The default preset's decoder of a mae or gmae with an encoder of this size."""
    if size not in DEFAULT_DECODERS:
        return PAPER_DECODER
    decoder = DEFAULT_DECODERS[size]
    return replace(decoder, depth=1) if kind == "gmae" else decoder


def complete_options(name: str, preset: Preset = "default", options: ModelOptions | None = None) -> ModelOptions:
    """The options with the preset's choices in place of None, as far as the kind of model has them.

    They fix the model whatever a preset becomes. Raises as `create_model` does.
    """
    options = options or ModelOptions()
    _, chosen = named_model(model_config(name, preset, options))
    return replace(chosen, **options.given())


def named_model(config: MAEConfig | GMAEConfig) -> tuple[str, ModelOptions]:
    """The name and the options of a configuration, such that `model_config(name, options=options)` is the same again.

    All options that the kind of model has are given, so that no preset matters. Raises InputError for a configuration
    that no name says, such as that of an imported encoder of other sizes.
    """
    encoder, decoder = config.encoder, config.decoder
    if encoder.channels != 3:
        raise InputError(f"config: expected an encoder of RGB images, got one of {encoder.channels} channels")
    sizes = (encoder.embed_dim, encoder.depth, encoder.num_heads)
    size = next((name for name, known in ENCODERS.items() if known == sizes), None)
    kind = "gmae" if isinstance(config, GMAEConfig) else "mae"
    name = f"{kind}_vit_{size}_patch{encoder.patch_size}_{encoder.image_size[0]}"
    options = {each.name: getattr(config, each.name) for each in fields(GaussianOptions) if kind == "gmae"}
    options |= {f"decoder_{each}": getattr(decoder, each) for each in ("embed_dim", "depth", "num_heads")}
    given = ModelOptions(**options)
    if encoder.image_size[0] != encoder.image_size[1]:
        given = replace(given, image_size=encoder.image_size)
    if size is None or model_config(name, options=given) != config:
        raise InputError(f"config: expected the sizes of an encoder vit_{{{'|'.join(ENCODERS)}}}, got {encoder}")
    return name, given


def _parse(name: str) -> tuple[str, str, int, int]:
    match = _NAME.fullmatch(name)
    if match is None or match["size"] not in ENCODERS:
        numbers = re.search(r"patch([1-9]\d{0,5})_([1-9]\d{0,5})", name)
        patch_size, side = numbers.groups() if numbers else ("16", "224")
        known = [f"{kind}_vit_{size}_patch{patch_size}_{side}" for kind in ("mae", "gmae") for size in ENCODERS]
        closest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"name: expected {{mae|gmae}}_vit_{{{'|'.join(ENCODERS)}}}_patch{{P}}_{{image size}}, got {shown(name)}; "
            f"did you mean {closest!r}?"
        )
    return match["kind"], match["size"], int(match["patch"]), int(match["side"])
