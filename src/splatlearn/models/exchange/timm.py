"""Encoders as timm reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splatlearn.models.exchange.folders import CONFIG_NAME, WEIGHTS_NAME, write_json, write_weights, written_beside
from splatlearn.models.exchange.layout import encoder_weights
from splatlearn.models.folders.card import CARD_NAME, CardFacts, CardUsage, model_card
from splatlearn.models.gmae import GMAE
from splatlearn.models.mae import MAE
from splatlearn.models.nn.sizes import ViTConfig

_ARCHITECTURES = {
    (192, 12, 3): "vit_tiny_patch16_224",
    (384, 12, 6): "vit_small_patch16_224",
    (768, 12, 12): "vit_base_patch16_224",
    (1024, 24, 16): "vit_large_patch16_224",
    (1280, 32, 16): "vit_huge_patch14_224",
}
"""timm's names of encoders by width, depth and heads; others are described as arguments of the base one."""


def export_timm(model: MAE | GMAE, folder: str | Path, facts: CardFacts | None = None) -> Path:
    """Write a model's encoder as a folder that timm loads: `model.safetensors`, `config.json` and a card.

    The weights have timm's names, with the table of positions and without a classifier. Of the folder,
    `timm.create_model("local-dir:FOLDER", pretrained=True)` makes the encoder with its sizes, mean and standard
    deviation; `timm.create_model(ARCHITECTURE, num_classes=0, checkpoint_path="FOLDER/model.safetensors")` does where
    the sizes are the architecture's own, else with the `model_args` of `config.json`. Either normalises no images:
    its `pretrained_cfg` says with what. Returns the folder. Raises InputError where a file has its name.
    """
    target = Path(folder)
    config = model.config.encoder
    described = timm_config(config)
    with written_beside(target) as beside:
        write_weights(encoder_weights(model.encoder), beside)
        write_json(described, beside / CONFIG_NAME)
        (beside / CARD_NAME).write_text(model_card(model, facts, _usage(described)), encoding="utf-8")
    return target


def timm_config(config: ViTConfig) -> dict[str, Any]:
    """What timm's `config.json` says of an encoder: an architecture, arguments that fix its sizes, and its images."""
    sizes = (config.embed_dim, config.depth, config.num_heads)
    return {
        "architecture": _ARCHITECTURES.get(sizes, "vit_base_patch16_224"),
        "num_classes": 0,
        "num_features": config.embed_dim,
        "global_pool": "token",
        "model_args": {
            "img_size": list(config.image_size), "patch_size": config.patch_size, "in_chans": config.channels,
            "embed_dim": config.embed_dim, "depth": config.depth, "num_heads": config.num_heads,
            "mlp_ratio": config.mlp_ratio, "global_pool": "token", "num_classes": 0,
        },
        "pretrained_cfg": {
            "tag": "splatlearn", "custom_load": False, "num_classes": 0,
            "input_size": [config.channels, *config.image_size], "fixed_input_size": True,
            "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center", "pool_size": None,
            "mean": list(config.input_mean), "std": list(config.input_std),
            "first_conv": "patch_embed.proj", "classifier": "head",
        },
    }  # fmt: skip


def _usage(described: dict[str, Any]) -> CardUsage:
    code = 'import timm\n\nmodel = timm.create_model("local-dir:FOLDER", pretrained=True)'
    note = (
        f"`{WEIGHTS_NAME}` has timm's names and no classifier: `checkpoint_path` takes it too, for "
        f"`{described['architecture']}` with the `model_args` of `{CONFIG_NAME}`. Images are to be normalised with the "
        "mean and standard deviation of its `pretrained_cfg`."
    )
    return CardUsage("timm", code, note)
