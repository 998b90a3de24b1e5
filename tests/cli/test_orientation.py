"""Commands show pictures upright, whatever container says how they lie."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cli.commands import run
from data.pictures import array, save, turned_file
from splatlearn.evaluation import read_evaluations

CONTAINERS = (("TIFF", 6), ("TIFF, compressed", 3), ("PNG, XMP", 8), ("WEBP", 5))
"""All without loss, so that results are the same to the bit."""


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    """One picture, upright and in containers that are to be turned: all of the same name, in folders of their own."""
    pixels = array(7, 20, 36)
    save(tmp_path / "upright" / "a.png", 7, 20, 36)
    files = {"upright": tmp_path / "upright" / "a.png"}
    for container, orientation in CONTAINERS:
        files[container] = tmp_path / container / f"a.{container.partition(',')[0].lower()}"
        files[container].parent.mkdir()
        files[container].write_bytes(turned_file(container, pixels, orientation))
    return files


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "fit.json"}


@pytest.mark.parametrize(
    "command",
    [("edges",), ("segment", "--fit-steps", "1"), ("layers", "--count", "2"), ("fit", "--steps", "2"), ("export",)],
)
def test_what_is_written_is_that_of_the_upright_picture(
    command: tuple[str, ...], model: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    found: dict[str, dict[str, bytes]] = {}
    for name, photo in photos.items():
        out = tmp_path / "out" / name
        out.mkdir(parents=True)
        named = (command[0], model, photo)
        where = ("--to", "ply", "--out", out / "a.ply") if command[0] == "export" else ("--out", out, "--device", "cpu")
        assert run(*named, *where, *command[1:]) == 0
        found[name] = written(out)
    assert found["upright"]
    for name, files in found.items():
        assert files == found["upright"], name


def test_pages_are_those_of_the_upright_picture(model: Path, photos: dict[str, Path], tmp_path: Path) -> None:
    viewed, reported = {}, {}
    (model / "recipe.json").write_text("{}")
    for name, photo in photos.items():
        assert run("view", model, photo, "--out", tmp_path / f"{name}.html", "--device", "cpu") == 0
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
        assert data is not None
        viewed[name] = json.loads(data[1])["images"]
    for name in ("upright", "TIFF"):
        page = tmp_path / f"{name} report.html"
        assert run("report", model, photos[name], "--out", page, "--device", "cpu") == 0
        reported[name] = re.findall(r'data:image/[^"]+', page.read_text(encoding="utf-8"))
    assert reported["TIFF"] == reported["upright"] != []
    for name in photos:
        assert viewed[name] == viewed["upright"], name


def test_features_are_those_of_the_upright_pictures(model: Path, tmp_path: Path) -> None:
    found = []
    for container, orientation in (("PNG", 1), *CONTAINERS):
        data = tmp_path / f"{container} data"
        for number in range(6):
            path = data / f"class {number % 2}" / f"{number}.{container.partition(',')[0].lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(turned_file(container, array(number, 20, 36), orientation))
        quick = ("--device", "cpu", "--precision", "fp32", "--no-controls", "--probes", "knn")
        assert run("evaluate", model, "--data", data, "--out", tmp_path / container, *quick) == 0
        (evaluation,) = read_evaluations(tmp_path / container)
        found.append(evaluation.subjects)
    assert len(found) == 1 + len(CONTAINERS) and np.isfinite(found[0][0].diagnostics["alignment"])
    assert all(each == found[0] for each in found)
