"""PSNR against scikit-image, and the reconstruction scores of models whose answer is known."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from splatlearn.evaluation import evaluating, masked_psnr, mean_of_visible, psnr, shown_image
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


def test_psnr_is_that_of_scikit_image(images, generator):
    other = torch.rand(images.shape, generator=generator)
    expected = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1) for a, b in zip(images, other, strict=True)]
    np.testing.assert_allclose(psnr(other, images).numpy(), expected, rtol=1e-6)


def test_psnr_counts_only_the_stated_pixels(images):
    where = torch.zeros(3, 8, 16, dtype=torch.bool)
    where[:, 2:5, 3:9] = True
    prediction = torch.where(where.unsqueeze(1), images + 0.1, images + 0.4)
    torch.testing.assert_close(
        psnr(prediction, images, where), torch.full((3,), 20.0, dtype=torch.float64), atol=1e-4, rtol=0
    )
    np.testing.assert_array_equal(psnr(images, images, where).numpy(), math.inf)


def test_psnr_names_what_does_not_fit(images, no_shape_checks):
    with pytest.raises(
        ValueError, match=r"prediction: expected shape \[3, 3, 8, 16\] like target, got \[2, 3, 8, 16\]"
    ):
        psnr(images[:2], images)
    with pytest.raises(ValueError, match=r"where: expected shape \[3, 8, 16\] like the images, got \[3, 8, 8\]"):
        psnr(images, images, torch.ones(3, 8, 8, dtype=torch.bool))
    where = torch.ones(3, 8, 16, dtype=torch.bool)
    where[1] = False
    with pytest.raises(ValueError, match="where: expected at least one pixel in each image, got none in image 1"):
        psnr(images, images, where)


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
    baseline = psnr(mean_of_visible(images, hidden), images, hidden).mean()
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
