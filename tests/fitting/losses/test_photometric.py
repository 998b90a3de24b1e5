"""The photometric loss: its specification against plain convolutions, the compiled one against the specification."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import Tensor

from compiled_code import away, needs
from fitting.losses.pictures import KINDS, SIZES, WEIGHTS, Case, case, noisy
from splatlearn.core.errors import InputError
from splatlearn.fitting import compiled, photometric_loss
from splatlearn.fitting.losses.specification import composed, photometric, ssim_map

needs_compiled = needs(compiled.native)


def specified(made: Case, ssim_weight: float = 0.2) -> tuple[Tensor, Tensor]:
    """The specification's loss and gradient in float64."""
    images = made.images.double().requires_grad_()
    targets = composed(made.targets, made.background.double(), torch.float64)
    weights = None if made.weights is None else made.weights.double()
    loss = photometric(images, targets, weights, ssim_weight).mean()
    return loss.detach(), torch.autograd.grad(loss, images)[0]


def found(made: Case, ssim_weight: float = 0.2) -> tuple[Tensor, Tensor]:
    images = made.images.clone().requires_grad_()
    loss = photometric_loss(images, made.targets, made.background, made.weights, ssim_weight)
    loss.backward()
    assert images.grad is not None and loss.dtype == torch.float32
    return loss.detach(), images.grad


class TestSpecification:
    @pytest.mark.parametrize("size", [(1, 1), (4, 7), (23, 31)])
    def test_ssim_is_that_of_plain_convolutions(self, size: tuple[int, int], generator: torch.Generator) -> None:
        pictures = [each.double().numpy() for each in noisy(generator, size, batch=1)]
        places = np.arange(11) - 5.0
        window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / 4.5)
        window /= window.sum()
        wanted = np.empty((3, *size))
        for channel in range(3):
            x, y = (each[0, channel] for each in pictures)
            means = [convolve2d(each, window, mode="same") for each in (x, y, x * x, y * y, x * y)]
            mean_x, mean_y, square_x, square_y, product = means
            top = (2 * mean_x * mean_y + 1e-4) * (2 * (product - mean_x * mean_y) + 9e-4)
            bottom = (mean_x**2 + mean_y**2 + 1e-4) * (square_x - mean_x**2 + square_y - mean_y**2 + 9e-4)
            wanted[channel] = top / bottom
        got = ssim_map(*(torch.from_numpy(each) for each in pictures))
        np.testing.assert_allclose(got[0].numpy(), wanted, rtol=0, atol=1e-12)

    def test_the_loss_is_the_published_sum(self, generator: torch.Generator) -> None:
        x, y = (each.double() for each in noisy(generator, (13, 17)))
        wanted = 0.8 * (x - y).abs().mean() + 0.2 * (1 - ssim_map(x, y).mean())
        torch.testing.assert_close(photometric_loss(x, y), wanted, atol=1e-14, rtol=0)

    def test_targets_with_opacities_are_composed_over_the_background(self) -> None:
        targets = torch.tensor([255, 0, 51, 102], dtype=torch.uint8).view(1, 4, 1, 1)
        colors = composed(targets, torch.tensor([[0.0, 1.0, 0.5]], dtype=torch.float64), torch.float64)
        torch.testing.assert_close(colors.flatten(), torch.tensor([0.4, 0.6, 0.38], dtype=torch.float64))


@needs_compiled
class TestCompiled:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("weights", WEIGHTS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_loss_and_gradient_are_the_specification_s(
        self, size: tuple[int, int], weights: str, kind: str, instruction_set: str, generator: torch.Generator
    ) -> None:
        made = case(generator, size, kind, weights)
        loss, gradient = found(made)
        wanted, wanted_gradient = specified(made)
        assert abs(loss - wanted) <= 1e-6 * max(float(wanted), 0.1)
        assert away(gradient, wanted_gradient) <= 1e-5

    @pytest.mark.parametrize("ssim_weight", [0.0, 1.0])
    def test_each_part_alone(self, ssim_weight: float, instruction_set: str, generator: torch.Generator) -> None:
        made = case(generator, (30, 40))
        loss, gradient = found(made, ssim_weight)
        wanted, wanted_gradient = specified(made, ssim_weight)
        assert abs(loss - wanted) <= 1e-6 and away(gradient, wanted_gradient) <= 1e-5

    def test_black_and_white(self, instruction_set: str) -> None:
        """Variances that lose the most digits: flat areas have no gradient but errors."""
        for value in (0.0, 1.0):
            images = torch.full((1, 3, 30, 30), value)
            images[..., 10:12, 10:12] = 0.5
            made = Case(images, torch.full_like(images, value), torch.zeros(1, 3), None)
            loss, gradient = found(made)
            wanted, wanted_gradient = specified(made)
            assert abs(loss - wanted) <= 1e-6 and away(gradient, wanted_gradient) <= 5e-5

    @pytest.mark.parametrize("value", [30.0, 1e3, 1e6, -1e6])
    def test_colors_far_beyond_one(self, value: float, instruction_set: str, generator: torch.Generator) -> None:
        """Where variances are lost in rounding, SSIM and its slopes stay within their bounds."""
        images, targets = noisy(generator, (30, 40), batch=1)
        for bright in (images + value, torch.full_like(images, value)):
            for other in (targets, bright):
                made = Case(bright, other, torch.zeros(1, 3), None)
                loss, gradient = found(made, 1.0)
                assert -1e-6 <= float(loss) <= 2.0
                # No slope of SSIM by a product is steeper than 2/C2, and no weight of a window larger than 1.
                assert float(gradient.abs().max()) <= 10 * abs(value) * 2 / 9e-4 / gradient.numel()

    def test_equal_pictures(self, instruction_set: str, generator: torch.Generator) -> None:
        targets = (255 * torch.rand(1, 20, 30, 3, generator=generator)).to(torch.uint8).permute(0, 3, 1, 2)
        loss, gradient = found(Case(targets.float() / 255, targets, torch.zeros(1, 3), None))
        assert abs(float(loss)) <= 1e-6
        # A pixel's L1 term alone has a gradient of 4.4e-4.
        assert float(gradient.abs().max()) <= 1e-7

    def test_bits_are_the_same_for_any_number_of_threads_and_from_run_to_run(
        self, instruction_set: str, generator: torch.Generator, threads: Callable[[int], None]
    ) -> None:
        made = case(generator, (37, 300), "bytes with opacity", "any", batch=3)
        results = []
        for count in (1, 2, 5, 1):
            threads(count)
            results.append(found(made))
        for loss, gradient in results[1:]:
            assert torch.equal(loss, results[0][0]) and torch.equal(gradient, results[0][1])

    def test_any_memory_layout(self, generator: torch.Generator) -> None:
        made = case(generator, (9, 14))
        wanted = found(made)
        turned = made.images.mT.contiguous().mT
        negative = torch._neg_view(-made.images)  # pyright: ignore[reportPrivateImportUsage]
        rows = made.targets.flip(2).flip(2).mT.contiguous().mT
        for images, targets in ((turned, made.targets), (negative, made.targets), (made.images, rows)):
            got = found(Case(images, targets, made.background, None))
            assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])
        one = made.targets[:1].expand_as(made.targets)
        got, same = (found(Case(made.images, each, made.background, None)) for each in (one, one.contiguous()))
        assert torch.equal(got[0], same[0]) and torch.equal(got[1], same[1])

    def test_other_precisions(self, generator: torch.Generator) -> None:
        made = case(generator, (12, 13))
        half = made.images.bfloat16().requires_grad_()
        photometric_loss(half, made.targets).backward()
        single = half.detach().float().requires_grad_()
        photometric_loss(single, made.targets).backward()
        assert half.grad is not None and single.grad is not None and half.grad.dtype == torch.bfloat16
        torch.testing.assert_close(half.grad, single.grad.bfloat16(), rtol=0, atol=0)

    def test_nothing_is_kept_where_no_gradient_is_asked_for(
        self, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, kept = case(generator, (5, 6)), []
        native: Any = compiled.native
        stand_in = ModuleType("stand_in")
        stand_in.photometric = lambda *all: kept.append(all[-2]) or native.photometric(*all)  # pyright: ignore
        monkeypatch.setattr(compiled, "native", stand_in)
        photometric_loss(made.images, made.targets)
        with torch.no_grad():
            photometric_loss(made.images.clone().requires_grad_(), made.targets)
        assert kept == [None, None]
        found(made)
        assert len(kept) == 3 and kept[2] is not None

    def test_the_operation_is_one_node_with_consistent_registrations(self, generator: torch.Generator) -> None:
        made = case(generator, (7, 9), "bytes", "any")
        inputs = (made.images.requires_grad_(), made.targets, made.background, made.weights)
        for needs_gradient in (True, False):
            torch.library.opcheck(torch.ops.splatlearn.photometric.default, (*inputs, 0.2, 0, needs_gradient))

    def test_torch_compile_takes_it_as_a_whole(self) -> None:
        script = Path(__file__).with_name("compiled_graph.py")
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240)
        assert done.stdout.strip() == "ok", done.stderr


class TestDerivatives:
    def test_scaled_and_taken_twice(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (8, 9))
        images = made.images.requires_grad_()
        loss = photometric_loss(images, made.targets)
        once = torch.autograd.grad(loss, images, retain_graph=True)[0]
        again = torch.autograd.grad(3.0 * loss, images)[0]
        torch.testing.assert_close(again, 3.0 * once)

    def test_second_derivatives(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (8, 9), "bytes with opacity", "any")
        direction = torch.randn(made.images.shape, generator=generator)

        def second(dtype: torch.dtype) -> Tensor:
            images = made.images.to(dtype).requires_grad_()
            assert made.weights is not None
            loss = photometric_loss(images, made.targets, made.background.to(dtype), made.weights.to(dtype))
            first = torch.autograd.grad(loss, images, create_graph=True)[0]
            return torch.autograd.grad((first * direction.to(dtype)).sum(), images)[0]

        wanted = second(torch.float64)
        assert float(wanted.norm()) > 1e-3
        assert away(second(torch.float32), wanted) <= 1e-4

    def test_finite_differences_in_float64(self, generator: torch.Generator) -> None:
        made = case(generator, (4, 5), weights="any", batch=1)
        assert made.weights is not None
        targets, weights = made.targets.double(), made.weights.double()
        images = made.images.double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x: photometric_loss(x, targets, weights=weights), images)

    def test_other_arguments(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (6, 7), "floats with opacity", "any")
        assert made.weights is not None
        weights = made.weights.clone().clamp(min=0.1)

        def gradients(dtype: torch.dtype) -> list[Tensor]:
            inputs = [each.to(dtype).requires_grad_() for each in (made.images, made.targets, made.background, weights)]
            images, targets, background, shares = inputs
            return list(torch.autograd.grad(photometric_loss(images, targets, background, shares), inputs))

        for got, wanted in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
            assert float(wanted.norm()) > 0 and away(got, wanted) <= 1e-5

    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
    def test_function_transforms(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (6, 7))
        wanted = found(made)[1]
        got = torch.func.grad(lambda x: photometric_loss(x, made.targets, made.background))(made.images)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-7)
        direction = torch.randn(made.images.shape, generator=generator)
        along = torch.func.jvp(
            lambda x: photometric_loss(x, made.targets, made.background), (made.images,), (direction,)
        )[1]
        torch.testing.assert_close(along, (wanted * direction).sum(), rtol=1e-3, atol=1e-6)


class TestWeights:
    def test_ignored_pixels_may_be_anything(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (20, 25), weights="mask")
        assert made.weights is not None
        hidden = (made.weights == 0).unsqueeze(1)
        assert 0.2 < float(hidden.float().mean()) < 0.9
        wanted = found(made)
        for value in (7.0, float("nan"), float("inf")):
            images, targets = (torch.where(hidden, value, each) for each in (made.images, made.targets))
            loss, gradient = found(Case(images, targets, made.background, made.weights))
            assert torch.equal(loss, wanted[0]) and torch.equal(gradient, wanted[1])
            assert bool((gradient[hidden.expand_as(gradient)] == 0).all())

    def test_an_ignored_frame_is_as_if_the_picture_ended(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (30, 34))
        weights = torch.zeros(2, 30, 34)
        weights[:, 7:26, 8:30] = 1.0
        inner = photometric_loss(made.images[:, :, 7:26, 8:30], made.targets[:, :, 7:26, 8:30])
        whole = photometric_loss(made.images, made.targets, weights=weights)
        torch.testing.assert_close(whole / weights.mean(), inner, rtol=1e-5, atol=0)

    def test_weights_multiply_terms(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (12, 13), weights="any")
        assert made.weights is not None
        once, twice = (photometric_loss(made.images, made.targets, weights=k * made.weights) for k in (1, 2))
        torch.testing.assert_close(twice, 2 * once)
        ones = photometric_loss(made.images, made.targets, weights=torch.ones(2, 12, 13))
        torch.testing.assert_close(ones, photometric_loss(made.images, made.targets), rtol=1e-6, atol=0)

    def test_nothing_is_left(self, way: str, generator: torch.Generator) -> None:
        made = case(generator, (6, 7))
        loss, gradient = found(Case(made.images, made.targets, made.background, torch.zeros(2, 6, 7)))
        assert float(loss) == 0.0 and not gradient.any()


@pytest.mark.parametrize("which", ["images", "targets"])
def test_nan_stays_visible(which: str, way: str, generator: torch.Generator) -> None:
    made = case(generator, (40, 41), batch=1)
    getattr(made, which)[0, 1, 20, 21] = float("nan")
    loss, gradient = found(made)
    assert loss.isnan()
    # Windows reach 5 pixels, and the gradient as far again.
    assert bool(gradient[0, 1, 10:31, 11:32].isnan().all())
    assert bool(gradient[0, 0].isfinite().all()) and bool(gradient[0, 1, :10].isfinite().all())


PICTURE = torch.rand(2, 3, 5, 6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": PICTURE[0]}, InputError, r"images: expected shape \[B, 3, H, W\] with at least one pixel, got"),
        ({"images": PICTURE[:, :, :0]}, InputError, r"images: expected shape .* got \[2, 3, 0, 6\]"),
        ({"images": PICTURE.int()}, TypeError, "images: expected a floating-point tensor, got torch.int32"),
        (
            {"targets": PICTURE.movedim(1, 3)},
            InputError,
            r"targets: expected shape \[2, 3 or 4, 5, 6\] like images, got \[2, 5, 6, 3\]; move the channels with",
        ),
        ({"targets": PICTURE[:1]}, InputError, r"targets: expected .* got \[1, 3, 5, 6\]"),
        ({"targets": PICTURE.int()}, TypeError, "targets: expected uint8 or a floating-point tensor, got torch.int32"),
        ({"background": "red"}, InputError, "background: expected 'white', 'black', 3 numbers or a tensor, got 'red'"),
        ({"weights": torch.ones(2, 5, 5)}, InputError, r"weights: expected shape \[2, 5, 6\], got \[2, 5, 5\]"),
        ({"weights": torch.ones(2, 5, 6).bool()}, TypeError, "weights: expected a floating-point tensor"),
        ({"weights": -torch.ones(2, 5, 6)}, InputError, "weights: expected finite numbers of at least 0"),
        ({"weights": torch.full((2, 5, 6), float("nan"))}, InputError, "weights: expected finite numbers"),
        (
            {"ssim_weight": 1.5},
            InputError,
            "ssim_weight: expected a finite number of at least 0 and at most 1",
        ),
    ],
)
def test_errors(change: dict[str, Any], error: type[Exception], message: str, no_shape_checks: None) -> None:
    arguments = {"images": PICTURE, "targets": PICTURE, **change}
    with pytest.raises(error, match=message):
        photometric_loss(**arguments)
