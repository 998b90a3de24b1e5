"""PSNR against scikit-image, and the reconstruction scores of models whose answer is known."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from splatlearn.evaluation import evaluating, hidden_psnr, masked_psnr, mean_of_visible, shown_image
from splatlearn.models import patchify, random_mask, unpatchify
from splatlearn.models.masked_autoencoder import MaskedAutoencoder, MaskedConfig, MaskedOutput
from splatlearn.models.nn.sizes import DecoderConfig, ViTConfig
from splatlearn.objectives import normalize_patches


class Offset(MaskedAutoencoder):
    """Predicts every pixel too bright by a constant."""

    def __init__(self, offset):
        encoder = ViTConfig(8, 1, 1, patch_size=4, image_size=(8, 16))
        super().__init__(MaskedConfig(encoder, DecoderConfig(8, 1, 1)), None)
        self.offset = offset

    def forward(self, images, mask):
        assert not self.training
        assert not torch.is_grad_enabled()
        return MaskedOutput(images + self.offset, mask, torch.zeros(len(images), 1, 8))


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 8, 16, generator=generator) * 0.5


def test_it_counts_the_hidden_pixels_alone(images):
    hidden = torch.zeros(3, 8, 16, dtype=torch.bool)
    hidden[:, 2:5, 3:9] = True
    prediction = torch.where(hidden.unsqueeze(1), images + 0.1, images + 0.4)
    torch.testing.assert_close(
        hidden_psnr(prediction, images, hidden), torch.full((3,), 20.0, dtype=torch.float64), atol=1e-4, rtol=0
    )
    np.testing.assert_array_equal(hidden_psnr(images, images, hidden).numpy(), math.inf)


def test_it_is_that_of_scikit_image(images, generator):
    other = torch.rand(images.shape, generator=generator)
    hidden = torch.rand(3, 8, 16, generator=generator) < 0.5
    expected = [
        peak_signal_noise_ratio(a[:, where].numpy(), b[:, where].numpy(), data_range=1)
        for a, b, where in zip(images, other, hidden, strict=True)
    ]
    np.testing.assert_allclose(hidden_psnr(other, images, hidden).numpy(), expected, rtol=1e-6)


def test_it_names_what_does_not_fit(images, no_shape_checks):
    hidden = torch.ones(3, 8, 16, dtype=torch.bool)
    with pytest.raises(
        ValueError, match=r"targets: expected shape \[2, 3 or 4, 8, 16\] like images, got \[3, 3, 8, 16\]"
    ):
        hidden_psnr(images[:2], images, hidden)
    with pytest.raises(ValueError, match=r"weights: expected .*\[3, 8, 16\], got \[3, 8, 8\]"):
        hidden_psnr(images, images, hidden[..., :8])
    hidden[1] = False
    with pytest.raises(ValueError, match="weights: expected a weight above 0 in each picture"):
        hidden_psnr(images, images, hidden)


def test_mean_of_visible_is_the_mean_of_each_channel(images):
    hidden = random_mask(3, (2, 4), 0.5, torch.Generator().manual_seed(1)).hidden_pixels(4)
    painted = mean_of_visible(images, hidden)
    assert painted.shape == images.shape
    for image, covered, result in zip(images, hidden, painted, strict=True):
        expected = image[:, ~covered].mean(dim=1)
        torch.testing.assert_close(result, expected[:, None, None].expand_as(result))


def test_mean_of_visible_needs_a_visible_pixel(images):
    with pytest.raises(ValueError, match="hidden_pixels: expected at least one pixel"):
        mean_of_visible(images, torch.ones(3, 8, 16, dtype=torch.bool))


def test_masked_psnr_of_a_known_error(images, generator):
    mask = random_mask(3, (2, 4), 0.75, generator)
    scores = masked_psnr(Offset(0.1), images, mask)
    hidden = mask.hidden_pixels(4)
    assert scores["masked_psnr_model"] == pytest.approx(20.0, abs=1e-3)
    baseline = hidden_psnr(mean_of_visible(images, hidden), images, hidden).mean()
    assert scores["masked_psnr_mean"] == pytest.approx(float(baseline))


def test_normalised_predictions_are_shown_in_the_colours_of_the_original(images):
    normalized = unpatchify(normalize_patches(patchify(images, 4)), 4, (2, 4))
    torch.testing.assert_close(shown_image(normalized, images, 4, normalized=True), images)


def test_shown_images_are_clipped(images):
    shown = shown_image(images * 4 - 1, images, 4)
    torch.testing.assert_close(shown, (images * 4 - 1).clamp(0, 1))


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_leaves_the_mode_as_it_was(training):
    model = nn.Dropout().train(training)
    with pytest.raises(KeyError), evaluating(model):
        assert not model.training
        raise KeyError
    assert model.training is training
    assert torch.is_grad_enabled()
