"""Names of weights in transformers' ViT models, as a map onto those of the official MAE code."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from splatlearn.core.errors import InputError

_PARTS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
    "decoder.mask_token": "mask_token",
    "decoder.decoder_pos_embed": "decoder_pos_embed",
    "decoder.decoder_embed": "decoder_embed",
    "decoder.decoder_norm": "decoder_norm",
    "decoder.decoder_pred": "decoder_pred",
}
_IN_A_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
# transformers 5 has names of its own in memory and, for the decoder's blocks, on disk.
_IN_A_BLOCK_SINCE_5 = {"attention.o_proj": "attn.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
_QKV = ("query", "key", "value")
_BLOCK = re.compile(r"(?:(decoder)\.decoder_(?:layers|encoder\.layer)|(?:encoder\.layer|layers))\.(\d+)\.(.*)\.(\w+)")


def has_hf_names(weights: Mapping[str, object]) -> bool:
    """Whether weights are named as transformers names those of a ViT."""
    return any(name.endswith("embeddings.cls_token") for name in weights)


def to_hf(weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Weights of the official layout under the names in transformers' files, which all of its versions read.

    `prefix`: before the encoder's names, `vit.` in models that have more than an encoder.
    """
    outside = {theirs: ours for ours, theirs in _PARTS.items()}
    inside = {theirs: ours for ours, theirs in _IN_A_BLOCK.items()}
    named: dict[str, Tensor] = {}
    for name, value in weights.items():
        block = re.fullmatch(r"(decoder_)?blocks\.(\d+)\.(.*)\.(\w+)", name)
        if block is None:
            stem, _, kind = name.rpartition(".")
            found = outside[name] if name in outside else f"{outside[stem]}.{kind}"
            named[found if found.startswith("decoder.") else prefix + found] = value
            continue
        where = f"decoder.decoder_layers.{block[2]}" if block[1] else f"{prefix}encoder.layer.{block[2]}"
        if block[3] == "attn.qkv":
            for part, third in zip(_QKV, value.chunk(3), strict=True):
                named[f"{where}.attention.attention.{part}.{block[4]}"] = third
        else:
            named[f"{where}.{inside[block[3]]}.{block[4]}"] = value
    return named


def from_hf(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a transformers ViT or ViTMAE, of a file or in memory, under the names of the official layout.

    Names that these models do not have stay as they are. Raises InputError where a query, key or value lacks its like.
    """
    named: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    known = {**_IN_A_BLOCK, **_IN_A_BLOCK_SINCE_5}
    for name, value in weights.items():
        bare = name.removeprefix("vit.")
        stem, _, kind = bare.rpartition(".")
        block = _BLOCK.fullmatch(bare)
        if bare in _PARTS or stem in _PARTS:
            named[_PARTS[bare] if bare in _PARTS else f"{_PARTS[stem]}.{kind}"] = value
        elif block is None:
            named[name] = value
        else:
            where = f"{'decoder_' if block[1] else ''}blocks.{block[2]}"
            third = re.fullmatch(r"attention\.(?:attention\.(query|key|value)|([qkv])_proj)", block[3])
            if third is not None:
                part = third[1] or {"q": "query", "k": "key", "v": "value"}[third[2]]
                thirds.setdefault(f"{where}.attn.qkv.{block[4]}", {})[part] = value
            else:
                named[f"{where}.{known[block[3]]}.{block[4]}" if block[3] in known else name] = value
    for name, parts in thirds.items():
        if len(parts) < 3:
            raise InputError(f"{name}: expected a query, a key and a value, got only {', '.join(parts)}")
        if len({(each.shape, each.dtype) for each in parts.values()}) > 1 or not parts["query"].ndim:
            shapes = ", ".join(str(list(each.shape)) for each in parts.values())
            raise InputError(f"{name}: expected a query, a key and a value of one shape and type, got {shapes}")
        named[name] = torch.cat([parts[part] for part in _QKV])
    return named
