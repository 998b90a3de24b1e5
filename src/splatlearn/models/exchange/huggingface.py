"""Models as Hugging Face transformers reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splatlearn.core.errors import InputError
from splatlearn.models.exchange.choices import ExportTarget
from splatlearn.models.exchange.folders import CONFIG_NAME, write_json, write_weights, written_beside
from splatlearn.models.exchange.huggingface_names import to_hf
from splatlearn.models.exchange.layout import (
    colors_as_normalized,
    encoder_weights,
    official_weights,
    raw_inputs,
)
from splatlearn.models.folders.card import CARD_NAME, CardFacts, CardUsage, model_card
from splatlearn.models.gmae import GMAE
from splatlearn.models.mae import MAE
from splatlearn.models.nn.sizes import ViTConfig

PREPROCESSOR_NAME = "preprocessor_config.json"
BICUBIC = 3
"""Pillow's number for it, which is how transformers writes it."""


def export_vit(model: MAE | GMAE, folder: str | Path, facts: CardFacts | None = None) -> Path:
    """Write a model's encoder as a folder for `transformers.ViTModel.from_pretrained`.

    Load it with `add_pooling_layer=False`: a masked autoencoder has no pooler. `preprocessor_config.json` says how
    images are resized and normalised. Returns the folder. Raises InputError where a file has its name.
    """
    config = model.config.encoder
    described = {"architectures": ["ViTModel"], "model_type": "vit", **_encoder_config(config)}
    usage = CardUsage(
        "transformers",
        "from transformers import AutoImageProcessor, ViTModel\n\n"
        'processor = AutoImageProcessor.from_pretrained("FOLDER_OR_HUB_ID")\n'
        'model = ViTModel.from_pretrained("FOLDER_OR_HUB_ID", add_pooling_layer=False)',
    )
    with written_beside(Path(folder)) as beside:
        write_weights(to_hf(encoder_weights(model.encoder)), beside)
        write_json(described, beside / CONFIG_NAME)
        write_json(_preprocessor(config, config.input_mean, config.input_std), beside / PREPROCESSOR_NAME)
        (beside / CARD_NAME).write_text(model_card(model, facts, usage), encoding="utf-8")
    return Path(folder)


def export_vit_mae(
    model: MAE | GMAE,
    folder: str | Path,
    target: ExportTarget,
    mask_ratio: float = 0.75,
    facts: CardFacts | None = None,
) -> Path:
    """Write a MAE, encoder and decoder, as a folder for `transformers.ViTMAEForPreTraining.from_pretrained`.

    - `target`: what the MAE predicts.
    - `mask_ratio`: share of patches that transformers hides when it is asked for a loss.

    Predictions and losses become transformers' own. There, targets are normalised images: a model of `"colors"` gets
    its last layer rescaled to predict those; a model of `"patches"`, whose targets are standardised from images in
    [0, 1], takes such images, with the normalisation in its patch embedding; a model of `"normalized-patches"`, such as
    an imported one that predicts patches, keeps its weights and its normalisation. Returns the folder. Raises
    InputError for a GMAE, images that are not square (which `ViTMAEForPreTraining` does not take) and a file of the
    folder's name.
    """
    if isinstance(model, GMAE):
        raise InputError(
            "model: expected a MAE, got a GMAE, whose decoder transformers does not have; export its encoder (hf)"
        )
    config = model.config.encoder
    if config.image_size[0] != config.image_size[1]:
        raise InputError(
            "model: expected a model of square images, as transformers' ViTMAEForPreTraining requires, got "
            f"{config.image_size[0]}×{config.image_size[1]}; export the encoder alone (hf)"
        )
    weights = official_weights(model)
    mean, std = config.input_mean, config.input_std
    if target == "colors":
        weights = colors_as_normalized(weights, mean, std)
    elif target == "patches":
        weights = raw_inputs(weights, config)
        mean, std = (0.0,) * config.channels, (1.0,) * config.channels
    usage = CardUsage(
        "transformers",
        "from transformers import AutoImageProcessor, ViTMAEForPreTraining\n\n"
        'processor = AutoImageProcessor.from_pretrained("FOLDER_OR_HUB_ID")\n'
        'model = ViTMAEForPreTraining.from_pretrained("FOLDER_OR_HUB_ID")',
    )
    with written_beside(Path(folder)) as beside:
        write_weights(to_hf(weights, "vit."), beside)
        write_json(_mae_config(model, target, mask_ratio), beside / CONFIG_NAME)
        write_json(_preprocessor(config, mean, std), beside / PREPROCESSOR_NAME)
        (beside / CARD_NAME).write_text(model_card(model, facts, usage), encoding="utf-8")
    return Path(folder)


def _encoder_config(config: ViTConfig) -> dict[str, Any]:
    height, width = config.image_size
    return {
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": int(config.embed_dim * config.mlp_ratio),
        "patch_size": config.patch_size,
        "image_size": height if height == width else [height, width],
        "num_channels": config.channels,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def _mae_config(model: MAE, target: ExportTarget, mask_ratio: float) -> dict[str, Any]:
    decoder = model.config.decoder
    return {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        **_encoder_config(model.config.encoder),
        "decoder_hidden_size": decoder.embed_dim,
        "decoder_num_hidden_layers": decoder.depth,
        "decoder_num_attention_heads": decoder.num_heads,
        "decoder_intermediate_size": int(decoder.embed_dim * decoder.mlp_ratio),
        "mask_ratio": mask_ratio,
        "norm_pix_loss": target != "colors",
    }


def _preprocessor(config: ViTConfig, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    height, width = config.image_size
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": any(mean) or any(each != 1 for each in std),
        "image_mean": list(mean),
        "image_std": list(std),
    }
