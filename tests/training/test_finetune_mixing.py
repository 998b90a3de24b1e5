import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splatlearn.training.finetuning.mixing import Mix, draw_box, draw_mix, erase, mix_images, soft_targets


def draws(count: int, mixup: float, cutmix: float, chance: float = 1.0, size: tuple[int, int] = (20, 30)) -> list[Mix]:
    rng = np.random.default_rng(0)
    return [draw_mix(rng, mixup, cutmix, chance, *size) for _ in range(count)]


@given(
    share=st.floats(0, 1),
    smoothing=st.floats(0, 0.99),
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=6),
)
def test_targets_are_probabilities(share: float, smoothing: float, labels: list[int]) -> None:
    targets = soft_targets(torch.tensor(labels), 5, smoothing, share)
    assert (targets >= 0).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(len(labels)))


def test_targets_by_hand() -> None:
    """A label keeps 0.9, of which 0.7 is the image's and 0.3 its partner's; 0.1 is spread over 4 classes."""
    targets = soft_targets(torch.tensor([2, 0]), 4, 0.1, 0.7)
    expected = [[0.27 + 0.025, 0.025, 0.63 + 0.025, 0.025], [0.63 + 0.025, 0.025, 0.27 + 0.025, 0.025]]
    torch.testing.assert_close(targets, torch.tensor(expected))


def test_smoothing_is_that_of_cross_entropy(generator: torch.Generator) -> None:
    logits, labels = torch.randn(6, 5, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0])
    ours = torch.nn.functional.cross_entropy(logits, soft_targets(labels, 5, 0.2, 1.0))
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2))


def test_mixup_blends_with_the_partner(generator: torch.Generator) -> None:
    images = torch.rand(3, 3, 4, 5, generator=generator)
    mixed = mix_images(images, Mix(0.7))
    torch.testing.assert_close(mixed[0], 0.7 * images[0] + 0.3 * images[2])
    torch.testing.assert_close(mixed[1], images[1])


def test_the_share_of_cutmix_is_that_of_the_pixels_left() -> None:
    own, partner = torch.zeros(3, 20, 30), torch.ones(3, 20, 30)
    cuts = [mix for mix in draws(200, 0.0, 1.0) if mix.box is not None]
    assert len(cuts) == 200 and min(mix.share for mix in cuts) < 0.35 and max(mix.share for mix in cuts) > 0.9
    for mix in cuts:
        mixed = mix_images(torch.stack([own, partner]), mix)
        assert float(1 - mixed[0].mean()) == pytest.approx(mix.share, abs=1e-6)
        assert float(mixed[1].mean()) == pytest.approx(mix.share, abs=1e-6)


def test_mixing_leaves_what_it_was_given(generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 8, 8, generator=generator)
    before = images.clone()
    mix_images(images, Mix(0.5, (0, 0, 4, 4)))
    mix_images(images, Mix(0.3))
    assert torch.equal(images, before)


def test_shares_have_the_beta_distribution() -> None:
    """The variance of Beta(a, a) is 1 / (4 (2a + 1))."""
    shares = np.array([mix.share for mix in draws(4000, 0.8, 0.0)])
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * 2.6), rel=0.05)


def test_both_kinds_take_turns_and_one_can_be_left_out() -> None:
    both = draws(1000, 0.8, 1.0)
    assert 0.45 < np.mean([mix.box is not None for mix in both]) < 0.55
    assert all(mix.box is None for mix in draws(50, 0.8, 0.0))
    assert all(mix == Mix(1.0) for mix in draws(50, 0.0, 0.0))


def test_a_share_of_the_batches_is_mixed() -> None:
    assert np.mean([mix == Mix(1.0) for mix in draws(1000, 0.8, 0.0, chance=0.3)]) == pytest.approx(0.7, abs=0.05)


def test_a_batch_that_is_not_mixed_is_the_same(generator: torch.Generator) -> None:
    images = torch.rand(3, 3, 4, 5, generator=generator)
    assert torch.equal(mix_images(images, Mix(1.0)), images)


def test_erased_boxes_have_the_asked_area_and_lie_inside() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(rng, 1.0, 60, 80) for _ in range(500)])
    left, top, right, bottom = boxes.T
    assert (left >= 0).all() and (top >= 0).all() and (right <= 80).all() and (bottom <= 60).all()
    shares = (right - left) * (bottom - top) / (60 * 80)
    assert 0.015 < shares.min() < 0.05 and 0.28 < shares.max() < 0.35
    assert np.mean([draw_box(rng, 0.25, 60, 80) != (0, 0, 0, 0) for _ in range(1000)]) == pytest.approx(0.25, abs=0.05)


def test_erasing_replaces_the_box_and_nothing_else(generator: torch.Generator) -> None:
    images, noise = torch.zeros(2, 3, 6, 8), torch.rand(2, 3, 6, 8, generator=generator) + 1
    erased = erase(images, torch.tensor([[1, 2, 4, 6], [0, 0, 0, 0]]), noise)
    assert torch.equal(erased[0, :, 2:6, 1:4], noise[0, :, 2:6, 1:4])
    assert int((erased != 0).sum()) == 3 * 4 * 3
