"""Files as the official MAE code writes them, compared with transformers' ViTMAE of the same weights."""

import argparse
from pathlib import Path

import pytest
import torch

from models.exchange.foreign import SQUARE, official_file, their_mae
from splatlearn.models import mask_from_noise, patchify
from splatlearn.models.exchange import ImportOptions, import_model, standardized_picture

HEADS = ImportOptions(num_heads=3, decoder_num_heads=2)
MEAN, STD = (torch.tensor(each).view(3, 1, 1) for each in (SQUARE.input_mean, SQUARE.input_std))


def options(**more: object) -> ImportOptions:
    return ImportOptions(num_heads=3, decoder_num_heads=2, **more)  # type: ignore[arg-type]


def test_encoder_and_decoder_reconstruct(tmp_path: Path, generator: torch.Generator) -> None:
    theirs = their_mae()
    torch.save({"model": official_file(theirs)}, tmp_path / "mae_visualize_vit_small.pth")
    found = import_model(tmp_path / "mae_visualize_vit_small.pth", options(target="colors"))
    assert (found.decoder, found.target, found.left_out) == ("imported", "colors", ())
    images, noise = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 16, generator=generator)
    with torch.no_grad():
        expected = theirs((images - MEAN) / STD, noise=noise)
        made = found.model(images, mask_from_noise(noise, (4, 4), 0.75))
    # Theirs predicts normalised colours, ours colours.
    painted = theirs.unpatchify(expected.logits) * STD + MEAN
    torch.testing.assert_close(made.image, painted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made.latent.shape, torch.Size([2, 5, 24]))


@pytest.mark.parametrize("told", ["options", "file"])
def test_standardised_patches_become_a_picture(told: str, tmp_path: Path, generator: torch.Generator) -> None:
    theirs = their_mae(normalize=True)
    content: dict[str, object] = {"model": official_file(theirs), "epoch": 799}
    if told == "file":
        content["args"] = argparse.Namespace(norm_pix_loss=True, mask_ratio=0.75, output_dir="out")
    torch.save(content, tmp_path / "full.pth")
    found = import_model(tmp_path / "full.pth", options(target="patches") if told == "options" else HEADS)
    assert found.target == "patches"
    images, noise = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 16, generator=generator)
    normal = (images - MEAN) / STD
    with torch.no_grad():
        expected = theirs(normal, noise=noise)
        made = found.model(images, mask_from_noise(noise, (4, 4), 0.75))
    torch.testing.assert_close(patchify(made.image, 4), expected.logits, atol=1e-5, rtol=1e-5)
    # By the definition of their targets, patch by patch.
    patches = theirs.patchify(normal)
    undone = expected.logits * (patches.var(-1, keepdim=True) + 1e-6).sqrt() + patches.mean(-1, keepdim=True)
    wanted = (theirs.unpatchify(undone) * STD + MEAN).clamp(0, 1)
    shown = standardized_picture(made.image, images, found.model.config.encoder)
    torch.testing.assert_close(shown, wanted, atol=1e-5, rtol=1e-5)


def test_perfect_predictions_show_the_photo(generator: torch.Generator) -> None:
    images = torch.rand(1, 3, 16, 24, generator=generator)
    normal = (images - MEAN) / STD
    patches = patchify(normal, 4)
    standard = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    prediction = standard.unflatten(1, (4, 6)).unflatten(3, (4, 4, 3)).permute(0, 5, 1, 3, 2, 4).reshape(1, 3, 16, 24)
    shown = standardized_picture(prediction, images, SQUARE)
    torch.testing.assert_close(shown, images, atol=1e-5, rtol=1e-5)


def test_an_encoder_alone(tmp_path: Path, generator: torch.Generator) -> None:
    theirs = their_mae()
    alone = {name: value for name, value in official_file(theirs).items() if "decoder" not in name}
    del alone["mask_token"]
    torch.save({"model": {f"module.{name}": value.half() for name, value in alone.items()}}, tmp_path / "mae.pth")
    found = import_model(tmp_path / "mae.pth", HEADS, generator=torch.Generator().manual_seed(0))
    assert (found.decoder, found.target) == ("fresh", None)
    images = torch.rand(1, 3, 16, 16, generator=generator)
    with torch.no_grad():
        expected = theirs.vit((images - MEAN) / STD, noise=torch.arange(16.0).unsqueeze(0)).last_hidden_state
        made = found.model(images, mask_from_noise(torch.arange(16.0).unsqueeze(0), (4, 4), 0.75))
    torch.testing.assert_close(made.latent, expected, atol=0.05, rtol=0.05)
    again = import_model(tmp_path / "mae.pth", HEADS, generator=torch.Generator().manual_seed(0))
    weights, same = found.model.state_dict(), again.model.state_dict()
    assert torch.equal(weights["head.weight"], same["head.weight"])


class TestErrors:
    def test_what_the_file_does_not_say(self, tmp_path: Path) -> None:
        file = tmp_path / "mae.pth"
        torch.save({"model": official_file(their_mae())}, file)
        with pytest.raises(ValueError, match="target: expected colors or patches, which the file does not say"):
            import_model(file, HEADS)
        with pytest.raises(ValueError, match="num_heads: the weights do not contain the number .* an embed_dim of 24"):
            import_model(file)
        with pytest.raises(ValueError, match="decoder_num_heads: .* an embed_dim of 16.* --decoder-num-heads"):
            import_model(file, ImportOptions(num_heads=3, target="colors"))
        with pytest.raises(ValueError, match="pos_embed: expected 24 positions of a 4×6 grid .* name the image_size"):
            import_model(file, options(image_size=(16, 24)))

    def test_positions(self, tmp_path: Path, generator: torch.Generator) -> None:
        weights = official_file(their_mae())
        file = tmp_path / "mae.pth"
        learned = {**weights, "decoder_pos_embed": torch.zeros(1, 17, 16)}
        torch.save(learned, file)
        with pytest.raises(ValueError, match="decoder_pos_embed: expected the fixed sin-cos positions .* up to 1 away"):
            import_model(file, options(target="colors"))
        shifted = weights["decoder_pos_embed"].clone()
        shifted[:, 0] = 1.0
        torch.save({**weights, "decoder_pos_embed": shifted}, file)
        with pytest.raises(ValueError, match="decoder_pos_embed: expected zeros for the class token"):
            import_model(file, options(target="colors"))
        torch.save({**weights, "pos_embed": weights["pos_embed"][:, :16]}, file)
        with pytest.raises(ValueError, match="image_size: 15 position embeddings do not form a square grid"):
            import_model(file, HEADS)

    def test_files_that_are_something_else(self, tmp_path: Path) -> None:
        file = tmp_path / "mae.pth"

        class Stranger:
            pass

        for content, message in [
            ({"model": {"a": 1}}, "expected a dictionary of tensors, got one of a"),
            ([torch.zeros(1)], "expected a dictionary of tensors, got list"),
            ({"weight": torch.zeros(1)}, "patch_embed.proj.weight: expected weights of a ViT or a MAE"),
        ]:
            torch.save(content, file)
            with pytest.raises(ValueError, match=message):
                import_model(file, HEADS)
        for raw in (b"", b"nothing", b"PK\x03\x04 half"):
            file.write_bytes(raw)
            with pytest.raises(ValueError, match="expected a PyTorch file of tensors and plain values alone"):
                import_model(file, HEADS)

    def test_code_is_not_run(self, tmp_path: Path) -> None:
        torch.save({"model": official_file(their_mae()), "args": Path("out")}, tmp_path / "mae.pth")
        with pytest.raises(ValueError, match="expected a PyTorch file of tensors and plain values alone"):
            import_model(tmp_path / "mae.pth", HEADS)
