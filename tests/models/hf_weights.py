"""Names of weights in transformers' `ViTMAEForPreTraining`, as a map onto those of `splatlearn.models.MAE`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_OUTSIDE = {
    "vit.embeddings.cls_token": "encoder.cls_token",
    "vit.embeddings.patch_embeddings.projection": "encoder.patch_embed.proj",
    "vit.layernorm": "encoder.norm",
    "decoder.decoder_embed": "decoder.embed",
    "decoder.mask_token": "mask_token",
    "decoder.decoder_norm": "decoder.norm",
    "decoder.decoder_pred": "head",
}
_INSIDE = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.o_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_TABLES = ("vit.embeddings.position_embeddings", "decoder.decoder_pos_embed")


def weights_from_hf(theirs: nn.Module) -> dict[str, Tensor]:
    """The state dict of a MAE with the weights of a ViTMAEForPreTraining; position tables are left out."""
    state = theirs.state_dict()
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in _TABLES or ".k_proj." in name or ".v_proj." in name:
            continue
        stem, _, kind = name.rpartition(".")
        if name in _OUTSIDE:
            ours[_OUTSIDE[name]] = value
        elif stem in _OUTSIDE:
            ours[f"{_OUTSIDE[stem]}.{kind}"] = value
        else:
            prefix, index, inside = _split(stem)
            if inside == "attention.q_proj":
                parts = [state[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
                ours[f"{prefix}.{index}.attn.qkv.{kind}"] = torch.cat(parts)
            else:
                ours[f"{prefix}.{index}.{_INSIDE[inside]}.{kind}"] = value
    return ours


def _split(stem: str) -> tuple[str, str, str]:
    for theirs, ours in (("vit.layers.", "encoder.blocks"), ("decoder.decoder_layers.", "decoder.blocks")):
        if stem.startswith(theirs):
            index, _, inside = stem.removeprefix(theirs).partition(".")
            return ours, index, inside
    raise KeyError(stem)
