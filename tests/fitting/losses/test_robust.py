"""Weights for passers-by: those of a loop over squares, remembered in the fit, and better views than without them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fitting.test_scene_fit import disturbed, pictures_of, scene
from fitting.test_scene_parameters import orbit
from scenes import random_sh
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import SceneRates, psnr
from splatlearn.fitting.losses.robust import RobustOptions, RobustWeights
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.views.view_batch import ViewBatch
from splatlearn.rendering import render


def test_weights_are_those_of_a_loop(generator: torch.Generator) -> None:
    images, targets = torch.rand(2, 3, 24, 30, generator=generator), torch.rand(2, 4, 24, 30, generator=generator)
    masks = (torch.rand(2, 24, 30, generator=generator) < 0.8).float() * 0.5
    behind = torch.rand(2, 3, generator=generator)
    robust = RobustWeights(RobustOptions(scale=2.0, block=5))
    found = robust.weigh(1, images, targets, behind, masks)
    alpha = targets[:, 3:]
    wanted = alpha * targets[:, :3] + (1 - alpha) * behind[:, :, None, None]
    residuals = (images - wanted).abs().mean(dim=1)
    smooth = torch.zeros(2, 24, 30)
    for view in range(2):
        for row in range(24):
            for column in range(30):
                rows, columns = slice(max(0, row - 2), row + 3), slice(max(0, column - 2), column + 3)
                counts = masks[view, rows, columns] > 0
                if bool(counts.any()):
                    smooth[view, row, column] = residuals[view, rows, columns][counts].mean()
    known = smooth[masks > 0].sort().values
    typical = float(known[(len(known) - 1) // 2])
    expected = masks / (1 + (smooth / (2 * typical)) ** 2) ** 2
    assert found is not None
    torch.testing.assert_close(found[masks > 0], expected[masks > 0], rtol=1e-4, atol=1e-5)
    assert bool((found[masks == 0] == 0).all())
    robust.commit()
    assert robust.typical == pytest.approx(typical, rel=1e-5)
    robust.weigh(2, 0.5 * images + 0.5 * wanted, targets, behind, masks)
    robust.drop()
    robust.commit()
    assert robust.typical == pytest.approx(typical, rel=1e-5)
    robust.weigh(2, 0.5 * images + 0.5 * wanted, targets, behind, masks)
    robust.commit()
    assert robust.typical == pytest.approx((0.95 + 0.05 / 2) * typical, rel=1e-4)


def test_pictures_that_are_not_finite_keep_their_masks() -> None:
    robust, targets = RobustWeights(), torch.zeros(1, 3, 16, 16)
    assert robust.weigh(1, torch.full((1, 3, 16, 16), torch.nan), targets, "black", None) is None
    masks = torch.zeros(1, 16, 16)
    assert robust.weigh(1, torch.ones(1, 3, 16, 16), targets, "black", masks) is masks
    robust.commit()
    assert robust.typical is None and robust.state_dict() == {}
    later = RobustWeights(RobustOptions(begin=3))
    assert later.weigh(2, torch.ones(1, 3, 16, 16), targets, "black", None) is None
    assert later.weigh(3, torch.ones(1, 3, 16, 16), targets, "black", None) is not None
    with pytest.raises(InputError, match="quantile: expected a finite number above 0 and below 1, got 1"):
        RobustOptions(quantile=1)
    with pytest.raises(FormatError, match="state: expected typical, got other"):
        robust.load_state_dict({"other": torch.zeros(())})


def room() -> Gaussians:
    """Small Gaussians in the middle, before walls all around."""
    generator = torch.Generator().manual_seed(5)
    walls = random_sh(generator, 0, (), 400)
    assert walls.sh is not None
    places = 2.2 * torch.nn.functional.normalize(walls.means, dim=-1)
    opaque = torch.full((400,), 0.95)
    walls = replace(walls, means=places, scales=torch.full((400, 3), 0.3), opacities=opaque, sh=1.2 * walls.sh)
    return Gaussians.cat([scene(torch.Generator().manual_seed(3)), walls])


def with_passers_by(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture with a square of one colour over a fifth of its area, somewhere."""
    made, (height, width) = pictures.clone(), pictures.shape[-2:]
    side = int((height * width / 5) ** 0.5)
    for picture in made:
        row = int(torch.randint(height - side, (), generator=generator))
        column = int(torch.randint(width - side, (), generator=generator))
        color = torch.randint(0, 256, (3, 1, 1), generator=generator, dtype=torch.uint8)
        picture[:, row : row + side, column : column + side] = color
    return made


def fit_of(pictures: Tensor, robust: RobustWeights | None, steps: int, made: int | None = None) -> SceneFit:
    """A fit of `made` steps of `steps` towards pictures of the room, from disturbed Gaussians of other colours."""
    generator = torch.Generator().manual_seed(7)
    truth = room()
    assert truth.sh is not None
    start = replace(disturbed(truth, generator), sh=0.3 * torch.randn(truth.sh.shape, generator=generator))
    rates = SceneRates(position=4e-3, position_last=4e-4, color=0.02)
    strategy = DefaultStrategy(replace(DefaultOptions.for_steps(steps, 900), reset_every=10_000))
    fit = SceneFit(
        start, 1.0, strategy, SceneSchedule(steps=steps, rates=rates, degree=2, degree_every=40), robust=robust
    )
    go_on(fit, pictures, steps if made is None else made)
    return fit


def go_on(fit: SceneFit, pictures: Tensor, last: int) -> None:
    cameras = orbit(len(pictures), 48)
    for number in range(fit.done, last):
        which = torch.tensor([(7 * number) % len(pictures)])
        fit.step(cameras[which], pictures[which])


def test_passers_by_spoil_clean_views_less() -> None:
    truth, held_out = room(), orbit(61, 48)[torch.arange(1, 60, 6)]
    clean, wanted = pictures_of(truth, orbit(20, 48)), pictures_of(truth, held_out)
    spoilt = with_passers_by(clean, torch.Generator().manual_seed(1))

    def quality(pictures: Tensor, robust: RobustWeights | None) -> float:
        fitted = fit_of(pictures, robust, 320).gaussians().detach()
        return float(psnr(render(fitted, held_out, "black", depth=False).color, wanted).mean())

    plain, robust = quality(spoilt, None), quality(spoilt, RobustWeights())
    assert robust >= plain + 2.0, (plain, robust)


@pytest.mark.large
def test_photographs_without_passers_by_lose_little() -> None:
    truth, held_out = room(), orbit(61, 48)[torch.arange(1, 60, 6)]
    clean, wanted = pictures_of(truth, orbit(20, 48)), pictures_of(truth, held_out)
    scores: list[float] = []
    for robust in (None, RobustWeights()):
        fitted = fit_of(clean, robust, 480).gaussians().detach()
        scores.append(float(psnr(render(fitted, held_out, "black", depth=False).color, wanted).mean()))
    assert scores[1] >= scores[0] - 0.5, scores


def test_a_step_without_an_update_leaves_no_residual() -> None:
    """Its first batch is finite, its second is not."""
    pictures, cameras = pictures_of(room(), orbit(9, 48)).float() / 255, orbit(9, 48)
    robust = RobustWeights()
    fit = fit_of(pictures, robust, 12, 2)
    before = robust.typical
    broken = torch.full_like(pictures[:1], torch.nan)
    result = fit.step_on([ViewBatch(cameras[:1], 1 - pictures[:1]), ViewBatch(cameras[1:2], broken)])
    assert result.skipped and before is not None and robust.typical == before


def test_a_robust_fit_goes_on_with_the_same_bits() -> None:
    pictures = pictures_of(room(), orbit(9, 48))
    whole, first, second = (fit_of(pictures, RobustWeights(), 12, made) for made in (12, 7, 1))
    second.load_state_dict(first.state_dict())
    go_on(second, pictures, 12)
    ours, theirs = whole.state_dict(), second.state_dict()
    assert "robust.typical" in ours and ours.keys() == theirs.keys()
    assert all(torch.equal(each, theirs[name]) for name, each in ours.items())
