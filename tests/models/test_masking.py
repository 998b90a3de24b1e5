import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splatlearn.models import (
    Mask,
    mask_from_noise,
    orthogonal_masks,
    orthogonal_masks_from_noise,
    random_mask,
)

SIDES = st.integers(1, 9)


@given(rows=SIDES, columns=SIDES, batch=st.integers(1, 4), ratio=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_visible_and_hidden_make_up_the_grid(rows: int, columns: int, batch: int, ratio: float, seed: int) -> None:
    count = rows * columns
    keep = int(count * (1 - ratio))
    if keep in (0, count):
        with pytest.raises(ValueError, match="ratio: expected at least one visible and one hidden patch"):
            random_mask(batch, (rows, columns), ratio)
        return
    mask = random_mask(batch, (rows, columns), ratio, torch.Generator().manual_seed(seed))
    assert mask.visible.shape == (batch, keep) and mask.hidden.shape == (batch, count - keep)
    together = torch.cat([mask.visible, mask.hidden], dim=1).sort(dim=1).values
    assert torch.equal(together, torch.arange(count).expand(batch, -1))
    assert torch.equal(mask.hidden_patches().sum(1), torch.full((batch,), count - keep))


@given(rows=SIDES, columns=SIDES, count=st.integers(2, 5), seed=st.integers(0, 99))
def test_orthogonal_masks_tile_the_grid(rows: int, columns: int, count: int, seed: int) -> None:
    if count > rows * columns:
        with pytest.raises(ValueError, match=f"count: expected 2 to {rows * columns} masks"):
            orthogonal_masks(2, (rows, columns), count)
        return
    masks = orthogonal_masks(2, (rows, columns), count, torch.Generator().manual_seed(seed))
    seen = torch.stack([~mask.hidden_patches() for mask in masks]).sum(0)
    assert len(masks) == count and torch.equal(seen, torch.ones(2, rows * columns, dtype=torch.long))
    sizes = [mask.visible.shape[1] for mask in masks]
    assert max(sizes) - min(sizes) <= 1


def test_four_orthogonal_masks_hide_three_quarters(generator: torch.Generator) -> None:
    assert [mask.visible.shape for mask in orthogonal_masks(2, (14, 14), 4, generator)] == [(2, 49)] * 4


def test_least_noise_stays_visible_in_its_order() -> None:
    mask = mask_from_noise(torch.tensor([[0.3, 0.1, 0.9, 0.2]]), (2, 2), 0.5)
    assert mask.visible.tolist() == [[1, 3]] and mask.hidden.tolist() == [[0, 2]]
    assert mask.hidden_patches().tolist() == [[True, False, True, False]]


def test_equal_noise_keeps_the_order_of_patches() -> None:
    assert mask_from_noise(torch.zeros(1, 40), (4, 10), 0.5).visible.tolist() == [list(range(20))]


def test_hidden_pixels_are_those_of_hidden_patches() -> None:
    pixels = mask_from_noise(torch.tensor([[0.3, 0.1]]), (1, 2), 0.5).hidden_pixels(2)
    assert pixels.tolist() == [[[True, True, False, False], [True, True, False, False]]]


def test_every_patch_is_hidden_equally_often(generator: torch.Generator) -> None:
    share = random_mask(4000, (3, 4), 0.75, generator).hidden_patches().double().mean(0)
    # Five standard deviations of a share of 4000 draws.
    assert (share - 0.75).abs().max() < 5 * (0.75 * 0.25 / 4000) ** 0.5


def test_the_generator_decides(generator: torch.Generator) -> None:
    first, second = random_mask(2, (4, 4), generator=generator), random_mask(2, (4, 4), generator=generator)
    again = random_mask(2, (4, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.visible, again.visible) and not torch.equal(first.visible, second.visible)
    assert first.batch == 2 and torch.equal(first.to("cpu").hidden, first.hidden)


@pytest.mark.usefixtures("no_shape_checks")
class TestErrors:
    def test_ratio(self) -> None:
        for ratio in (0.0, 1.0, -0.5, float("nan")):
            with pytest.raises(ValueError, match="ratio: expected a share of hidden patches between 0 and 1"):
                random_mask(1, (4, 4), ratio)
        arithmetic = r"0.95 of a 2×4 grid keeps int\(8·\(1 − 0.95\)\) = 0 of 8 patches"
        with pytest.raises(ValueError, match=arithmetic):
            random_mask(1, (2, 4), 0.95)

    def test_noise_of_another_grid(self) -> None:
        with pytest.raises(ValueError, match="noise: expected 6 numbers an image for a 2×3 grid, got 5"):
            mask_from_noise(torch.zeros(1, 5), (2, 3))
        with pytest.raises(ValueError, match="noise: expected 6 numbers"):
            orthogonal_masks_from_noise(torch.zeros(1, 5), (2, 3))

    def test_indices(self) -> None:
        zero, one = torch.tensor([[0]]), torch.tensor([[1]])
        with pytest.raises(TypeError, match=r"visible: expected int64 indices, got torch.int32"):
            Mask(zero.int(), one, (1, 2))
        with pytest.raises(ValueError, match=r"hidden: expected shape \[B, at least one patch\], got \[1, 0\]"):
            Mask(zero, one[:, :0], (1, 1))
        with pytest.raises(ValueError, match="hidden: expected a batch of 1 on cpu like visible, got 2"):
            Mask(zero, one.expand(2, 1), (1, 2))
        with pytest.raises(ValueError, match="grid: expected rows·columns = 2 .*, got 2×2"):
            Mask(zero, one, (2, 2))
        with pytest.raises(ValueError, match="expected each patch 0 … 1 exactly once .* in 1 of 2 images"):
            Mask(torch.tensor([[0], [1]]), torch.tensor([[1], [1]]), (1, 2))
