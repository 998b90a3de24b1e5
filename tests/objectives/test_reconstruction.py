from collections.abc import Callable

import numpy as np
import pytest
import torch

from splatlearn.models.masking import Mask, random_mask
from splatlearn.models.nn.patches import patchify, unpatchify
from splatlearn.objectives import (
    denormalize_patches,
    masked_mse,
    masked_mse_and_pattern_error,
    masked_pattern_error,
    normalize_patches,
)


def images(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(2, 3, 8, 12, generator=generator), torch.rand(2, 3, 8, 12, generator=generator)


def test_equals_a_mean_over_hidden_pixels(generator: torch.Generator) -> None:
    prediction, target = images(generator)
    mask = random_mask(batch=2, grid=(2, 3), ratio=0.5, generator=generator)
    where = mask.hidden_pixels(4).unsqueeze(1).expand_as(target)
    expected = ((prediction - target) ** 2)[where].mean()
    torch.testing.assert_close(masked_mse(prediction, target, mask, 4), expected)


def test_visible_weight_runs_from_hidden_only_to_all(generator: torch.Generator) -> None:
    prediction, target = images(generator)
    mask = random_mask(batch=2, grid=(2, 3), ratio=0.5, generator=generator)
    everything = ((prediction - target) ** 2).mean()
    torch.testing.assert_close(masked_mse(prediction, target, mask, 4, visible_weight=1.0), everything)
    hidden = mask.hidden_pixels(4).unsqueeze(1).expand_as(target)
    squared = (prediction - target) ** 2
    weights = torch.where(hidden, 1.0, 0.25)
    expected = (squared * weights).sum() / weights.sum()
    torch.testing.assert_close(masked_mse(prediction, target, mask, 4, visible_weight=0.25), expected)


def test_hidden_pixels_alone_get_a_gradient(generator: torch.Generator) -> None:
    prediction, target = images(generator)
    prediction.requires_grad_()
    mask = random_mask(batch=2, grid=(2, 3), ratio=0.5, generator=generator)
    masked_mse(prediction, target, mask, 4).backward()
    assert prediction.grad is not None
    assert torch.equal((prediction.grad != 0).any(1), mask.hidden_pixels(4))


def test_normalised_patches_have_mean_zero_and_unit_variance(generator: torch.Generator) -> None:
    patches = patchify(images(generator)[0] * 0.2 + 0.4, 4)
    normalized = normalize_patches(patches)
    torch.testing.assert_close(normalized.mean(-1), torch.zeros(2, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.var(-1), torch.ones(2, 6), atol=1e-3, rtol=0)
    torch.testing.assert_close(denormalize_patches(normalized, patches), patches)


def test_a_flat_patch_is_no_division_by_zero() -> None:
    flat = torch.full((1, 3, 4, 4), 0.5)
    mask = Mask(torch.zeros(1, 1, dtype=torch.long), torch.arange(1, 4).unsqueeze(0), (2, 2))
    assert torch.isfinite(masked_mse(flat, flat, mask, 2, normalize=True))


def test_patterns_are_compared_whatever_their_contrast(generator: torch.Generator) -> None:
    target = images(generator)[1]
    mask = random_mask(batch=2, grid=(2, 3), ratio=0.5, generator=generator)

    def per_patch(function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        patches = patchify(target, 4)
        mean = patches.mean(-1, keepdim=True)
        return unpatchify(mean + function(patches - mean), 4, (2, 3))

    def error(prediction: torch.Tensor) -> float:
        return masked_pattern_error(prediction, target, mask, 4).item()

    assert error(target) == 0
    # Half the contrast, far above the floor: hardly an error; the squared one is that of a quarter of the variance.
    weaker = per_patch(lambda pattern: pattern / 2)
    assert error(weaker) < 0.01 * error(per_patch(lambda pattern: -pattern))
    assert masked_mse(weaker, target, mask, 4) > 0.01
    # Nothing painted but the mean: the pattern's variance over itself and the floor's.
    flat = per_patch(torch.zeros_like)
    variance = patchify(target, 4).var(-1, correction=0).gather(1, mask.hidden)
    assert error(flat) == pytest.approx((0.01 * variance / (variance + 0.01)).mean().item(), rel=1e-4)
    # Another mean and the same pattern.
    assert error(target + 0.1) == pytest.approx(0.03 * 0.1**2, rel=1e-3)
    everywhere = masked_pattern_error(flat, target, mask, 4, visible_weight=1.0)
    variance = patchify(target, 4).var(-1, correction=0)
    assert everywhere.item() == pytest.approx((0.01 * variance / (variance + 0.01)).mean().item(), rel=1e-4)


def test_patterns_are_divided_by_their_spread_and_the_floor(generator: torch.Generator) -> None:
    prediction, target = torch.rand(2, 2, 3, 8, 8, dtype=torch.float64, generator=generator)
    mask = random_mask(2, (2, 2), 0.5, generator)
    errors = []
    for image in range(2):
        for place in mask.hidden[image].tolist():
            rows, columns = slice(4 * (place // 2), 4 * (place // 2) + 4), slice(4 * (place % 2), 4 * (place % 2) + 4)
            one, other = (each[image, :, rows, columns].numpy() for each in (prediction, target))
            patterns = [(each - each.mean()) / np.sqrt(each.var() + 0.01) for each in (one, other)]
            errors.append(0.01 * np.square(patterns[0] - patterns[1]).mean() + 0.03 * (one.mean() - other.mean()) ** 2)
    assert masked_pattern_error(prediction, target, mask, 4).item() == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("visible_weight", [0.0, 0.3])
def test_squares_and_patterns_together_are_their_sum(generator: torch.Generator, visible_weight: float) -> None:
    target = torch.rand(2, 3, 8, 8, generator=generator)
    prediction = torch.rand(2, 3, 8, 8, generator=generator).requires_grad_()
    where = (prediction, target, random_mask(2, (2, 2), 0.5, generator), 4)
    parts = masked_mse(*where, visible_weight=visible_weight) + masked_pattern_error(*where, visible_weight)
    whole = masked_mse_and_pattern_error(*where, visible_weight)
    assert whole.item() == pytest.approx(parts.item(), rel=1e-6)
    (found,), (expected,) = (torch.autograd.grad(each, prediction) for each in (whole, parts))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    with pytest.raises(ValueError, match="visible_weight"):
        masked_mse_and_pattern_error(*where, visible_weight=-1.0)


def test_the_pattern_error_of_flat_patches_has_a_gradient() -> None:
    flat = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    mask = Mask(torch.zeros(1, 1, dtype=torch.long), torch.arange(1, 4).unsqueeze(0), (2, 2))
    masked_pattern_error(flat, torch.full_like(flat, 0.6), mask, 2).backward()
    assert flat.grad is not None and bool(torch.isfinite(flat.grad).all())
    assert torch.equal((flat.grad != 0).any(1), mask.hidden_pixels(2))


@pytest.mark.usefixtures("no_shape_checks")
def test_errors(generator: torch.Generator) -> None:
    prediction, target = images(generator)
    mask = random_mask(batch=2, grid=(2, 3), ratio=0.5, generator=generator)
    with pytest.raises(ValueError, match=r"prediction: expected shape \[2, 3, 8, 12\] like target, got \[2, 3, 8, 8\]"):
        masked_mse(prediction[..., :8], target, mask, 4)
    with pytest.raises(ValueError, match="visible_weight: expected a number ≥ 0, got -1"):
        masked_mse(prediction, target, mask, 4, visible_weight=-1.0)
