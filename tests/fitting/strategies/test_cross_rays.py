"""Cross-ray growth: windows of largest error, the places where they cross, and what grows there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fitting.strategies.hand_made import SIZE, optimizer, parameters, seen_once, step
from fitting.strategies.test_default import by_hand, tags
from fitting.test_scene_fit import pictures_of, scene
from fitting.test_scene_parameters import orbit
from splatlearn.core.cameras import Camera, PixelGrid
from splatlearn.core.errors import InputError
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies import cross_rays
from splatlearn.fitting.strategies.cross_rays import crossed, worst_windows
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.strategy import Edits, Errors, Seen
from splatlearn.reconstruction.recipes.pace_options import PaceOptions

HEIGHT, WIDTH = 80, 160


def looking(*eyes: tuple[float, float, float]) -> Camera:
    """Cameras that look at the origin."""
    each = [Camera.look_at(eye, (0.0, 0.0, 0.0), HEIGHT, WIDTH, 60.0) for eye in eyes]
    return replace(each[0], viewmats=torch.stack([camera.viewmats for camera in each]))


TWO = looking((0.0, 0.0, -4.0), (-4.0, 0.0, 0.0))


def errors_at(*places: tuple[int, int]) -> Tensor:
    """One wrong pixel in each picture, at a row and a column."""
    made = torch.zeros(len(places), HEIGHT, WIDTH)
    for index, (row, column) in enumerate(places):
        made[index, row, column] = 1.0
    return made


def test_a_window_has_the_largest_mean_error() -> None:
    """Against sums that are written out."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(3, 50, 90, generator=generator, dtype=torch.float64) ** 4
    found = worst_windows(errors)
    rows, columns = 50 // 4, 90 // 4
    for picture, (left, top, right, bottom) in zip(errors, found.tolist(), strict=True):
        assert (right - left, bottom - top) == (columns, rows)
        best = max(
            float(picture[y : y + rows, x : x + columns].sum())
            for y in range(50 - rows + 1)
            for x in range(90 - columns + 1)
        )
        assert float(picture[top:bottom, left:right].sum()) == pytest.approx(best, abs=1e-9)
    assert worst_windows(torch.zeros(1, 3, 2)).tolist() == [[0, 0, 1, 1]]


def test_rays_cross_where_both_windows_show_a_place() -> None:
    """Two views at right angles; each window alone is a pyramid, both together a block around the origin."""
    errors = Errors(TWO, errors_at((HEIGHT // 2, WIDTH // 2), (HEIGHT // 2, WIDTH // 2)))
    windows = worst_windows(errors.values).float()
    inside = windows.mean(0)
    middle = TWO[0].unproject(((inside[:2] + inside[2:]) / 2)[None], torch.tensor([4.0]))[0]
    places = torch.stack(
        [middle, middle + torch.tensor([0.0, 0.0, 2.0]), middle + torch.tensor([2.0, 0.0, 0.0]), -9 * middle]
    )
    places[3, 2] = -9.0
    one = Errors(TWO[:1], errors.values[:1])
    # The second lies behind the first, and so does the third in the other view; the fourth, behind a camera.
    assert crossed(places, [one]).tolist() == [False] * 4
    by_hand = torch.zeros(2, 4, dtype=torch.bool)
    for view in range(2):
        pixels, depths = TWO[view].project(places)
        left, top, right, bottom = windows[view]
        inside = (pixels >= torch.stack([left, top])) & (pixels < torch.stack([right, bottom]))
        by_hand[view] = inside.all(dim=1) & (depths > 0)
    assert by_hand[:, 0].all() and by_hand[0, 1] and not by_hand[1, 1]
    assert torch.equal(crossed(places, [errors]), by_hand.all(dim=0))
    # In groups of other sizes, views count together; without any error a view has no window.
    assert torch.equal(crossed(places, [one, Errors(TWO[1:], errors.values[1:])]), by_hand.all(dim=0))
    assert not bool(crossed(places, [Errors(TWO, errors.values * torch.tensor([1.0, 0.0])[:, None, None])]).any())


def test_windows_of_a_grid_are_where_its_pixels_lie(generator: torch.Generator) -> None:
    """Every third pixel of errors that are the same over blocks: the windows show the same places."""
    places = torch.randn(4_000, 3, generator=generator)
    grid = PixelGrid(3, 1, 2)
    values = grid.of(errors_at((50, 91), (35, 70))).contiguous()
    assert values.sum() == 2
    on_grid = crossed(places, [Errors(TWO, values, grid)])
    left, top, right, bottom = worst_windows(values).float().unbind(1)
    expected = torch.ones(len(places), dtype=torch.bool)
    for view in range(2):
        u, v = TWO[view].project(places)[0].unbind(-1)
        expected &= (u >= 1 + 3 * left[view]) & (u < 1 + 3 * right[view])
        expected &= (v >= 2 + 3 * top[view]) & (v < 2 + 3 * bottom[view])
    assert torch.equal(on_grid, expected) and 0 < int(on_grid.sum()) < len(places)


def test_gaussians_grow_where_rays_cross_whatever_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    values, options = by_hand(prune_opacity=0.0)
    where = torch.tensor([True, False, False, True, False, False])
    monkeypatch.setattr(
        "splatlearn.fitting.strategies.default.crossed", lambda means, errors: where if errors else ~where
    )
    errors = Errors(TWO, errors_at((3, 4), (5, 6)))
    seen = (Seen(SIZE, 1, seen_once([0.0] * 6), errors),)
    for is_on, edits in ((True, Edits(cloned=1, split=1)), (False, Edits())):
        adam = optimizer({name: each.clone() for name, each in values.items()})
        strategy = DefaultStrategy(replace(options, cross_rays=is_on))
        assert strategy.wants_errors(10) is is_on and not strategy.wants_errors(11)
        assert strategy.after_step(adam, step(10, seen=seen)) == edits
    # Where room is short, larger gradients win.
    adam = optimizer({name: each.clone() for name, each in values.items()})
    strategy = DefaultStrategy(replace(options, cross_rays=True, cap=7))
    seen = (Seen(SIZE, 1, seen_once([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), errors),)
    strategy.after_step(adam, step(10, seen=seen))
    assert adam.count == 7 and tags(adam)[-1] == 2


def test_a_fit_tells_its_strategy_where_pictures_are_wrong(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Gaussian is missing from the start: the rays cross where it was, and its neighbours grow."""
    truth, cameras = scene(generator), orbit(4, 96)
    pictures = pictures_of(truth, cameras)
    looked: list[list[Errors]] = []
    monkeypatch.setattr(
        "splatlearn.fitting.strategies.default.crossed",
        lambda means, errors: looked.append(errors) or crossed(means, errors),
    )
    start = truth.select(torch.arange(truth.count) != 7)
    options = DefaultOptions(start=0, every=2, stop=10, cross_rays=True, grow_gradient=1e3, prune_opacity=0.0)
    fit = SceneFit(start, 1.0, DefaultStrategy(options), SceneSchedule(degree=0))
    masks = torch.ones(4, 96, 96)
    masks[3] = 0.0
    first, second = (fit.step(cameras, pictures, masks) for _ in range(2))
    assert first.edits == Edits() and len(looked) == 1
    (errors,) = looked[0]
    assert errors.cameras.batch_shape == (4,) and not errors.values[3].any()
    assert bool(errors.values[:3].flatten(1).any(dim=1).all())
    grown = int(crossed(start.means, [errors]).sum())
    assert abs(second.edits.cloned + second.edits.split - grown) <= 2 and grown < start.count


def test_options_go_together() -> None:
    with pytest.raises(InputError, match="cross_rays: expected a views_per_step of 2 or more, got 1"):
        PaceOptions(cross_rays=True).check()
    PaceOptions(cross_rays=True, views_per_step=2).check()
    assert cross_rays.MEETING == 2 and not DefaultOptions().cross_rays
    assert not DefaultStrategy().wants_errors(600)
    assert parameters(2, torch.Generator().manual_seed(0))["means"].shape == (2, 3)
