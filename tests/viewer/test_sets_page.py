"""The page of three sets: each canvas shows its set as the renderer does, and they turn together."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.splat_sets.sets import splat_set
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import FIELD_OF_VIEW
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.models import SplatMAE, SplatOptions, create_splat_model
from splatlearn.models.splats.options import Shared
from splatlearn.rendering import render
from splatlearn.viewer import ViewedSets, masked_sets, write_sets_view
from splatlearn.viewer.html import web_file
from splatlearn.viewer.sets_page import SCRIPTS
from viewer.browser import Visit
from viewer.pictured import psnr

NASTY = "<img src=x onerror=alert(1)></script>&amp; 日本"
SIDE = 200


def three(seed: int, name: str = "leaf") -> ViewedSets:
    whole = random_gaussians(torch.Generator().manual_seed(seed), (), 100)
    return ViewedSets(name, whole.select(torch.arange(30)), whole.select(torch.arange(70)), whole, says=NASTY)


def test_the_page_is_one_file_that_says_what_it_shows(tmp_path: Path) -> None:
    path = write_sets_view(tmp_path / "new" / "sets.html", NASTY, "lead", [three(0), three(1, NASTY)])
    page = path.read_text(encoding="utf-8")
    assert NASTY not in page and "&lt;img src=x" in page
    assert "default-src 'none'" in page and "http://" not in page and "https://" not in page
    for part in ("masked", "reconstructed", "whole"):
        assert f'data-part="{part}"' in page
    assert all(web_file(name).strip() in page for name in SCRIPTS)


def test_what_cannot_be_shown_is_named(tmp_path: Path) -> None:
    sets = three(0)
    with pytest.raises(InputError, match="objects: expected at least one"):
        write_sets_view(tmp_path / "sets.html", "", "", [])
    with pytest.raises(InputError, match="masked: gaussians: expected means of shape"):
        ViewedSets("x", sets.whole.select(torch.arange(0)), sets.reconstructed, sets.whole)
    broken = Gaussians.of({**sets.whole.tensors(), "means": torch.full((100, 3), torch.nan)})
    with pytest.raises(InputError, match="reconstructed: .*finite"):
        ViewedSets("x", sets.masked, broken, sets.whole)


def test_the_view_holds_the_whole_object() -> None:
    sets = three(3)
    packed = sets.packed()
    view = torch.tensor(packed["view"]).view(4, 4)
    assert packed["focal"] == pytest.approx(0.5 / torch.tensor(FIELD_OF_VIEW / 2).deg2rad().tan().item())
    camera = Camera.pinhole(SIDE, SIDE, FIELD_OF_VIEW, view)
    pixels, _ = camera.project(sets.whole.means.double())
    assert pixels.min() > 0 and pixels.max() < SIDE


@pytest.mark.parametrize("shared", ["hidden", "shown"])
def test_sets_of_a_model_are_what_it_sees_and_makes(shared: Shared, generator: torch.Generator) -> None:
    options = SplatOptions(draw=48, groups=8, group_size=8, encoder_depth=1, predictor_depth=1, shared=shared)
    model = create_splat_model("splat-mae_vit_micro", seed=0, options=options).eval()
    assert isinstance(model, SplatMAE)
    sets = masked_sets(model, "ball", splat_set(generator, 0), 0.5, seed=3)
    # Four groups of eight are predicted; what is seen is a part of the object, and of the reconstruction.
    assert sets.reconstructed.count == sets.masked.count + 32
    torch.testing.assert_close(sets.reconstructed.means[: sets.masked.count], sets.masked.means)
    distances = torch.cdist(sets.masked.means, sets.whole.means, compute_mode="donot_use_mm_for_euclid_dist")
    assert 0 < sets.masked.count < 48 and distances.amin(dim=1).max() < 1e-6
    again, other = (masked_sets(model, "ball", sets.whole, 0.5, seed=seed) for seed in (3, 4))
    torch.testing.assert_close(again.masked.means, sets.masked.means)
    assert other.masked.count != sets.masked.count or not torch.equal(other.masked.means, sets.masked.means)


def test_sets_that_cannot_be_reconstructed_are_refused(generator: torch.Generator) -> None:
    options = SplatOptions(draw=48, groups=8, group_size=8, encoder_depth=1)
    model = create_splat_model("splat-mae_vit_micro", "paper", 0, options)
    with pytest.raises(InputError, match="model: expected scale numbers that say how large a Gaussian is, got 'paper'"):
        masked_sets(model, "ball", splat_set(generator, 0))  # pyright: ignore[reportArgumentType]


def test_three_canvases_show_the_sets_and_turn_together(browser, tmp_path: Path) -> None:
    sets = three(5)
    path = write_sets_view(tmp_path / "sets.html", "title", "lead", [sets, three(6, "other")])
    visit = Visit(browser, path, 3 * SIDE + 80, 700)
    page = visit.page
    settled = page.locator("html[data-settled]")
    page.uncheck("#turning")
    page.click("#home")
    page.evaluate("document.activeElement.blur()")
    settled.wait_for(state="attached")
    before = [shown(page, place) for place in range(3)]
    side = before[0].shape[-1]
    camera = Camera.pinhole(side, side, FIELD_OF_VIEW, torch.tensor(sets.packed()["view"]).view(4, 4).float())
    for each, picture in zip((sets.masked, sets.reconstructed, sets.whole), before, strict=True):
        wanted = render(each, camera, "white", depth=False).color.clamp(0, 1)
        assert psnr(picture, wanted) > 32
    page.locator("canvas").nth(1).press("ArrowRight")
    page.evaluate("document.activeElement.blur()")
    settled.wait_for(state="attached")
    assert all(psnr(shown(page, place), before[place]) < 40 for place in range(3))
    page.select_option("#object", "1")
    page.locator("#says").wait_for()
    assert visit.complaints == []
    visit.close()


def shown(page, place: int) -> torch.Tensor:
    """A screenshot of a canvas, [3, H, W]."""
    box = page.locator("canvas").nth(place).bounding_box()
    # The browser puts the picture on whole pixels, halves rounded up.
    whole = {name: math.floor(value + 0.5) for name, value in box.items()}
    shot = page.screenshot(clip=whole, animations="disabled")
    picture = np.array(Image.open(io.BytesIO(shot)).convert("RGB"))
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255
