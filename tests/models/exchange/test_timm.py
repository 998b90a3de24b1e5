"""timm itself is not needed: what its ViT is called and how large it is, is written out here."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from torch import Tensor

from models.exchange.foreign import SQUARE, WIDE, gmae, mae
from splatlearn.models import GMAE, MAE, ViTConfig, create_model
from splatlearn.models.exchange import ImportOptions, export_timm, import_model
from splatlearn.models.exchange.timm import timm_config


def timm_shapes(config: ViTConfig) -> dict[str, list[int]]:
    """Names and shapes of `timm.models.VisionTransformer(num_classes=0)`."""
    d, hidden = config.embed_dim, int(config.embed_dim * config.mlp_ratio)
    tokens = 1 + config.grid[0] * config.grid[1]
    shapes: dict[str, list[int]] = {
        "cls_token": [1, 1, d],
        "pos_embed": [1, tokens, d],
        "patch_embed.proj.weight": [d, config.channels, config.patch_size, config.patch_size],
        "patch_embed.proj.bias": [d],
    }
    for index in range(config.depth):
        for name, shape in {
            "norm1": [d], "attn.qkv": [3 * d, d], "attn.proj": [d, d], "norm2": [d], "mlp.fc1": [hidden, d],
            "mlp.fc2": [d, hidden],
        }.items():  # fmt: skip
            shapes[f"blocks.{index}.{name}.weight"] = shape
            shapes[f"blocks.{index}.{name}.bias"] = shape[:1]
    return {**shapes, "norm.weight": [d], "norm.bias": [d]}


def timm_forward(weights: dict[str, Tensor], images: Tensor, heads: int) -> Tensor:
    """What timm's ViT computes of normalised images, from the weights of a file alone."""

    def linear(values: Tensor, name: str) -> Tensor:
        return values @ weights[f"{name}.weight"].mT + weights[f"{name}.bias"]

    def norm(values: Tensor, name: str) -> Tensor:
        return F.layer_norm(values, values.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    projection = weights["patch_embed.proj.weight"]
    patches = F.conv2d(images, projection, weights["patch_embed.proj.bias"], stride=projection.shape[-1])
    tokens = torch.cat([weights["cls_token"].expand(len(images), -1, -1), patches.flatten(2).mT], dim=1)
    tokens = tokens + weights["pos_embed"]
    depth = sum(name.endswith("attn.qkv.weight") for name in weights)
    for block in (f"blocks.{index}" for index in range(depth)):
        mixed = linear(norm(tokens, f"{block}.norm1"), f"{block}.attn.qkv")
        query, key, value = mixed.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        attention = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value
        tokens = tokens + linear(attention.transpose(1, 2).flatten(2), f"{block}.attn.proj")
        hidden = F.gelu(linear(norm(tokens, f"{block}.norm2"), f"{block}.mlp.fc1"))
        tokens = tokens + linear(hidden, f"{block}.mlp.fc2")
    return norm(tokens, "norm")


@pytest.mark.parametrize("model", [mae(SQUARE), gmae(WIDE)], ids=["mae", "gmae"])
def test_the_folder_gives_our_tokens(model: MAE | GMAE, tmp_path: Path, generator: torch.Generator) -> None:
    assert export_timm(model, tmp_path / "timm") == tmp_path / "timm"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["timm"]
    weights = load_file(tmp_path / "timm" / "model.safetensors")
    config = model.config.encoder
    assert {name: list(value.shape) for name, value in weights.items()} == timm_shapes(config)
    said = json.loads((tmp_path / "timm" / "config.json").read_text())
    mean, std = (torch.tensor(said["pretrained_cfg"][key]).view(3, 1, 1) for key in ("mean", "std"))
    images = torch.rand(2, 3, *config.image_size, generator=generator)
    with torch.no_grad():
        found = timm_forward(weights, (images - mean) / std, said["model_args"]["num_heads"])
        torch.testing.assert_close(found, model.encode(images), atol=1e-5, rtol=1e-5)
    assert said["num_classes"] == said["model_args"]["num_classes"] == 0
    assert said["model_args"]["img_size"] == list(config.image_size)
    assert cast(Any, ModelCard.load(tmp_path / "timm" / "README.md")).data.library_name == "timm"


def test_sizes_that_timm_has_a_name_for() -> None:
    for size, architecture in [("tiny", "vit_tiny_patch16_224"), ("base", "vit_base_patch16_224")]:
        with torch.device("meta"):
            model = create_model(f"mae_vit_{size}_patch16_224")
        said = timm_config(model.config.encoder)
        assert said["architecture"] == architecture and said["pretrained_cfg"]["input_size"] == [3, 224, 224]
    assert timm_config(WIDE)["architecture"] == "vit_base_patch16_224"
    assert timm_config(WIDE)["model_args"]["mlp_ratio"] == 3.0 and timm_config(WIDE)["model_args"]["depth"] == 2


@pytest.mark.parametrize("model", [mae(SQUARE), gmae(WIDE)], ids=["mae", "gmae"])
def test_an_encoder_comes_back(model: MAE | GMAE, tmp_path: Path, generator: torch.Generator) -> None:
    export_timm(model, tmp_path)
    found = import_model(tmp_path, generator=torch.Generator().manual_seed(0))
    assert found.model.config.encoder == model.config.encoder and found.decoder == "fresh"
    images = torch.rand(1, 3, *model.image_size, generator=generator)
    with torch.no_grad():
        assert torch.equal(found.model.encode(images), model.encode(images))
    # The file alone does not say what its config.json does.
    options = ImportOptions(3, image_size=model.image_size, input_mean=model.config.encoder.input_mean)
    again = import_model(tmp_path / "model.safetensors", options)
    assert again.model.config.encoder == model.config.encoder


def test_a_card_of_a_person_s_own_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("My birds.")
    export_timm(mae(), tmp_path)
    assert (tmp_path / "README.md").read_text() == "My birds."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
