"""Models of other projects as ours: official MAE files, timm's encoders, transformers' ViT and ViTMAE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from splatlearn.core.checks import check_stored
from splatlearn.core.errors import FormatError, InputError
from splatlearn.models.exchange.choices import Target
from splatlearn.models.exchange.huggingface_names import from_hf, has_hf_names
from splatlearn.models.exchange.layout import (
    blocks_in,
    is_decoder,
    normalized_as_colors,
    official_name,
    own_weights,
    without_positions,
)
from splatlearn.models.exchange.own import refuse_own
from splatlearn.models.exchange.sources import ImportOptions, read_source
from splatlearn.models.folders.weight_shapes import check_memory, check_shapes, weight_shapes
from splatlearn.models.gmae import GMAE
from splatlearn.models.mae import MAE, MAEConfig
from splatlearn.models.nn.sizes import IMAGENET_MEAN, IMAGENET_STD, DecoderConfig, ViTConfig
from splatlearn.models.presets import DEFAULT_DECODERS, ENCODERS, PAPER_DECODER

HEADS = {embed_dim: num_heads for embed_dim, _, num_heads in ENCODERS.values()}
"""Attention heads of encoders by their width."""
DECODER_HEADS = {512: 16}
"""Attention heads of decoders by their width."""
_LEFT_OUT = ("head.", "head_drop.", "fc_norm.", "classifier.", "pooler.", "n_averaged")


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
    refuse_own(found.weights, found.name)
    try:
        named = from_hf(found.weights) if has_hf_names(found.weights) else found.weights
    except InputError as error:
        raise InputError(f"{found.name}: {error}") from error
    left_out = tuple(sorted(name for name in named if name.startswith(_LEFT_OUT)))
    try:
        weights = {name: _numbers(name, value) for name, value in named.items() if name not in left_out}
        return _build(weights, found.known, into, generator, left_out)
    except FormatError as error:
        raise FormatError(f"{found.name}: {error}") from error
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
    has_decoder = "decoder_pred.weight" in weights
    if into is not None or not has_decoder:
        encoder = {name: value for name, value in weights.items() if not is_decoder(name)}
        if into is not None and into.config.encoder != config:
            raise InputError(f"into: expected a model whose encoder is {config}, got {into.config.encoder}")
        fresh = MAEConfig(config, DEFAULT_DECODERS.get(_named_size(config), PAPER_DECODER))
        _check(encoder, fresh, positions=("pos_embed",))
        encoder = without_positions(encoder, "pos_embed", "cls_token", config.grid, config.embed_dim)
        model = into or _fresh(fresh, generator)
        model.encoder.load_state_dict(encoder)
        return Imported(model.eval(), "fresh" if into is None else "kept", None, left_out)
    whole = MAEConfig(config, _decoder_config(weights, known))
    _check(weights, whole, positions=("pos_embed", "decoder_pos_embed"))
    weights = without_positions(weights, "pos_embed", "cls_token", config.grid, config.embed_dim)
    if known.target is None:
        raise InputError(
            "target: expected colors or patches, which the file does not say; official files named mae_visualize_… "
            "predict colors, those named mae_pretrain_…_full predict patches"
        )
    weights = without_positions(weights, "decoder_pos_embed", None, config.grid, whole.decoder.embed_dim)
    if known.target == "colors":
        weights = normalized_as_colors(weights, config.input_mean, config.input_std)
    model = _fresh(whole, generator)
    model.load_state_dict(own_weights(weights))
    return Imported(model.eval(), "imported", known.target, left_out)


def _check(weights: Mapping[str, Tensor], config: MAEConfig, positions: tuple[str, ...]) -> None:
    """Compare the weights, tables of positions apart, with a configuration before a model of its sizes is built."""
    wanted = {official_name(name): shape for name, shape in weight_shapes(config).items()}
    if "decoder_pos_embed" not in positions:
        wanted = {name: shape for name, shape in wanted.items() if not is_decoder(name)}
    for name in positions:
        _needed(weights, name, 3)
    check_shapes(wanted, {name: tuple(value.shape) for name, value in weights.items() if name not in positions})
    check_memory(config)


def _numbers(name: str, value: Tensor) -> Tensor:
    """A tensor in float32; raises InputError for one that holds other than floating-point numbers in memory.

    Raises FormatError for numbers that are not finite.
    """
    plain = value.layout == torch.strided and value.device.type == "cpu" and value.is_floating_point()
    if not plain:
        raise InputError(
            f"{name}: expected floating-point numbers in memory, got {value.dtype}, {value.layout}, on {value.device}"
        )
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(f"{name}: expected {value.numel():,} numbers, got an expanded tensor, which stores fewer")
    check_stored(name, value.detach())
    return value.detach().float()


def _encoder_config(weights: Mapping[str, Tensor], known: ImportOptions) -> ViTConfig:
    embed, embed_dim, ratio = _sizes(weights, "blocks", "patch_embed.proj.weight", 4)
    channels, patch_size = embed.shape[1], embed.shape[-1]
    if embed.shape[-2] != patch_size:
        raise InputError(f"patch_embed.proj.weight: expected square patches, got shape {list(embed.shape)}")
    positions = _needed(weights, "pos_embed", 3).shape[1] - 1
    size = known.image_size
    if size is None:
        side = math.isqrt(max(0, positions))
        if side * side != positions:
            raise InputError(
                f"image_size: {positions} position embeddings do not form a square grid; name the height and width "
                "that the model is for with --image-size"
            )
        size = (side * patch_size, side * patch_size)
    return ViTConfig(
        embed_dim=embed_dim,
        depth=blocks_in(weights, "blocks"),
        num_heads=_heads("num_heads", known.num_heads, embed_dim, HEADS),
        patch_size=patch_size,
        image_size=size,
        mlp_ratio=ratio,
        channels=channels,
        input_mean=known.input_mean or (IMAGENET_MEAN if channels == 3 else (0.5,) * channels),
        input_std=known.input_std or (IMAGENET_STD if channels == 3 else (0.5,) * channels),
    )


def _decoder_config(weights: Mapping[str, Tensor], known: ImportOptions) -> DecoderConfig:
    _, embed_dim, ratio = _sizes(weights, "decoder_blocks", "decoder_embed.weight", 2)
    num_heads = _heads("decoder_num_heads", known.decoder_num_heads, embed_dim, DECODER_HEADS)
    return DecoderConfig(embed_dim, blocks_in(weights, "decoder_blocks"), num_heads, ratio)


def _sizes(weights: Mapping[str, Tensor], blocks: str, embed: str, axes: int) -> tuple[Tensor, int, float]:
    """Return the embedding's weight, which must have `axes` axes, its output width, and the MLP ratio of the blocks."""
    weight = _needed(weights, embed, axes)
    embed_dim, hidden = weight.shape[0], _needed(weights, f"{blocks}.0.mlp.fc1.weight", 2).shape[0]
    ratio = hidden / embed_dim
    return weight, embed_dim, ratio if int(embed_dim * ratio) == hidden else math.nextafter(ratio, math.inf)


def _needed(weights: Mapping[str, Tensor], name: str, axes: int) -> Tensor:
    """Return a tensor that sizes are read from; raises InputError unless it exists and has `axes` axes."""
    if name not in weights:
        raise InputError(
            f"{name}: expected weights of a ViT or a MAE by timm's, transformers' or the official names, "
            f"got none of that name among {', '.join(sorted(weights)[:3])}…"
        )
    if weights[name].ndim != axes or not weights[name].numel():
        raise InputError(f"{name}: expected a tensor of {axes} axes, got shape {list(weights[name].shape)}")
    return weights[name]


def _heads(name: str, given: int | None, embed_dim: int, usual: Mapping[int, int]) -> int:
    if given is None and embed_dim not in usual:
        raise InputError(
            f"{name}: the weights do not contain the number of attention heads, and there is no usual number for an "
            f"embed_dim of {embed_dim}; give it with --{name.replace('_', '-')}"
        )
    return given if given is not None else usual[embed_dim]


def _named_size(config: ViTConfig) -> str:
    """The name of the encoder of this width, whose decoder a fresh one is like."""
    return next((name for name, sizes in ENCODERS.items() if sizes[0] == config.embed_dim), "base")


def _fresh(config: MAEConfig, generator: torch.Generator | None) -> MAE:
    with torch.random.fork_rng(devices=[]):
        return MAE(config, generator)
