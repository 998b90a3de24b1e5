"""Models of other projects as ours: official MAE files, timm's encoders, transformers' ViT and ViTMAE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.decoder import DecoderConfig
from splatlearn.models.exchange.choices import Target
from splatlearn.models.exchange.huggingface_names import from_hf, has_hf_names
from splatlearn.models.exchange.layout import (
    blocks_in,
    is_decoder,
    normalized_as_colors,
    own_weights,
    without_positions,
)
from splatlearn.models.exchange.sources import ImportOptions, read_source
from splatlearn.models.gmae import GMAE
from splatlearn.models.mae import MAE, MAEConfig
from splatlearn.models.presets import DEFAULT_DECODERS, ENCODERS, PAPER_DECODER
from splatlearn.models.vit import IMAGENET_MEAN, IMAGENET_STD, ViTConfig
from splatlearn.models.weight_shapes import check_weights

HEADS = {width: heads for width, _, heads in ENCODERS.values()}
"""Attention heads of encoders by their width."""
DECODER_HEADS = {512: 16}
"""Attention heads of decoders by their width."""
_LEFT_OUT = ("head.", "head_drop.", "fc_norm.", "classifier.", "pooler.")


@dataclass(frozen=True, eq=False)
class Imported:
    """A model made of another project's weights, in evaluation mode.

    - `model`: with the decoder that came along, that of the model it went into, or else a fresh one.
    - `decoder`: which of these it is: `"imported"`, `"kept"` or `"fresh"`.
    - `target`: what an imported decoder predicts; None for the others. One of `"patches"` standardises patches of
      images normalised as the encoder's are, so that `standardized_picture` shows what it painted.
    - `left_out`: names of weights that have no place here, such as a classifier's.
    """

    model: MAE | GMAE
    decoder: str
    target: Target | None
    left_out: tuple[str, ...]


def import_model(
    source: str | Path,
    options: ImportOptions | None = None,
    into: MAE | GMAE | None = None,
    generator: torch.Generator | None = None,
) -> Imported:
    """Make a model of official MAE weights, a timm encoder, or a `ViTModel` or `ViTMAEForPreTraining` of transformers.

    - `source`: a `.pth`, `.pt`, `.bin` or `.safetensors` file, a folder that timm or transformers wrote, or a Hub id.
    - `options`: what the files do not say.
    - `into`: a model whose encoder the weights replace, its decoder kept; it is changed.
    - `generator`: draws the decoder where none comes along.

    A decoder that predicts normalised colours gets its last layer rescaled, so that the result predicts colours in
    [0, 1]. Raises FileNotFoundError where there is no such source, and ValueError for weights that do not make such a
    model: learned positions, missing or unknown names, sizes that do not fit, and a target that nobody has told.
    """
    found = read_source(source, options)
    named = from_hf(found.weights) if has_hf_names(found.weights) else found.weights
    left_out = tuple(sorted(name for name in named if name.startswith(_LEFT_OUT)))
    weights = {name: value.float() for name, value in named.items() if name not in left_out}
    try:
        return _build(weights, found.known, into, generator, left_out)
    except ValueError as error:
        raise InputError(f"{found.name}: {error}") from error


def _build(
    weights: dict[str, Tensor],
    known: ImportOptions,
    into: MAE | GMAE | None,
    generator: torch.Generator | None,
    left_out: tuple[str, ...],
) -> Imported:
    config = _encoder_config(weights, known)
    weights = without_positions(weights, "pos_embed", "cls_token", config.grid)
    has_decoder = "decoder_pred.weight" in weights
    if into is not None or not has_decoder:
        encoder = {name: value for name, value in weights.items() if not is_decoder(name)}
        model = into or _with_fresh_decoder(config, generator)
        if model.config.encoder != config:
            raise InputError(f"into: expected a model whose encoder is {config}, got {model.config.encoder}")
        check_weights(model.encoder.state_dict(), encoder)
        model.encoder.load_state_dict(encoder)
        return Imported(model.eval(), "fresh" if into is None else "kept", None, left_out)
    if known.target is None:
        raise InputError(
            "target: expected colors or patches, which the file does not say; official files named mae_visualize_… "
            "predict colors, those named mae_pretrain_…_full predict patches"
        )
    weights = without_positions(weights, "decoder_pos_embed", None, config.grid)
    if known.target == "colors":
        weights = normalized_as_colors(weights, config.input_mean, config.input_std)
    with torch.random.fork_rng(devices=[]):
        model = MAE(MAEConfig(config, _decoder_config(weights, known)), generator)
    ours = own_weights(weights)
    check_weights(model.state_dict(), ours)
    model.load_state_dict(ours)
    return Imported(model.eval(), "imported", known.target, left_out)


def _encoder_config(weights: Mapping[str, Tensor], known: ImportOptions) -> ViTConfig:
    embed, width, ratio = _sizes(weights, "blocks", "patch_embed.proj.weight")
    channels, patch = embed.shape[1], embed.shape[-1]
    if embed.ndim != 4 or embed.shape[-2] != patch:
        raise InputError(f"patch_embed.proj.weight: expected square patches, got shape {list(embed.shape)}")
    positions = _needed(weights, "pos_embed").shape[1] - 1
    size = known.image_size
    if size is None:
        side = math.isqrt(positions)
        if side * side != positions:
            raise InputError(f"image_size: expected it to be told, for {positions} positions are no square; got none")
        size = (side * patch, side * patch)
    return ViTConfig(
        width=width,
        depth=blocks_in(weights, "blocks"),
        heads=_heads("heads", known.heads, width, HEADS),
        patch=patch,
        image_size=size,
        mlp_ratio=ratio,
        channels=channels,
        input_mean=known.input_mean or (IMAGENET_MEAN if channels == 3 else (0.5,) * channels),
        input_std=known.input_std or (IMAGENET_STD if channels == 3 else (0.5,) * channels),
    )


def _decoder_config(weights: Mapping[str, Tensor], known: ImportOptions) -> DecoderConfig:
    _, width, ratio = _sizes(weights, "decoder_blocks", "decoder_embed.weight")
    heads = _heads("decoder_heads", known.decoder_heads, width, DECODER_HEADS)
    return DecoderConfig(width, blocks_in(weights, "decoder_blocks"), heads, ratio)


def _sizes(weights: Mapping[str, Tensor], blocks: str, embed: str) -> tuple[Tensor, int, float]:
    """The embedding's weight, the width it leads to, and the blocks' MLP ratio."""
    weight = _needed(weights, embed)
    width, hidden = weight.shape[0], _needed(weights, f"{blocks}.0.mlp.fc1.weight").shape[0]
    ratio = hidden / width
    return weight, width, ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _needed(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise InputError(
            f"{name}: expected weights of a ViT or a MAE by timm's, transformers' or the official names, "
            f"got none of that name among {', '.join(sorted(weights)[:3])}…"
        )
    return weights[name]


def _heads(name: str, told: int | None, width: int, usual: Mapping[int, int]) -> int:
    if told is None and width not in usual:
        raise InputError(f"{name}: expected to be told how many there are at a width of {width}, got none")
    return told if told is not None else usual[width]


def _with_fresh_decoder(config: ViTConfig, generator: torch.Generator | None) -> MAE:
    size = next((name for name, sizes in ENCODERS.items() if sizes[0] == config.width), "base")
    with torch.random.fork_rng(devices=[]):
        return MAE(MAEConfig(config, DEFAULT_DECODERS.get(size, PAPER_DECODER)), generator)
