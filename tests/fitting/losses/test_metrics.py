"""SSIM and PSNR against scikit-image, and against the loss."""

from typing import Any

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fitting.losses.pictures import case, noisy
from splatlearn.core.errors import InputError
from splatlearn.fitting import photometric_loss, psnr, ssim
from splatlearn.fitting.losses.specification import ssim_map

OPTIONS: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


class TestSsim:
    @pytest.mark.parametrize("size", [(11, 11), (12, 40), (37, 150)])
    def test_without_padding_it_is_scikit_image_s(
        self, size: tuple[int, int], way: str, generator: torch.Generator
    ) -> None:
        images, targets = noisy(generator, size)
        wanted = [
            structural_similarity(x.double().numpy(), y.double().numpy(), channel_axis=0, **OPTIONS)
            for x, y in zip(images, targets, strict=True)
        ]
        got = ssim(images, targets, padding="none")
        assert got.tolist() == pytest.approx(wanted, abs=1e-6)
        exact = ssim(images.double(), targets, padding="none")
        # Both pictures in float32 are the same numbers in float64.
        assert exact.tolist() == pytest.approx(wanted, abs=1e-12)

    def test_the_interior_of_the_map_is_scikit_image_s(self, generator: torch.Generator) -> None:
        x, y = (each.double() for each in noisy(generator, (20, 30), batch=1))
        options = {**OPTIONS, "channel_axis": 0, "full": True}
        wanted = structural_similarity(x[0].numpy(), y[0].numpy(), **options)[1]
        inside = (slice(None), slice(5, -5), slice(5, -5))
        torch.testing.assert_close(ssim_map(x, y)[0][inside], torch.from_numpy(wanted)[inside], rtol=0, atol=1e-12)

    def test_with_zeros_it_is_what_the_loss_minimises(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (14, 20), "bytes with opacity")
        loss = photometric_loss(made.images, made.targets, made.background, ssim_weight=1.0)
        torch.testing.assert_close(1 - ssim(made.images, made.targets, made.background).mean(), loss)
        assert abs(ssim(made.images, made.targets) - ssim(made.images, made.targets, padding="none")).min() > 1e-3

    def test_weights(self, way: str, generator: torch.Generator) -> None:
        """Of the pixels of one side, and of a frame that the padding leaves out."""
        images, targets = noisy(generator, (30, 34))
        weights = torch.zeros(2, 30, 34)
        weights[:, :, :17] = 2.0
        half = ssim(images[..., :17], targets[..., :17])
        torch.testing.assert_close(ssim(images, targets, weights=weights), half, rtol=0, atol=1e-6)
        whole = torch.where(weights > 0, weights, 0.0).index_fill(2, torch.arange(12, 17), 0.0)
        assert not torch.allclose(ssim(images, targets, weights=whole), half)
        ones = torch.ones(2, 30, 34)
        plain = ssim(images, targets, padding="none")
        torch.testing.assert_close(ssim(images, targets, weights=ones, padding="none"), plain, rtol=0, atol=1e-6)

    def test_equal_pictures(self, way: str, generator: torch.Generator) -> None:
        images = torch.rand(2, 3, 13, 15, generator=generator)
        for padding in ("zeros", "none"):
            assert ssim(images, images, padding=padding).tolist() == pytest.approx([1.0, 1.0], abs=1e-6)

    def test_its_gradient(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (16, 140), weights="mask")
        assert made.weights is not None
        images, exact = made.images.requires_grad_(), made.images.detach().double().requires_grad_()
        got, wanted = (
            torch.autograd.grad(ssim(each, made.targets, weights=made.weights, padding="none").sum(), each)[0]
            for each in (images, exact)
        )
        assert float((got - wanted).norm() / wanted.norm()) < 1e-5

    def test_errors(self, generator: torch.Generator) -> None:
        images, targets = noisy(generator, (10, 30))
        with pytest.raises(InputError, match="images: expected at least 11 pixels along each side .* got 10 × 30"):
            ssim(images, targets, padding="none")
        with pytest.raises(InputError, match="weights: expected a weight above 0 in each picture, got a picture"):
            ssim(images, targets, weights=torch.zeros(2, 10, 30))

    def test_an_unknown_padding(self, generator: torch.Generator, no_shape_checks: None) -> None:
        images, targets = noisy(generator, (10, 30))
        with pytest.raises(InputError, match="padding: expected one of 'zeros', 'none', got 'reflect'"):
            ssim(images, targets, padding="reflect")  # pyright: ignore[reportArgumentType]


class TestPsnr:
    def test_it_is_scikit_image_s(self, generator: torch.Generator) -> None:
        images, targets = noisy(generator, (9, 12))
        wanted = [
            peak_signal_noise_ratio(y.double().numpy(), x.double().numpy(), data_range=1.0)
            for x, y in zip(images, targets, strict=True)
        ]
        assert psnr(images, targets).tolist() == pytest.approx(wanted, abs=1e-4)

    def test_weights_and_opacities(self, generator: torch.Generator) -> None:
        made = case(generator, (9, 12), "floats with opacity", "mask")
        assert made.weights is not None
        alpha = made.targets[:, 3:]
        colors = made.background[:, :, None, None] * (1 - alpha) + alpha * made.targets[:, :3]
        squared = (made.images - colors).square().mean(dim=1)
        wanted = torch.stack([squared[b][made.weights[b] > 0].mean() for b in range(2)])
        hidden = torch.where(made.weights.unsqueeze(1) > 0, made.images, float("nan"))
        got = psnr(hidden, made.targets, made.background, made.weights)
        torch.testing.assert_close(got, -10 * wanted.log10())

    def test_equal_pictures(self) -> None:
        images = torch.ones(1, 3, 2, 2)
        assert psnr(images, torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).tolist() == [float("inf")]
