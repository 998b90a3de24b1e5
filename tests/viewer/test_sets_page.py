"""The page of three sets: one file, whose first view holds the whole object."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import FIELD_OF_VIEW
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.viewer import ViewedSets, write_sets_view
from splatlearn.viewer.html import web_file
from splatlearn.viewer.sets_page import SCRIPTS

NASTY = "<img src=x onerror=alert(1)></script>&amp; 日本"
SIDE = 200


def three(seed: int, name: str = "leaf") -> ViewedSets:
    whole = random_gaussians(torch.Generator().manual_seed(seed), (), 300)
    return ViewedSets(name, whole.select(torch.arange(90)), whole.select(torch.arange(200)), whole, says=NASTY)


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
    broken = Gaussians.of({**sets.whole.tensors(), "means": torch.full((300, 3), torch.nan)})
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
