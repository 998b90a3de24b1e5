"""The weights of a model by name and shape, from its configuration alone: what is compared before anything is built."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import torch
from torch import Tensor

from splatlearn.core.errors import FormatError, InputError, some_of
from splatlearn.core.typed import shown
from splatlearn.models.classifier import Classifier, ClassifierConfig, SplatClassifierConfig
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.heads.gaussian_numbers import NUMBERS
from splatlearn.models.heads.hierarchical_head import nodes
from splatlearn.models.heads.triplane_head import TriplaneHead
from splatlearn.models.mae import MAEConfig
from splatlearn.models.nn.sizes import DecoderConfig, ViTConfig
from splatlearn.models.splats.presets import SplatConfig, model_of

ModelConfig = MAEConfig | GMAEConfig | ClassifierConfig | SplatConfig | SplatClassifierConfig
Shapes = dict[str, tuple[int, ...]]

FLOAT32 = 4
"""Bytes of a weight."""


def weight_shapes(config: ModelConfig) -> Shapes:
    """Name and shape of every weight in the state dict of a model with this configuration."""
    if isinstance(config, SplatConfig | SplatClassifierConfig):
        return _of_splats(config)
    shapes = {f"encoder.{name}": shape for name, shape in _encoder(config.encoder).items()}
    if isinstance(config, ClassifierConfig):
        embed_dim = config.encoder.embed_dim
        if config.pooling == "mean":
            shapes = {name: shape for name, shape in shapes.items() if not name.startswith("encoder.norm.")}
            shapes |= _norm("fc_norm", embed_dim)
        return shapes | _linear("head", embed_dim, len(config.classes))
    decoder = config.decoder
    shapes |= _linear("decoder.embed", config.encoder.embed_dim, decoder.embed_dim) | _blocks("decoder.", decoder)
    if isinstance(config, MAEConfig):
        shapes["mask_token"] = (1, 1, decoder.embed_dim)
        return shapes | _linear("head", decoder.embed_dim, config.encoder.patch_size**2 * config.encoder.channels)
    shapes |= {"query_token": (1, 1, decoder.embed_dim), "query_embed": (1, config.num_queries, decoder.embed_dim)}
    if config.layout == "grid":
        each = nodes(config.gaussians_per_query) if config.heads == "hierarchical" else config.gaussians_per_query
        shapes["anchors"] = (config.num_queries * each, sum(NUMBERS))
    if config.background == "learned":
        shapes["behind"] = (3,)
    if config.heads == "joint":
        return shapes | _linear("head", decoder.embed_dim, config.gaussians_per_query * sum(NUMBERS))
    if config.heads == "hierarchical":
        return shapes | _linear("head.out", decoder.embed_dim, nodes(config.gaussians_per_query) * sum(NUMBERS))
    if config.heads == "triplane":
        return shapes | _triplane(config)
    for index, size in enumerate(NUMBERS):
        shapes |= _linear(f"head.hidden.{index}", decoder.embed_dim, decoder.embed_dim)
        shapes |= _linear(f"head.out.{index}", decoder.embed_dim, config.gaussians_per_query * size)
    return shapes


def _triplane(config: GMAEConfig) -> Shapes:
    with torch.device("meta"):
        return {f"head.{name}": tuple(each.shape) for name, each in TriplaneHead(config).state_dict().items()}


def check_memory(config: ModelConfig) -> None:
    """Raise InputError for a model whose weights are larger than the memory of this machine."""
    wanted = FLOAT32 * sum(math.prod(shape) for shape in weight_shapes(config).values())
    memory = _memory()
    if memory is not None and wanted > memory:
        raise InputError(
            f"config: expected weights that fit into the memory of this machine, {memory / 2**30:.1f} GiB, got sizes "
            f"that need {wanted / 2**30:,.1f} GiB; choose smaller ones"
        )


def check_shapes(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise FormatError naming what is missing, unexpected or of another shape."""
    shared = wanted.keys() & found.keys()
    wrong = {
        "missing": sorted(wanted.keys() - shared),
        "unexpected": sorted(found.keys() - shared),
        "of another shape": [
            f"{_printable(name)} {shown(list(found[name]))} instead of {list(wanted[name])}"
            for name in sorted(shared)
            if tuple(found[name]) != tuple(wanted[name])
        ],
    }
    problems = [f"{what}: {some_of(map(_printable, names))}" for what, names in wrong.items() if names]
    if problems:
        raise FormatError(f"expected the weights of this configuration, got {'; '.join(problems)}")


def check_weights(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise FormatError naming tensors that are missing, unexpected or of another shape."""
    check_shapes(*({name: tuple(value.shape) for name, value in each.items()} for each in (wanted, found)))


def _of_splats(config: SplatConfig | SplatClassifierConfig) -> Shapes:
    """Those of a model of splat sets, which is built without memory for its weights."""
    with torch.device("meta"):
        model = Classifier(config) if isinstance(config, SplatClassifierConfig) else model_of(config)
        return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _encoder(config: ViTConfig) -> Shapes:
    patches = {
        "cls_token": (1, 1, config.embed_dim),
        "patch_embed.proj.weight": (config.embed_dim, config.channels, config.patch_size, config.patch_size),
        "patch_embed.proj.bias": (config.embed_dim,),
    }
    return patches | _blocks("", config)


def _blocks(prefix: str, config: ViTConfig | DecoderConfig) -> Shapes:
    """Blocks and the norm after them."""
    embed_dim, hidden = config.embed_dim, int(config.embed_dim * config.mlp_ratio)
    shapes: Shapes = {}
    for index in range(config.depth):
        block = f"{prefix}blocks.{index}"
        shapes |= _norm(f"{block}.norm1", embed_dim) | _norm(f"{block}.norm2", embed_dim)
        shapes |= _linear(f"{block}.attn.qkv", embed_dim, 3 * embed_dim) | _linear(
            f"{block}.attn.proj", embed_dim, embed_dim
        )
        shapes |= _linear(f"{block}.mlp.fc1", embed_dim, hidden) | _linear(f"{block}.mlp.fc2", hidden, embed_dim)
    return shapes | _norm(f"{prefix}norm", embed_dim)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, embed_dim: int) -> Shapes:
    return {f"{name}.weight": (embed_dim,), f"{name}.bias": (embed_dim,)}


def _memory() -> int | None:
    """Bytes of the machine's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= 200 else shown(name)
