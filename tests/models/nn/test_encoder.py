import pytest
import torch
import torch.nn.functional as F

from models.small_models import ENCODER
from splatlearn.models import ViT, ViTConfig, patchify, random_mask
from splatlearn.models.nn.encoder import PatchEmbed


@pytest.mark.parametrize(
    ("width", "depth", "heads", "expected"), [(768, 12, 12, 85_798_656), (1024, 24, 16, 303_301_632)]
)
def test_parameter_counts_are_the_published_ones(width: int, depth: int, heads: int, expected: int) -> None:
    with torch.device("meta"):
        encoder = ViT(ViTConfig(width, depth, heads))
    # The published counts include the fixed table of positions.
    assert sum(parameter.numel() for parameter in encoder.parameters()) + encoder.pos_embed.numel() == expected


def test_names_are_timm_s() -> None:
    block = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    layers = ["patch_embed.proj", "norm", *(f"blocks.{index}.{name}" for index in range(2) for name in block)]
    expected = {"cls_token", *(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))}
    state = ViT(ENCODER).state_dict()
    assert set(state) == expected and state["patch_embed.proj.weight"].shape == (24, 3, 4, 4)


def test_patch_embedding_is_a_convolution(generator: torch.Generator) -> None:
    images, embed = torch.rand(2, 3, 8, 12, generator=generator), PatchEmbed(4, 3, 10)
    expected = F.conv2d(images, embed.proj.weight, embed.proj.bias, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(patchify(images, 4)), expected)


def test_hidden_pixels_are_unread(generator: torch.Generator) -> None:
    encoder, images = ViT(ENCODER, generator), torch.rand(1, 3, 16, 24, generator=generator)
    mask = random_mask(1, (4, 6), 0.5, generator)
    changed = torch.where(mask.hidden_pixels(4).unsqueeze(1), 0.0, images)
    assert torch.equal(encoder(images, mask), encoder(changed, mask))
    assert not torch.allclose(encoder(images), encoder(changed))


def test_tokens_follow_the_order_of_the_mask(generator: torch.Generator) -> None:
    encoder, images = ViT(ENCODER, generator).double(), torch.rand(2, 3, 16, 24, generator=generator).double()
    mask = random_mask(2, (4, 6), 0.5, generator)
    turned = type(mask)(mask.visible.flip(1), mask.hidden, mask.grid)
    tokens, expected = encoder(images, turned), encoder(images, mask)
    torch.testing.assert_close(tokens[:, :1], expected[:, :1])
    torch.testing.assert_close(tokens[:, 1:], expected[:, 1:].flip(1))


def test_images_are_normalised_inside(generator: torch.Generator) -> None:
    images = torch.rand(1, 3, 16, 24, generator=generator)
    inside = ViT(ENCODER, torch.Generator().manual_seed(1))
    raw = ViTConfig(24, 2, 3, 4, (16, 24), input_mean=(0.0, 0.0, 0.0), input_std=(1.0, 1.0, 1.0))
    outside = ViT(raw, torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(inside(images), outside(normalised))


def test_initialisation_is_the_official_one() -> None:
    encoder = ViT(ViTConfig(256, 1, 4), torch.Generator().manual_seed(0))
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all()
        elif "norm" in name:
            assert (parameter == 1).all()
        elif parameter.ndim > 1 and name != "cls_token":
            fan_out, fan_in = parameter.flatten(1).shape
            limit = (6 / (fan_in + fan_out)) ** 0.5
            assert parameter.abs().max() <= limit
            # A uniform distribution's standard deviation.
            assert parameter.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert encoder.cls_token.std().item() == pytest.approx(0.02, rel=0.2)


class TestErrors:
    @pytest.mark.parametrize(("width", "heads"), [(24, 5), (6, 3), (0, 1)])
    def test_sizes(self, width: int, heads: int) -> None:
        with pytest.raises(
            ValueError, match=f"embed_dim, depth, num_heads: .* got embed_dim {width}, depth 2, num_heads {heads}"
        ):
            ViTConfig(width, 2, heads)

    def test_config(self) -> None:
        with pytest.raises(ValueError, match="image_size: .* got 16×26; the nearest sizes that work: 16×24 or 16×28"):
            ViTConfig(24, 2, 3, 4, (16, 26))
        with pytest.raises(ValueError, match="input_std: expected one number for each of 3 channels"):
            ViTConfig(24, 2, 3, 4, (16, 24), input_std=(1.0,))
        with pytest.raises(ValueError, match="patch_size, channels: expected positive sizes, got 0 and 3"):
            ViTConfig(24, 2, 3, 0, (16, 24))

    @pytest.mark.usefixtures("no_shape_checks")
    def test_images(self, generator: torch.Generator) -> None:
        encoder, mask = ViT(ENCODER), random_mask(2, (4, 6), generator=generator)
        with pytest.raises(
            TypeError,
            match=r"images: expected a floating-point tensor .* got torch.uint8; convert it",
        ):
            encoder(torch.zeros(2, 3, 16, 24, dtype=torch.uint8))
        with pytest.raises(ValueError, match=r"images: expected shape \[B, 3, H, W\], got \[2, 1, 16, 24\]"):
            encoder(torch.zeros(2, 1, 16, 24))
        with pytest.raises(ValueError, match=r"images: .* got 16×25; the nearest sizes that work: 16×24 or 16×28"):
            encoder(torch.zeros(2, 3, 16, 25))
        with pytest.raises(ValueError, match="mask: expected 2 images of 6×4 patches like images, got 2 of 4×6"):
            encoder(torch.zeros(2, 3, 24, 16), mask)
        with pytest.raises(ValueError, match="mask: expected 3 images of 4×6 patches like images, got 2 of 4×6"):
            encoder(torch.zeros(3, 3, 16, 24), mask)
        with pytest.raises(ValueError, match="mask: expected it on cpu like images, got meta; move it with .to"):
            encoder(torch.zeros(2, 3, 16, 24), mask.to("meta"))
