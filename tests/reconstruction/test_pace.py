"""What a step of a reconstruction sees: several photographs, grids of pixels; and how the Gaussians are counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.core.cameras import WHOLE_PICTURE, PixelGrid
from splatlearn.core.errors import InputError
from splatlearn.fitting.strategies.budget import Budget
from splatlearn.fitting.strategies.default import DefaultStrategy
from splatlearn.reconstruction import CaptureOptions, SceneOptions, SceneRecipe, SceneRunOptions, reconstruct
from splatlearn.reconstruction.recipes.pace_options import PaceOptions
from splatlearn.reconstruction.recipes.schedules import strategy_of
from splatlearn.reconstruction.recipes.term_options import TermOptions
from splatlearn.reconstruction.recipes.view_options import ViewOptions
from splatlearn.reconstruction.running.combinations import check_combinations
from splatlearn.reconstruction.running.planning import _seconds_of, pixels_of_step
from splatlearn.reconstruction.running.views import StepViews, batches_of, grid_at, order_of_epoch, target_of
from splatlearn.runs.log import LOG

CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A capture of nine photographs, two of them held out, with 60 points."""
    return write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)


def log_of(folder: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{name: each for name, each in entry.items() if name != "seconds"} for entry in entries if "loss" in entry]


@pytest.mark.parametrize(
    "options",
    [
        {"views_per_step": 3, "stride": 2, "strategy": "mcmc", "anneal": 0.5},
        {
            "views_per_step": 2, "stride": 2, "strategy": "default", "budget_exponent": -1.0, "budget_adapts": True,
            "color_growth": 0.5, "prune": 0.3,
        },
    ],
    ids=["mcmc", "default"],
)  # fmt: skip
def test_a_run_of_any_pace_goes_on_bit_for_bit(options: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {
        "steps": 24, "max_gaussians": 90, "evaluate_every": 12, "checkpoint_every": 8, "degree": 1, "coarse": 0.25
    } | options  # fmt: skip
    whole = reconstruct(photos, tmp_path / "whole", **quick)
    reconstruct(photos, tmp_path / "parts", stop_after=11, **quick)
    parts = reconstruct(photos, tmp_path / "parts", resume=True)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")
    ours, theirs = whole.gaussians.tensors(), parts.gaussians.tensors()
    assert all(torch.equal(each, theirs[name]) for name, each in ours.items())
    assert 0 <= whole.waited <= whole.seconds
    if "prune" in options:
        counts = [entry["gaussians"] for entry in log_of(tmp_path / "whole")]
        assert counts[-1] < max(counts) <= 90


def test_steps_see_the_photographs_of_an_epoch_in_turn(photos: Path) -> None:
    capture = load_capture(photos)
    with Photographs([capture.views[index] for index in capture.training], 1600, 10**8) as photographs:
        count = len(photographs)
        views = StepViews(photographs, 3)
        names = [[each.name for each in views.step(step, 3, 1)] for step in range(14)]
        flat = [name for step in names for name in step]
        for epoch in range(6):
            order = [photographs.views[index].name for index in order_of_epoch(3, epoch, count)]
            assert flat[epoch * count : (epoch + 1) * count] == order
        again = StepViews(photographs, 3)
        assert [each.name for each in again.step(9, 3, 1)] == names[9]


def test_targets_made_in_advance_are_those_that_are_made_when_needed(photos: Path) -> None:
    capture = load_capture(photos)
    with Photographs([capture.views[index] for index in capture.training], 1600, 10**8) as photographs:
        views = StepViews(photographs, 3)
        for step in range(9):
            downscale = 2 if step < 6 else 1
            for place, found in enumerate(views.step(step, 2, downscale)):
                again = StepViews(photographs, 3)
                made = again.at(2 * step + place, downscale)
                assert made is not None and made.name == found.name and torch.equal(made.pixels, found.pixels)
                again.close()
            assert len(views._coming) <= 2
        views.close()


def test_a_photograph_that_breaks_in_advance_is_left_out_in_its_turn(photos: Path) -> None:
    capture = load_capture(photos)
    with Photographs([capture.views[index] for index in capture.training], 1600, 10**8) as photographs:
        order = [photographs.views[index] for index in order_of_epoch(0, 0, len(photographs))]
        order[1].path.write_bytes(b"")
        views = StepViews(photographs, 0)
        names = [[each.name for each in views.step(step, 1, 2)] for step in range(3)]
        views.close()
    assert names == [[order[0].name], [order[2].name], [order[2].name]]
    assert list(views.unreadable) == [order[1].name]


def test_photographs_of_several_sizes_are_grouped_in_order(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9))
    capture = load_capture(folder)
    with Photographs([capture.views[index] for index in capture.training], 1600, 10**8) as photographs:
        large, small = ([target_of(photographs[index], 1) for index in indices] for indices in ((0, 1), (2, 3)))
    small = [replace(each, camera=each.camera.resized(16, 20), pixels=each.pixels[:, :, ::2, ::2]) for each in small]
    grid = PixelGrid(2, 1, 1)
    batches = batches_of([large[0], small[0], large[1], small[1]], "white", grid, CPU)
    assert [(each.count, each.targets.shape[-2:]) for each in batches] == [(2, (32, 40)), (2, (16, 20))]
    assert torch.equal(batches[0].targets, torch.cat([each.pixels for each in large]))
    assert torch.equal(batches[1].cameras.viewmats, torch.cat([each.camera.viewmats for each in small]))
    assert torch.as_tensor(batches[1].cameras.fx).tolist() == [float(each.camera.fx) for each in small]
    assert all(each.grid == grid and each.background == "white" for each in batches)


def test_grids_are_drawn_for_each_step_once_photographs_have_their_size() -> None:
    assert grid_at(5, 3, 2, 0) == grid_at(5, 1, 1, 0) == WHOLE_PICTURE
    found = [grid_at(step, 3, 1, 7) for step in range(300)]
    assert found == [grid_at(step, 3, 1, 7) for step in range(300)]
    counts = {grid: found.count(grid) for grid in found}
    assert len(counts) == 9 and min(counts.values()) > 15 and all(grid.stride == 3 for grid in counts)


def recipe(scene: SceneOptions, pace: PaceOptions) -> SceneRecipe:
    return SceneRecipe(CaptureOptions("photos"), SceneRunOptions("run"), scene, pace=pace).resolved()


def test_the_strategy_has_the_options() -> None:
    pace = PaceOptions(budget_exponent=0.0, budget_adapts=True, color_growth=0.2, prune=0.6)
    made = strategy_of(recipe(SceneOptions(steps=3_000, strategy="default"), pace), 500, 4_000)
    assert isinstance(made, DefaultStrategy)
    assert made.options.budget == Budget(500, 4_000, 0.0, adapts=True)
    assert (made.options.color_share, made.options.prune_share, made.options.cap) == (0.2, 0.6, 4_000)
    plain = strategy_of(recipe(SceneOptions(steps=3_000, strategy="default"), PaceOptions()), 500, 4_000)
    assert isinstance(plain, DefaultStrategy) and plain.options.budget is None


def test_the_expected_time_follows_the_pixels_of_a_step() -> None:
    scene = SceneOptions(steps=100, coarse=0.3)
    plain, many, strided = (recipe(scene, pace) for pace in (PaceOptions(), PaceOptions(4), PaceOptions(stride=2)))
    assert _seconds_of(many, 50, 100, 1.0, 1.0) == pytest.approx(4 * _seconds_of(plain, 50, 100, 1.0, 1.0))
    assert _seconds_of(strided, 50, 100, 1.0, 1.0) == pytest.approx(0.5 + 0.5 / 4)
    assert _seconds_of(strided, 5, 100, 1.0, 1.0) == _seconds_of(plain, 5, 100, 1.0, 1.0)


def test_the_pixels_of_a_step_are_those_of_all_views_and_instants(photos: Path) -> None:
    made = recipe(SceneOptions(), PaceOptions(views_per_step=3))
    with Photographs(load_capture(photos).views) as photographs:
        assert pixels_of_step(made, photographs) == 3 * 32 * 40
        blurred = replace(made, views=ViewOptions(shake="linear", exposures=5))
        assert pixels_of_step(blurred, photographs) == 3 * 5 * 32 * 40


def test_a_recipe_of_an_earlier_version_has_one_view_a_step(photos: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"steps": 6, "max_gaussians": 70, "degree": 0}
    reconstruct(photos, tmp_path / "run", stop_after=3, **quick)
    stored = tmp_path / "run" / "recipe.json"
    content = json.loads(stored.read_text())
    assert content.pop("pace") == {
        "views_per_step": 1, "stride": 1, "anneal": 0.0, "budget_exponent": "none", "budget_adapts": False,
        "color_growth": 0.0, "cross_rays": False, "prune": 0.0,
    }  # fmt: skip
    stored.write_text(json.dumps(content))
    assert reconstruct(photos, tmp_path / "run", resume=True).steps == 6


@pytest.mark.parametrize(
    ("scene", "pace", "message"),
    [
        (
            SceneOptions(strategy="absgrad", filter="mip"),
            PaceOptions(),
            "filter: expected point with the strategy absgrad",
        ),
        (
            SceneOptions(strategy="default"),
            PaceOptions(stride=3),
            "stride: expected 1 with the strategy default on cuda",
        ),
        (
            SceneOptions(strategy="mcmc", filter="mip"),
            PaceOptions(),
            "remove_floaters: expected the filter point on cuda",
        ),
    ],
)
def test_a_gpu_refuses_what_it_cannot_report(
    scene: SceneOptions, pace: PaceOptions, message: str, photos: Path
) -> None:
    capture, terms = load_capture(photos), TermOptions(remove_floaters=True)
    made = replace(recipe(scene, pace), terms=terms)
    plain = recipe(SceneOptions(strategy="mcmc"), PaceOptions(stride=3))
    with Photographs(capture.views) as photographs:
        check_combinations(made, photographs, CPU)
        check_combinations(plain, photographs, torch.device("cuda"))
        with pytest.raises(InputError, match=message):
            check_combinations(made, photographs, torch.device("cuda"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views_per_step": 0}, "views_per_step: expected a number above 0"),
        ({"stride": 0}, "stride: expected a number above 0"),
        ({"prune": 1.0}, "prune: expected a number from 0, below 1"),
        ({"budget_adapts": True, "strategy": "default"}, "budget_adapts: expected a budget_exponent"),
        ({"budget_exponent": 1.0}, "budget_exponent: expected the strategy default or absgrad, got mcmc"),
        ({"budget_exponent": 0.0}, "budget_exponent: expected the strategy default or absgrad, got mcmc"),
        (
            {"stride": 2, "distortion": 0.1},
            "stride: expected 1 with distortion, for which whole pictures are needed, got 2; leave out",
        ),
        ({"stride": 2, "poses": "refined", "defocus": True}, "stride: expected 1 with poses refined, defocus, for"),
        ({"prune": 0.5, "preset": "quality"}, "prune: expected the strategy default or absgrad, got mcmc"),
    ],
)
def test_options_that_cannot_work_are_refused(
    options: dict[str, Any], message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        reconstruct(photos, tmp_path / "run", **{"strategy": "mcmc", **options})
