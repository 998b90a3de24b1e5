import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splatlearn.data import Batch
from splatlearn.models import create_model
from splatlearn.training import Recipe, pretrain
from splatlearn.training.pretraining.cost import PretrainingCost, growing_grids
from training.small_run import losses, pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")


def growing(recipe: Recipe, smallest: float = 0.5, share: float = 0.5) -> Recipe:
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, grow_from=smallest, grow_for=share))


@given(rows=st.integers(1, 30), columns=st.integers(1, 30), smallest=st.floats(0.01, 1.0))
def test_grids_grow_a_patch_at_a_time_to_the_whole(rows: int, columns: int, smallest: float) -> None:
    grids = growing_grids((rows, columns), smallest)
    longer = [max(grid) for grid in grids]
    assert grids[-1] == (rows, columns) and longer == list(range(longer[0], max(rows, columns) + 1))
    assert abs(longer[0] - smallest * max(rows, columns)) <= 1
    for grid in grids:
        assert abs(min(grid) - min(rows, columns) * max(grid) / max(rows, columns)) <= 1
    assert growing_grids((rows, columns), 1.0) == [(rows, columns)]


def test_what_is_seen_grows_while_the_run_goes_on(tmp_path: Path) -> None:
    recipe = growing(small_recipe(tmp_path)).resolved()
    model = create_model(str(recipe.model), seed=0, options=recipe.options)
    cost = PretrainingCost(recipe, model, torch.device("cpu"), "fp32")
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(16).mul(16).to(torch.uint8).expand(2, 3, 16, 16).contiguous()
    batch = Batch(ramp, torch.rand(2, 16, generator=generator), torch.arange(2), (), ())
    sides = []
    for done in (0.0, 0.24, 0.26, 0.49, 0.5, 1.0):
        cost.at(done, 0)
        seen = cost.seen(batch.images.float() / 255)
        # Resizing keeps a ramp a ramp and its mean, whatever the size.
        assert seen.mean().item() == pytest.approx(7.5 * 16 / 255, abs=1e-3)
        mask = cost.mask(batch.noise)
        assert mask.grid == (seen.shape[2] // 4, seen.shape[3] // 4)
        assert mask.visible.shape[1] + mask.hidden.shape[1] == mask.grid[0] * mask.grid[1]
        assert bool(torch.isfinite(cost(model, batch, 0, 0).loss))
        sides.append(seen.shape[-1])
    assert sides == [8, 8, 12, 12, 16, 16]


@pytest.mark.parametrize("method", ["gmae", "mae"])
def test_a_growing_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path, method: str) -> None:
    pretrain(growing(small_recipe(tmp_path / "whole", method)), pictures())
    pretrain(growing(small_recipe(tmp_path / "parts", method, stop_after=2)), pictures())
    pretrain(growing(small_recipe(tmp_path / "parts", method, resume=True)), pictures())
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    pretrain(small_recipe(tmp_path / "fixed", method), pictures())
    assert not np.allclose(list(losses(tmp_path / "fixed").values()), list(losses(tmp_path / "whole").values()))


def test_shares_out_of_range_and_grids_too_small(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="grow_from: expected a number above 0 and at most 1, got 0"):
        growing(small_recipe(tmp_path), 0.0)
    with pytest.raises(ValueError, match="grow_for: expected a number between 0 and 1, got 1.5"):
        growing(small_recipe(tmp_path), 0.5, 1.5)
    recipe = growing(small_recipe(tmp_path / "run"), 0.1)
    with pytest.raises(ValueError, match="ratio"):
        pretrain(recipe, pictures())
    assert not (tmp_path / "run").exists()
