"""Pictures without contrast: no edges and no figures, whatever structure the model paints of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.small_models import small_gmae
from splatlearn.cli import main
from splatlearn.models import load_model
from splatlearn.zero_shot import (
    EdgeOptions,
    FigureOptions,
    ReadOptions,
    composite_layers,
    edges,
    edges_of,
    figure_ground,
    figure_ground_of,
    gaussians_of,
    layers_of,
)
from splatlearn.zero_shot.contrast import contrast_near, contrast_of

SIZE = (40, 60)
COLORS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5), "red": (0.9, 0.1, 0.2)}
READING = {"resize": ReadOptions(), "windows": ReadOptions("windows", window=16), "fitted": ReadOptions(fit_steps=2)}


def plain(color: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(color).reshape(1, 3, 1, 1).expand(1, 3, *SIZE).contiguous()


@pytest.mark.parametrize("reading", READING)
@pytest.mark.parametrize("color", COLORS)
def test_a_blank_page_has_neither_edges_nor_figures(color: str, reading: str) -> None:
    """The weights are random, so that what is painted of a blank page is far from blank."""
    model, page = small_gmae(), plain(COLORS[color])
    read = gaussians_of(model, page, READING[reading])
    assert float(read.rendering.color.std()) > 0.01
    for options in (EdgeOptions(), EdgeOptions("index"), EdgeOptions(cues=("tokens",)), EdgeOptions(thin=False)):
        assert float(edges_of(read, options).max()) == 0.0
    for method in ("mixtures", "groups", "order", "depth"):
        assert float(figure_ground_of(read, FigureOptions(method, center=method == "mixtures")).max()) == 0.0


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("size", [SIZE, (400, 500)], ids=str)
def test_tiny_noise_is_no_contrast(levels: int, size: tuple[int, int], generator: torch.Generator) -> None:
    noisy = 0.5 + torch.randn(2, 3, *size, generator=generator) * levels / 255
    # Eight bits are what a file holds.
    page = (noisy.clamp(0, 1) * 255).round() / 255
    assert float(contrast_of(page).max()) == float(contrast_near(page).max()) == 0.0
    if size == SIZE:
        assert float(edges(small_gmae(), page).max()) == float(figure_ground(small_gmae(), page).max()) == 0.0


def test_one_page_of_a_batch_does_not_speak_for_another(generator: torch.Generator) -> None:
    photo = torch.rand(1, 3, *SIZE, generator=generator)
    model = small_gmae()
    alone, both = edges(model, photo), edges(model, torch.cat([plain(COLORS["white"]), photo]))
    assert float(both[0].max()) == 0.0 < float(both[1].max())
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-3)


def test_the_blank_part_of_a_page_has_no_edges() -> None:
    page = plain(COLORS["white"])
    page[..., 10:20, 5:15] = 0.0
    found = edges(small_gmae(), page, EdgeOptions(thin=False))
    assert float(found[..., 30:].max()) == 0.0 < float(found[..., :20].max())


def test_contrast_is_full_for_all_that_can_be_seen() -> None:
    """From twelve grey levels on every pixel near a step counts fully, and one of six counts for nothing."""
    for levels, weight in ((12, 1.0), (9, 0.5), (6, 0.0)):
        page = plain(COLORS["grey"])
        page[:, 1, :, 30:] += levels / 255
        near = contrast_near(page)
        assert near.shape == (1, *SIZE)
        assert float(contrast_of(page)) == pytest.approx(weight, abs=0.02)
        assert float(near[0, :, 30].min()) <= weight + 0.01 and float(near[..., :10].max()) == 0.0
        assert float(near[0, :, 28:32].max()) == pytest.approx(weight, abs=0.15)
    # A slow ramp has little contrast anywhere, and much as a whole.
    ramp = torch.linspace(0, 0.2, 900).expand(1, 3, 100, 900)
    assert float(contrast_near(ramp).max()) == 0.0 and float(contrast_of(ramp)) == 1.0
    assert bool((contrast_near(torch.rand(1, 3, *SIZE)) == 1).all())
    assert contrast_near(torch.rand(2, 3, 1, 3)).shape == (2, 1, 3)


def test_a_scene_without_an_image_speaks_for_itself() -> None:
    """Of Gaussians alone the picture is what they paint."""
    read = dataclasses.replace(gaussians_of(small_gmae(), plain(COLORS["white"])), image=None)
    assert float(edges_of(read).max()) > 0.0


def test_layers_of_a_constant_picture_give_its_rendering() -> None:
    read = gaussians_of(small_gmae(), plain(COLORS["red"]))
    for rule in ("count", "visible", "clusters"):
        found = layers_of(read, 3, rule)
        assert bool(torch.isfinite(found).all())
        torch.testing.assert_close(composite_layers(found), read.rendering.color, atol=2e-3, rtol=0)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_fit_of_a_constant_picture_is_finite(shade: int, tmp_path: Path) -> None:
    Image.fromarray(np.full((24, 32, 3), shade, np.uint8)).save(tmp_path / "page.png")
    out = tmp_path / "out"
    options = ("--steps", "30", "--gaussians", "20", "--add", "5", "--device", "cpu", "--out", str(out))
    with pytest.raises(SystemExit) as stop:
        main(["fit", str(tmp_path / "page.png"), *options])
    assert not stop.value.code

    def refused(value: str) -> None:
        raise AssertionError(f"{value} is no JSON")

    (result,) = json.loads((out / "fit.json").read_text(), parse_constant=refused)
    assert 25 < result["trace"][-1]["psnr"] <= 100
    with Image.open(out / "page-fit.png") as image:
        assert abs(np.asarray(image).astype(int) - shade).mean() < 8


def test_the_packaged_model_sees_no_edges_on_a_blank_page() -> None:
    page = torch.ones(1, 3, 96, 128)
    for options in (ReadOptions(), ReadOptions("windows", window=64)):
        assert float(edges(load_model("gmae-tiny"), page, options=options).max()) == 0.0
