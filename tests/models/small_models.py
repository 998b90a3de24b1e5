"""Models small enough for a test of seconds."""

from __future__ import annotations

from dataclasses import replace

import torch

from splatlearn.models import GMAE, MAE, DecoderConfig, GMAEConfig, MAEConfig, ViTConfig

ENCODER = ViTConfig(embed_dim=24, depth=2, num_heads=3, patch_size=4, image_size=(16, 24))
DECODER = DecoderConfig(embed_dim=16, depth=2, num_heads=2)


def small_mae(seed: int = 0) -> MAE:
    return MAE(MAEConfig(ENCODER, DECODER), torch.Generator().manual_seed(seed))


def small_gmae(seed: int = 0, config: GMAEConfig | None = None) -> GMAE:
    config = config or GMAEConfig(gaussians=12, gaussians_per_query=3)
    return GMAE(replace(config, encoder=ENCODER, decoder=DECODER), torch.Generator().manual_seed(seed))
