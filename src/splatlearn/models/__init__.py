"""Masked autoencoders: masks, a Vision Transformer, MAE and GMAE, by name and on disk."""

from splatlearn.models.classifier import Classifier, ClassifierConfig, classifier_from
from splatlearn.models.decoder import Decoder, DecoderConfig, MaskedAutoencoder, Reconstruction
from splatlearn.models.gaussian_numbers import gaussians_from_numbers
from splatlearn.models.gmae import GMAE
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.io import load_classifier, load_model, load_weights, save_model
from splatlearn.models.mae import MAE, MAEConfig
from splatlearn.models.masking import (
    Mask,
    MaskPattern,
    join_masks,
    mask_from_noise,
    orthogonal_masks,
    orthogonal_masks_from_noise,
    random_mask,
)
from splatlearn.models.patches import patchify, unpatchify
from splatlearn.models.presets import ModelOptions, complete_options, create_model, model_config, named_model
from splatlearn.models.vit import ViT, ViTConfig

__all__ = [
    "GMAE",
    "MAE",
    "Classifier",
    "ClassifierConfig",
    "Decoder",
    "DecoderConfig",
    "GMAEConfig",
    "MAEConfig",
    "Mask",
    "MaskPattern",
    "MaskedAutoencoder",
    "ModelOptions",
    "Reconstruction",
    "ViT",
    "ViTConfig",
    "classifier_from",
    "complete_options",
    "create_model",
    "gaussians_from_numbers",
    "join_masks",
    "load_classifier",
    "load_model",
    "load_weights",
    "mask_from_noise",
    "model_config",
    "named_model",
    "orthogonal_masks",
    "orthogonal_masks_from_noise",
    "patchify",
    "random_mask",
    "save_model",
    "unpatchify",
]
