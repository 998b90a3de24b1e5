import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from models.hf_weights import weights_from_hf
from models.small_models import small_mae
from splatlearn.models import MAE, DecoderConfig, MAEConfig, ViTConfig, mask_from_noise, patchify, random_mask
from splatlearn.models.nn.positions import sincos_positions
from splatlearn.objectives import masked_mse


def pair(image_size: tuple[int, int], normalize: bool = False) -> tuple[MAE, ViTMAEForPreTraining]:
    """Ours and theirs with the same random weights, for patches of 8 px."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        theirs = ViTMAEForPreTraining(
            ViTMAEConfig(
                hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192,
                layer_norm_eps=1e-6, image_size=image_size, patch_size=8, norm_pix_loss=normalize,
                decoder_hidden_size=32, decoder_num_hidden_layers=2, decoder_num_attention_heads=2,
                decoder_intermediate_size=128,
            )
        ).eval()  # fmt: skip
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                # Fresh biases are zero and norms one, which would hide a swapped pair.
                parameter.add_(0.05 * torch.randn_like(parameter))
        # Theirs fills tables for a square grid whatever the image, and empties the decoder's after making it; both
        # come with released weights, which this test has none of.
        grid = (image_size[0] // 8, image_size[1] // 8)
        theirs.vit.embeddings.position_embeddings.copy_(sincos_positions(grid, 48))
        theirs.decoder.decoder_pos_embed.copy_(sincos_positions(grid, 32))
    encoder = ViTConfig(48, 3, 4, 8, image_size, input_mean=(0.0, 0.0, 0.0), input_std=(1.0, 1.0, 1.0))
    ours = MAE(MAEConfig(encoder, DecoderConfig(32, 2, 2))).eval()
    ours.load_state_dict(weights_from_hf(theirs))
    return ours, theirs


@pytest.mark.parametrize("normalize", [False, True])
def test_equals_transformers(generator: torch.Generator, normalize: bool) -> None:
    ours, theirs = pair((32, 32), normalize)
    images = torch.randn(3, 3, 32, 32, generator=generator)
    noise = torch.rand(3, 16, generator=generator)
    with torch.no_grad():
        expected = theirs(images, noise=noise)
        made = ours(images, mask_from_noise(noise, (4, 4), 0.75))
    assert torch.equal(made.mask.hidden_patches().float(), expected.mask)
    torch.testing.assert_close(patchify(made.image, 8), expected.logits, atol=1e-5, rtol=1e-5)
    loss = masked_mse(made.image, images, made.mask, 8, normalize)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)


def test_equals_transformers_on_a_grid_that_is_not_square(generator: torch.Generator) -> None:
    ours, theirs = pair((16, 64))
    images = torch.randn(2, 3, 16, 64, generator=generator)
    noise = torch.rand(2, 16, generator=generator)
    with torch.no_grad():
        encoded = theirs.vit(images, noise=noise)
        expected = theirs.decoder(encoded.last_hidden_state, encoded.ids_restore).logits
        made = ours(images, mask_from_noise(noise, (2, 8), 0.75))
    torch.testing.assert_close(made.latent, encoded.last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(patchify(made.image, 8), expected, atol=1e-5, rtol=1e-5)
    target = theirs.patchify(images, interpolate_pos_encoding=True)
    loss = (((expected - target) ** 2).mean(-1) * encoded.mask).sum() / encoded.mask.sum()
    torch.testing.assert_close(masked_mse(made.image, images, made.mask, 8), loss, atol=1e-5, rtol=1e-5)


def test_base_has_as_many_parameters_as_transformers() -> None:
    with torch.device("meta"):
        theirs = ViTMAEForPreTraining(ViTMAEConfig())
        ours = MAE(MAEConfig())
    learnt = sum(parameter.numel() for parameter in theirs.parameters() if parameter.requires_grad)
    assert sum(parameter.numel() for parameter in ours.parameters()) == learnt


def test_the_same_mask_gives_the_same_output(generator: torch.Generator) -> None:
    model, images = small_mae(), torch.rand(2, 3, 16, 24, generator=generator)
    mask = random_mask(2, (4, 6), generator=generator)
    first, second = model(images, mask), model(images, mask)
    assert torch.equal(first.image, second.image) and torch.equal(first.latent, second.latent)
    assert first.image.shape == images.shape and first.latent.shape == (2, 7, 24)
    assert first.mask is mask and first.gaussians is None


def test_encoding_uses_no_mask_and_no_randomness(generator: torch.Generator) -> None:
    model, images = small_mae(), torch.rand(2, 3, 16, 24, generator=generator)
    tokens = model.encode(images)
    assert tokens.shape == (2, 25, 24) and torch.equal(tokens, model.encode(images))
    map_ = model.feature_map(images)
    assert map_.shape == (2, 24, 4, 6) and torch.equal(map_[:, :, 1, 2], tokens[:, 1 + 6 + 2])


def test_other_sizes_than_the_native_one(generator: torch.Generator) -> None:
    model, images = small_mae(), torch.rand(1, 3, 20, 12, generator=generator)
    assert model(images, random_mask(1, (5, 3), generator=generator)).image.shape == images.shape
    assert model.feature_map(images).shape == (1, 24, 5, 3)
    assert model.patch_size == 4 and model.image_size == (16, 24)


def test_every_parameter_gets_a_gradient(generator: torch.Generator) -> None:
    model, images = small_mae(), torch.rand(2, 3, 16, 24, generator=generator)
    mask = random_mask(2, (4, 6), generator=generator)
    masked_mse(model(images, mask).image, images, mask, 4).backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_a_mask_of_another_grid(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="mask: expected 1 images of 4×6 patches like images, got 1 of 6×4"):
        small_mae()(torch.rand(1, 3, 16, 24, generator=generator), random_mask(1, (6, 4), generator=generator))


def test_without_visible_patches_the_hidden_ones_are_the_same(generator: torch.Generator) -> None:
    model, images = small_mae(), torch.rand(2, 3, 16, 24, generator=generator)
    mask = random_mask(2, (4, 6), generator=generator)
    gradients = []
    for visible in (True, False):
        model.zero_grad()
        made = model(images, mask, visible=visible)
        masked_mse(made.image, images, mask, model.patch_size, normalize=True).backward()
        gradients.append([torch.zeros(1) if each.grad is None else each.grad.clone() for each in model.parameters()])
    whole, part = model(images, mask).image, model(images, mask, visible=False).image
    torch.testing.assert_close(part, whole * mask.hidden_pixels(4).unsqueeze(1), atol=1e-6, rtol=1e-5)
    assert whole.abs().sum() > part.abs().sum() > 0
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-6, rtol=1e-4)
