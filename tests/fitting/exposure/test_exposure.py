"""Colours of photographs: identities change no bit, known changes are found, grids are sliced as the formula says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fitting.test_scene_fit import scene
from fitting.test_scene_parameters import orbit
from splatlearn.core.errors import InputError
from splatlearn.core.geometry.harmonics import MAX_DEGREE, coefficient_count, harmonics_basis
from splatlearn.fitting import SceneRates, psnr
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.exposure.affine import MATRIX, AffineColors
from splatlearn.fitting.exposure.bilateral import (
    CELLS,
    GRID,
    LUMA,
    BilateralGrid,
    common_curves,
    sliced,
    total_variation,
)
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.views.view_model import SeenViews
from splatlearn.fitting.views.view_rows import Rate
from splatlearn.rendering import render

MODELS = [AffineColors, BilateralGrid]


def seen_of(*ids: int) -> SeenViews:
    return SeenViews(torch.tensor(ids), 1, Draws(0, 1))


@pytest.mark.parametrize("kind", MODELS)
def test_the_identity_changes_no_bit(kind: type[AffineColors | BilateralGrid], generator: torch.Generator) -> None:
    color = 1.5 * torch.rand(2, 3, 17, 23, generator=generator) - 0.2
    model = kind(4)
    assert torch.equal(model.picture(seen_of(3, 1), color), color)
    penalty = model.penalty(seen_of(3, 1))
    assert penalty is None or float(penalty.detach()) == 0.0


def moved_maps(model: AffineColors | BilateralGrid, generator: torch.Generator, steps: int = 12) -> None:
    """Move a model towards pictures with maps of their own and a large one that all of them share."""
    plain = torch.rand(model.count, 3, 15, 30, generator=generator)
    gains = 0.6 + 0.2 * torch.rand(model.count, 3, 1, 1, generator=generator)
    for number in range(1, steps + 1):
        rows = torch.randperm(model.count, generator=generator)[:2]
        seen = SeenViews(rows, number, Draws(0, number))
        loss = (model.picture(seen, plain[rows]) - gains[rows] * plain[rows] - 0.1).abs().mean()
        penalty = model.penalty(seen)
        (loss if penalty is None else loss + penalty).backward()
        model.move(seen, steps)
        model.settle({"colors": torch.zeros(1, 3)})


@pytest.mark.parametrize("kind", MODELS)
def test_the_mean_of_all_photographs_shows_the_colours_of_the_scene(
    kind: type[AffineColors | BilateralGrid], generator: torch.Generator
) -> None:
    """After any steps: over all photographs, and over all places of a picture of one colour."""
    model = kind(5, Rate(5e-2, 5e-2))
    moved_maps(model, generator)
    single = model.rows[MATRIX].detach()
    assert float(single.abs().max()) > 0.1
    # Pixels that share the sides of cells are spread evenly over these.
    for color in torch.rand(4, 3, generator=generator):
        picture = color[None, :, None, None].expand(5, 3, 30, 60)
        with torch.no_grad():
            shown = model.picture(seen_of(0, 1, 2, 3, 4), picture)
        assert float((shown - picture).abs().max()) > 0.05
        torch.testing.assert_close(shown.mean(dim=(0, 2, 3)), color, rtol=0, atol=2e-6)


@pytest.mark.parametrize("degree", [None, 0, 2])
def test_what_moves_to_the_scene_changes_no_picture(degree: int | None, generator: torch.Generator) -> None:
    """Colours of Gaussians in any direction, through the map of any photograph, before and after."""
    model = AffineColors(4)
    maps = 0.3 * torch.randn(4, 3, 4, generator=generator, dtype=torch.float64)
    model.rows.parameters[MATRIX] = maps.clone()
    way = torch.nn.functional.normalize(torch.randn(7, 3, generator=generator, dtype=torch.float64), dim=-1)
    shape = (7, 3) if degree is None else (7, coefficient_count(degree), 3)
    numbers = torch.randn(shape, generator=generator, dtype=torch.float64)
    parameters = {"colors" if degree is None else "sh": numbers.clone()}

    def shown() -> Tensor:
        (values,) = parameters.values()
        colors = values
        if degree is not None:
            colors = torch.einsum("km,kmc->kc", harmonics_basis(way, degree), values) + 0.5
        return model.picture(seen_of(0, 1, 2, 3), colors.T[None, :, None].expand(4, 3, 1, 7))

    before = shown()
    model.settle(parameters)
    assert not torch.allclose(next(iter(parameters.values())), numbers)
    torch.testing.assert_close(shown(), before, rtol=0, atol=1e-12)
    assert float(model.rows[MATRIX].mean(dim=0).abs().max()) < 1e-12
    # A mean map that loses a colour cannot be taken out of the others.
    model.rows.parameters[MATRIX] = torch.zeros(4, 3, 4, dtype=torch.float64)
    model.rows[MATRIX][:, 1, 1] = -1.0
    kept = model.rows[MATRIX].clone()
    model.settle(parameters)
    assert torch.equal(model.rows[MATRIX], kept)


def test_what_photographs_share_at_one_place_is_theirs(generator: torch.Generator) -> None:
    """A vignette stays where a tone curve and a gain are the scene's."""
    model = BilateralGrid(3)
    down, across = torch.linspace(-1, 1, CELLS[1])[:, None], torch.linspace(-1, 1, CELLS[2])
    vignette = -0.2 * (down.square() + across.square())
    curve = torch.linspace(0, 0.5, CELLS[0])[:, None, None]
    with torch.no_grad():
        model.rows[GRID].copy_((vignette + curve).expand_as(model.rows[GRID]))
        model.rows[MATRIX].fill_(0.1)
    model.settle({"colors": torch.zeros(1, 3)})
    left = model.rows[GRID].detach()
    torch.testing.assert_close(left, left[:1, :1, :1].expand_as(left))
    torch.testing.assert_close(left.diff(dim=3), vignette.diff(dim=0).expand_as(left.diff(dim=3)))
    assert float(common_curves(left).abs().max()) < 1e-6 and float(model.rows[MATRIX].detach().abs().max()) < 1e-12


@pytest.mark.parametrize("kind", MODELS)
def test_photographs_that_are_all_darker_make_the_scene_darker(
    kind: type[AffineColors | BilateralGrid], generator: torch.Generator
) -> None:
    """Maps are those of photographs as bright as the scene was, and the scene alone shows the mean photograph."""
    truth, cameras = scene(generator), orbit(4)
    bright = render(truth, cameras, "black").color.detach()
    own = torch.tensor([0.9, 1.1, 1.05, 0.95])[:, None, None, None]
    for common in (1.0, 0.6) if kind is AffineColors else (0.6,):
        model = kind(4)
        schedule = SceneSchedule(steps=60, degree=0, rates=SceneRates(color=0.02))
        fit = SceneFit(truth, 1.0, DefaultStrategy(DefaultOptions(stop=0)), schedule, view_models=(model,))
        for _ in range(60):
            fit.step(cameras, common * own * bright, views=torch.arange(4))
        with torch.no_grad():
            color = render(fit.gaussians(), cameras, "black").color
            gains = model.picture(seen_of(0, 1, 2, 3), color).mean(dim=(1, 2, 3)) / color.mean(dim=(1, 2, 3))
        assert float(psnr(color, common * bright).mean()) > 32
        torch.testing.assert_close(gains, own.flatten(), rtol=0, atol=0.05)


def test_slicing_is_trilinear() -> None:
    """Against weights that are written out, pixel by pixel."""
    generator = torch.Generator().manual_seed(0)
    grids = torch.randn(1, 12, 3, 2, 4, generator=generator, dtype=torch.float64)
    color = 1.4 * torch.rand(1, 3, 5, 7, generator=generator, dtype=torch.float64) - 0.2
    found = sliced(grids, color)
    for row in range(5):
        for column in range(7):
            luma = float((color[0, :, row, column] * torch.tensor(LUMA, dtype=torch.float64)).sum())
            places = min(max(luma, 0.0), 1.0) * 2, (row + 0.5) / 5 * 1, (column + 0.5) / 7 * 3
            value = torch.zeros(12, dtype=torch.float64)
            for cell in range(8):
                index, weight = [], 1.0
                for axis, place in enumerate(places):
                    low = min(int(place), grids.shape[2 + axis] - 2)
                    upper = cell >> axis & 1
                    index.append(low + upper)
                    weight *= place - low if upper else 1 - (place - low)
                value += weight * grids[0, :, index[0], index[1], index[2]]
            torch.testing.assert_close(found[0, :, :, row, column].flatten(), value)


def test_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    grids = torch.randn(2, 12, 2, 3, 2, generator=generator, dtype=torch.float64).requires_grad_()
    color = (0.1 + 0.8 * torch.rand(2, 3, 3, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(sliced, (grids, color))
    assert torch.autograd.gradcheck(total_variation, (grids,))


def test_total_variation_is_the_mean_square_of_differences() -> None:
    grids = torch.zeros(1, 12, 2, 3, 4)
    assert float(total_variation(grids + 3.0)) == 0.0
    grids[:, :, 1] = 2.0
    assert float(total_variation(grids)) == pytest.approx(4.0)
    grids = torch.arange(4.0).expand(1, 12, 2, 3, 4)
    assert float(total_variation(grids)) == pytest.approx(1.0)
    assert float(total_variation(torch.rand(1, 12, 1, 1, 1))) == 0.0
    with pytest.raises(InputError, match="smooth"):
        BilateralGrid(3, smooth=-1.0)


@pytest.mark.parametrize("kind", MODELS)
def test_known_changes_are_found_up_to_the_common_one(kind: type[AffineColors | BilateralGrid]) -> None:
    """Pictures with known maps of colours, whose mean is the identity."""
    generator = torch.Generator().manual_seed(3)
    plain = torch.rand(6, 3, 24, 24, generator=generator)
    changes = 0.25 * torch.randn(6, 3, 4, generator=generator)
    changes[..., 3] *= 0.3
    changes -= changes.mean(0)
    maps = torch.eye(3, 4) + changes
    pictures = torch.einsum("vij,vjhw->vihw", maps[..., :3], plain) + maps[..., 3, None, None]
    rate = Rate(2e-2, 1e-3)
    model = kind(6, rate)
    steps = 400 if kind is AffineColors else 150
    for number in range(steps):
        seen = SeenViews(torch.arange(6), number + 1, Draws(0, number + 1))
        loss = (model.picture(seen, plain) - pictures).square().mean()
        penalty = model.penalty(seen)
        (loss if penalty is None else loss + penalty).backward()
        model.move(seen, steps)
        model.settle({"colors": torch.zeros(1, 3)})
    with torch.no_grad():
        made = torch.cat([model.picture(seen_of(row), plain[row : row + 1]) for row in range(6)])
    before, after = ((each - pictures).square().mean().sqrt() for each in (plain, made))
    # Cells that a photograph's colours hardly touch follow their neighbours slowly.
    most = 0.05 if kind is AffineColors else 0.2
    assert float(after) < most * float(before), (float(before), float(after))
    if kind is AffineColors:
        torch.testing.assert_close(model.rows[MATRIX].detach(), changes, rtol=0, atol=0.03)


def test_the_background_of_transparent_photographs_tells_nothing_of_their_colours(generator: torch.Generator) -> None:
    """Photographs of the scene itself, each changed by its map, have no loss before any background."""
    truth, cameras = scene(generator), orbit(3)
    rendering = render(truth, cameras, "black")
    model = AffineColors(3)
    with torch.no_grad():
        model.rows[MATRIX].copy_(0.2 * torch.randn(3, 3, 4, generator=generator))
    alpha = rendering.alpha.unsqueeze(1)
    own = model.picture(seen_of(0, 1, 2), rendering.color / alpha.clamp_min(1e-6)).detach()
    targets = torch.cat([torch.where(alpha > 0, own, 0.0), alpha], dim=1)
    schedule = SceneSchedule(degree=MAX_DEGREE)
    change = model.rows[MATRIX].detach().clone()
    for background in (torch.zeros(3), torch.tensor([0.9, 0.2, 0.6]), torch.rand(3, 3, generator=generator)):
        model = AffineColors(3)
        with torch.no_grad():
            model.rows[MATRIX].copy_(change)
        fit = SceneFit(truth, 1.0, DefaultStrategy(), schedule, view_models=(model,))
        result = fit.step(cameras, targets, background=background, views=torch.arange(3))
        assert result.loss < 1e-4
