"""Models that can be written in every layout, and transformers' own with the same weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import ViTConfig as TheirViTConfig
from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTModel

from models.hf_weights import weights_from_hf
from splatlearn.models import GMAE, MAE, DecoderConfig, GMAEConfig, MAEConfig, ViTConfig
from splatlearn.models.nn.positions import sincos_positions

SQUARE = ViTConfig(embed_dim=24, depth=2, num_heads=3, patch_size=4, image_size=(16, 16))
WIDE = ViTConfig(
    embed_dim=24, depth=2, num_heads=3, patch_size=4, image_size=(16, 24), mlp_ratio=3.0, input_mean=(0.1, 0.2, 0.3)
)
DECODER = DecoderConfig(embed_dim=16, depth=2, num_heads=2)


def shaken(model: nn.Module, seed: int) -> None:
    """Move every learnt weight: fresh biases are zero and norms one, which would hide a swapped pair."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def mae(encoder: ViTConfig = SQUARE, seed: int = 0) -> MAE:
    model = MAE(MAEConfig(encoder, DECODER), torch.Generator().manual_seed(seed))
    shaken(model, seed)
    return model.eval()


def gmae(encoder: ViTConfig = WIDE, seed: int = 0) -> GMAE:
    config = GMAEConfig(encoder, DECODER, gaussians=12, gaussians_per_query=3)
    model = GMAE(config, torch.Generator().manual_seed(seed))
    shaken(model, seed)
    return model.eval()


def their_mae(seed: int = 1, normalize: bool = False) -> ViTMAEForPreTraining:
    """transformers' ViTMAE of the sizes of `mae()`, with random weights and the tables of released ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ViTMAEForPreTraining(
            ViTMAEConfig(
                hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, layer_norm_eps=1e-6,
                image_size=16, patch_size=4, norm_pix_loss=normalize, decoder_hidden_size=16,
                decoder_num_hidden_layers=2, decoder_num_attention_heads=2, decoder_intermediate_size=64,
            )
        )  # fmt: skip
    shaken(model, seed)
    with torch.no_grad():
        model.vit.embeddings.position_embeddings.copy_(sincos_positions((4, 4), 24))
        model.decoder.decoder_pos_embed.copy_(sincos_positions((4, 4), 16))
    return model.eval()


def their_vit(seed: int = 1) -> ViTModel:
    """transformers' ViT with a pooler, a table of positions as MAE's, and something of its own for the class token."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ViTModel(
            TheirViTConfig(
                hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, layer_norm_eps=1e-6,
                image_size=16, patch_size=4,
            )
        )  # fmt: skip
    shaken(model, seed)
    with torch.no_grad():
        table = sincos_positions((4, 4), 24)
        table[0] = 0.3
        model.embeddings.position_embeddings.copy_(table)
    return model.eval()


_OFFICIAL = {
    "encoder.": "",
    "decoder.embed.": "decoder_embed.",
    "decoder.blocks.": "decoder_blocks.",
    "decoder.norm.": "decoder_norm.",
    "head.": "decoder_pred.",
    "mask_token": "mask_token",
}


def official_file(theirs: ViTMAEForPreTraining) -> dict[str, Tensor]:
    """The weights of transformers' ViTMAE as an official checkpoint's "model" names them, in its order."""
    ours = weights_from_hf(theirs)
    named = {
        "cls_token": ours["encoder.cls_token"],
        "pos_embed": theirs.vit.embeddings.position_embeddings.detach(),
        "mask_token": ours["mask_token"],
        "decoder_pos_embed": theirs.decoder.decoder_pos_embed.detach(),
    }
    for name, value in ours.items():
        prefix = next(each for each in _OFFICIAL if name.startswith(each))
        named[_OFFICIAL[prefix] + name.removeprefix(prefix)] = value
    return named
