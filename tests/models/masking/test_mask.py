import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splatlearn.models import (
    Mask,
    MaskPattern,
    join_masks,
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


@given(
    rows=SIDES,
    columns=SIDES,
    count=st.integers(1, 5),
    ratio=st.floats(0.3, 0.9),
    pattern=st.sampled_from(("random", "block", "grid")),
    seed=st.integers(0, 99),
)
def test_orthogonal_masks_of_a_ratio(
    rows: int, columns: int, count: int, ratio: float, pattern: MaskPattern, seed: int
) -> None:
    total = rows * columns
    keep = int(total * (1 - ratio))
    generator = torch.Generator().manual_seed(seed)
    if keep == 0 or count * keep > total:
        with pytest.raises(ValueError, match="expected at least one visible|expected 1 to .* masks that hide"):
            orthogonal_masks(3, (rows, columns), count, generator, ratio, pattern)
        return
    try:
        masks = orthogonal_masks(3, (rows, columns), count, generator, ratio, pattern)
    except ValueError as error:
        parts = total // keep
        divisors = [(down, parts // down) for down in range(1, parts + 1) if parts % down == 0]
        square = min(divisors, key=lambda pair: abs(pair[0] - pair[1]) + (pair[0] > pair[1]))
        assert pattern == "grid" and (rows % square[0] or columns % square[1]), error
        return
    seen = torch.stack([~mask.hidden_patches() for mask in masks]).sum(0)
    assert [mask.visible.shape for mask in masks] == [(3, keep)] * count
    assert int(seen.max()) == 1 and int(seen.sum()) == 3 * count * keep
    assert join_masks(masks).visible.shape == (3 * count, keep)


@pytest.mark.parametrize("pattern", ["random", "block", "grid"])
@pytest.mark.parametrize("grid", [(14, 14), (8, 12), (2, 6)])
def test_four_masks_of_three_quarters_tile_square_and_other_grids(
    grid: tuple[int, int], pattern: MaskPattern, generator: torch.Generator
) -> None:
    masks = orthogonal_masks(5, grid, 4, generator, 0.75, pattern)
    together = torch.cat([mask.visible for mask in masks], dim=1).sort(dim=1).values
    assert torch.equal(together, torch.arange(grid[0] * grid[1]).expand(5, -1))
    tiled = orthogonal_masks(5, grid, 4, torch.Generator().manual_seed(0), pattern=pattern)
    assert all(torch.equal(one.visible, other.visible) for one, other in zip(masks, tiled, strict=True))


def test_one_mask_with_a_ratio_is_the_random_mask(generator: torch.Generator) -> None:
    noise = torch.rand(3, 35, generator=generator)
    (one,), other = orthogonal_masks_from_noise(noise, (5, 7), 1, 0.6), mask_from_noise(noise, (5, 7), 0.6)
    assert torch.equal(one.visible, other.visible) and torch.equal(one.hidden, other.hidden)


def test_blocks_are_quadrants_on_a_torus(generator: torch.Generator) -> None:
    for mask in orthogonal_masks(20, (6, 8), 4, generator, pattern="block"):
        shown = (~mask.hidden_patches()).unflatten(1, (6, 8))
        rows, columns = shown.any(2), shown.any(1)
        assert torch.equal(shown, rows[:, :, None] & columns[:, None, :])
        assert torch.equal(rows.sum(1), torch.full((20,), 3)) and torch.equal(columns.sum(1), torch.full((20,), 4))
        # Neighbours on the torus: each axis changes from hidden to visible once.
        for axis in (rows, columns):
            assert torch.equal((axis & ~axis.roll(1, dims=1)).sum(1), torch.ones(20, dtype=torch.long))


def test_lattices_take_every_second_row_and_column(generator: torch.Generator) -> None:
    masks = orthogonal_masks(20, (6, 8), 4, generator, pattern="grid")
    offsets = []
    for mask in masks:
        row, column = mask.visible // 8, mask.visible % 8
        offset = row % 2 * 2 + column % 2
        assert torch.equal(offset, offset[:, :1].expand(-1, 12))
        offsets.append(offset[:, 0])
    assert torch.equal(torch.stack(offsets, 1).sort(1).values, torch.arange(4).expand(20, -1))
    assert len({tuple(row) for row in torch.stack(offsets, 1).tolist()}) > 1


@pytest.mark.parametrize("pattern", ["block", "grid"])
def test_patterns_leave_no_patch_a_place_of_its_own(pattern: MaskPattern, generator: torch.Generator) -> None:
    mask = orthogonal_masks(4000, (4, 4), 4, generator, pattern=pattern)[1]
    share = mask.hidden_patches().double().mean(0)
    assert (share - 0.75).abs().max() < 5 * (0.75 * 0.25 / 4000) ** 0.5


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

    def test_masks_that_overlap_or_do_not_fit_together(self) -> None:
        arithmetic = (
            r"count: expected 1 to 3 masks that hide 0.7 of a 14×14 grid, got 4: each shows int\(196·\(1 − 0.7\)\) = "
            r"58 patches, and 4·58 = 232 of 196 cannot be disjoint; ask for fewer masks or a larger ratio"
        )
        with pytest.raises(ValueError, match=arithmetic):
            orthogonal_masks(1, (14, 14), 4, ratio=0.7)
        with pytest.raises(ValueError, match="count: expected 1 to 4 masks .* 5·1 = 5 of 4 cannot be disjoint"):
            orthogonal_masks(1, (2, 2), 5, ratio=0.75)
        with pytest.raises(ValueError, match="count: expected 1 to 4 masks .*, got 0"):
            orthogonal_masks(1, (2, 2), 0, ratio=0.75)
        with pytest.raises(ValueError, match="ratio: expected a share of hidden patches between 0 and 1"):
            orthogonal_masks(1, (2, 2), 2, ratio=1.0)
        with pytest.raises(ValueError, match="masks: expected masks of one grid .*, got 6 of 5×5, 7 of 5×5; draw them"):
            join_masks(orthogonal_masks(1, (5, 5), 4))
        with pytest.raises(ValueError, match="masks: .* got no mask"):
            join_masks([])

    def test_patterns(self) -> None:
        with pytest.raises(ValueError, match="pattern: expected one of random, block, grid, got 'stripes'"):
            orthogonal_masks(1, (4, 4), 4, pattern="stripes")  # type: ignore[arg-type]
        with pytest.raises(
            ValueError, match="rows divisible by 2 and columns divisible by 2, as 4 lattices need, got 7×7"
        ):
            orthogonal_masks(1, (7, 7), 4, ratio=0.75, pattern="grid")

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
