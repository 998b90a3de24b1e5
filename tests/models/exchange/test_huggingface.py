import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from transformers import ViTMAEForPreTraining, ViTModel

from models.exchange.foreign import SQUARE, WIDE, gmae, mae, their_mae, their_vit
from splatlearn.models import GMAE, MAE, mask_from_noise, patchify
from splatlearn.models.exchange import Target, export_vit, export_vit_mae, import_model
from splatlearn.objectives import masked_mse

Loaded = tuple[torch.nn.Module, dict[str, set[str]]]


def normalized(images: torch.Tensor, folder: Path) -> torch.Tensor:
    """Images as the folder's preprocessor hands them to the model."""
    said = json.loads((folder / "preprocessor_config.json").read_text())
    assert said["do_rescale"] and said["rescale_factor"] == pytest.approx(1 / 255)
    assert said["size"] == {"height": images.shape[2], "width": images.shape[3]}
    if not said["do_normalize"]:
        return images
    mean, std = (torch.tensor(said[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    return (images - mean) / std


@pytest.mark.parametrize("model", [mae(), gmae(WIDE)], ids=["mae", "gmae"])
def test_vit_model_gives_our_tokens(model: MAE | GMAE, tmp_path: Path, generator: torch.Generator) -> None:
    export_vit(model, tmp_path / "vit")
    theirs, told = cast(Any, ViTModel.from_pretrained)(
        tmp_path / "vit", add_pooling_layer=False, output_loading_info=True
    )
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images = torch.rand(2, 3, *model.image_size, generator=generator)
    with torch.no_grad():
        found = theirs.eval()(normalized(images, tmp_path / "vit")).last_hidden_state
        torch.testing.assert_close(found, model.encode(images), atol=1e-5, rtol=1e-5)
    names = load_file(tmp_path / "vit" / "model.safetensors")
    # What released weights are called, so that older versions read them too.
    assert "encoder.layer.1.attention.attention.query.weight" in names and "layernorm.bias" in names
    assert cast(Any, ModelCard.load(tmp_path / "vit" / "README.md")).data.library_name == "transformers"


@pytest.mark.parametrize("target", ["colors", "patches"])
def test_vit_mae_gives_our_pictures_and_losses(target: Target, tmp_path: Path, generator: torch.Generator) -> None:
    model, images = mae(), torch.rand(3, 3, 16, 16, generator=generator)
    noise = torch.rand(3, 16, generator=generator)
    export_vit_mae(model, tmp_path / "mae", target, mask_ratio=0.5)
    theirs, told = cast(Any, ViTMAEForPreTraining.from_pretrained)(tmp_path / "mae", output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.decoder.decoder_pos_embed.any()
    with torch.no_grad():
        expected = theirs.eval()(normalized(images, tmp_path / "mae"), noise=noise)
        made = model(images, mask_from_noise(noise, (4, 4), 0.5))
    assert torch.equal(made.mask.hidden_patches().float(), expected.mask)
    logits = expected.logits
    if target == "colors":
        std, mean = (torch.tensor(each).repeat(16) for each in (SQUARE.input_std, SQUARE.input_mean))
        logits = logits * std + mean
    torch.testing.assert_close(patchify(made.image, 4), logits, atol=2e-5, rtol=1e-5)
    loss = masked_mse(made.image, images, made.mask, 4, normalize=target == "patches")
    if target == "patches":
        torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    else:
        # Theirs is measured after normalisation.
        per_pixel = ((patchify(made.image, 4) - patchify(images, 4)) / torch.tensor(SQUARE.input_std).repeat(16)) ** 2
        hidden = made.mask.hidden_patches()
        torch.testing.assert_close(per_pixel.mean(-1)[hidden].mean(), expected.loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("target", ["colors", "patches"])
def test_a_mae_comes_back(target: Target, tmp_path: Path, generator: torch.Generator) -> None:
    model, images = mae(), torch.rand(2, 3, 16, 16, generator=generator)
    export_vit_mae(model, tmp_path / "mae", target)
    found = import_model(tmp_path / "mae")
    assert (found.decoder, found.target, found.left_out) == ("imported", target, ())
    mask = mask_from_noise(torch.rand(2, 16, generator=generator), (4, 4), 0.75)
    with torch.no_grad():
        torch.testing.assert_close(found.model(images, mask).image, model(images, mask).image, atol=1e-5, rtol=1e-5)
    if target == "colors":
        assert found.model.config == model.config


@pytest.mark.parametrize("since_5", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_mae_that_transformers_saved(
    since_5: bool, normalize: bool, tmp_path: Path, generator: torch.Generator
) -> None:
    theirs = their_mae(normalize=normalize)
    theirs.save_pretrained(tmp_path)
    if since_5:
        # Names as transformers 5 has them in memory.
        save_file({name: value.clone() for name, value in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    found = import_model(tmp_path)
    config = found.model.config.encoder
    images, noise = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 16, generator=generator)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (config.input_mean, config.input_std))
    with torch.no_grad():
        expected = theirs((images - mean) / std, noise=noise)
        made = found.model(images, mask_from_noise(noise, (4, 4), 0.75))
    logits = expected.logits if normalize else expected.logits * std.flatten().repeat(16) + mean.flatten().repeat(16)
    torch.testing.assert_close(patchify(made.image, 4), logits, atol=1e-5, rtol=1e-5)
    assert found.target == ("patches" if normalize else "colors")


def test_the_loss_of_standardised_patches_outlives_a_round_trip(tmp_path: Path, generator: torch.Generator) -> None:
    theirs = their_mae(normalize=True)
    theirs.save_pretrained(tmp_path / "theirs")
    found = import_model(tmp_path / "theirs")
    assert isinstance(found.model, MAE)
    export_vit_mae(found.model, tmp_path / "back", "normalized-patches")
    again = cast(Any, ViTMAEForPreTraining.from_pretrained)(tmp_path / "back").eval()
    config = found.model.config.encoder
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (config.input_mean, config.input_std))
    images, noise = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 16, generator=generator)
    with torch.no_grad():
        expected = theirs((images - mean) / std, noise=noise)
        made = again(normalized(images, tmp_path / "back"), noise=noise)
    torch.testing.assert_close(made.loss, expected.loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made.logits, expected.logits, atol=1e-5, rtol=1e-5)
    # The library's own targets are those of images in [0, 1]: another loss, which `patches` keeps.
    mask = mask_from_noise(noise, (4, 4), 0.75)
    export_vit_mae(found.model, tmp_path / "own", "patches")
    own = import_model(tmp_path / "own").model
    with torch.no_grad():
        losses = [masked_mse(each(images, mask).image, images, mask, 4, normalize=True) for each in (found.model, own)]
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(losses[0], expected.loss, atol=1e-4)


def test_a_vit_that_transformers_saved(tmp_path: Path, generator: torch.Generator) -> None:
    theirs = their_vit()
    theirs.save_pretrained(tmp_path)
    found = import_model(tmp_path, generator=generator)
    assert found.decoder == "fresh" and found.left_out == ("pooler.dense.bias", "pooler.dense.weight")
    images = torch.rand(2, 3, 16, 16, generator=generator)
    config = found.model.config.encoder
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (config.input_mean, config.input_std))
    with torch.no_grad():
        expected = theirs((images - mean) / std).last_hidden_state
        torch.testing.assert_close(found.model.encode(images), expected, atol=1e-5, rtol=1e-5)


def test_an_encoder_goes_back_into_its_gmae(tmp_path: Path, generator: torch.Generator) -> None:
    first, second = gmae(seed=0), gmae(seed=1)
    kept = second.query_embed.clone()
    export_vit(first, tmp_path / "vit")
    found = import_model(tmp_path / "vit", into=second)
    assert found.model is second and found.decoder == "kept" and torch.equal(second.query_embed, kept)
    images = torch.rand(1, 3, 16, 24, generator=generator)
    with torch.no_grad():
        assert torch.equal(second.encode(images), first.encode(images))


def test_what_has_no_like_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model: expected a MAE, got a GMAE, .* export its encoder"):
        export_vit_mae(gmae(SQUARE), tmp_path / "a", "colors")
    with pytest.raises(ValueError, match="model: expected a model of square images, .* got 16×24; export the encoder"):
        export_vit_mae(mae(WIDE), tmp_path / "a", "colors")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="expected a folder, got the file"):
        export_vit(mae(), tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class TestErrors:
    def change(self, folder: Path, **values: object) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"model_type": "swin"}, "model_type: expected vit or vit_mae, got 'swin'"),
            ({"hidden_act": "relu"}, "hidden_act: expected gelu, got 'relu'"),
            ({"qkv_bias": False}, "qkv_bias: expected True, got False"),
            ({"layer_norm_eps": 0.1}, "layer_norm_eps: expected at most"),
            ({"schema_version": 1}, "expected another project's model, got one of splatlearn"),
            ({"image_size": 32}, "pos_embed: expected 64 positions of a 8×8 grid"),
            ({"num_attention_heads": 5}, "embed_dim, depth, num_heads: expected positive numbers"),
        ],
    )
    def test_configuration(self, values: dict[str, object], message: str, tmp_path: Path) -> None:
        export_vit(mae(), tmp_path)
        self.change(tmp_path, **values)
        with pytest.raises(ValueError, match=message):
            import_model(tmp_path)

    def test_weights(self, tmp_path: Path, generator: torch.Generator) -> None:
        export_vit(mae(), tmp_path)
        path = tmp_path / "model.safetensors"
        whole = load_file(path)
        for name, value, message in [
            ("embeddings.position_embeddings", torch.randn(1, 17, 24, generator=generator), "fixed sin-cos positions"),
            ("layernorm.bias", None, "missing: norm.bias"),
            (
                "encoder.layer.0.attention.attention.key.bias",
                None,
                "expected a query, a key and a value, got only query",
            ),
            ("extra", torch.zeros(1), "unexpected: extra"),
            ("embeddings.patch_embeddings.projection.weight", torch.zeros(24, 3, 4, 2), "expected square patches"),
        ]:
            changed = {key: each for key, each in {**whole, name: value}.items() if each is not None}
            save_file(changed, path)
            with pytest.raises(ValueError, match=message):
                import_model(tmp_path)
        path.write_bytes(b"nothing")
        with pytest.raises(ValueError, match="expected a readable safetensors file"):
            import_model(tmp_path)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"expected a folder with model.safetensors or pytorch_model.bin"):
            import_model(tmp_path)

    def test_another_model_to_go_into(self, tmp_path: Path) -> None:
        export_vit(mae(), tmp_path)
        with pytest.raises(ValueError, match="into: expected a model whose encoder is ViTConfig"):
            import_model(tmp_path, into=gmae())
        with pytest.raises(FileNotFoundError, match="expected an existing file, folder or Hub id owner/name"):
            import_model(tmp_path / "none")
