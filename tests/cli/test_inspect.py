"""`splatlearn inspect`: what it prints, its exit codes and its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from files.clouds import random_cloud
from splatlearn.cli import main
from splatlearn.files import write_splats


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Twelve photographs on a circle, as a transforms file, without points."""
    frames = []
    for index in range(12):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"images/{index:02}.png")
        angle = 2 * np.pi * index / 12
        back = np.array([np.cos(angle), np.sin(angle), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([np.cross((0, 0, 1.0), back), (0, 0, 1.0), back], axis=1)
        pose[:3, 3] = 3 * back
        frames.append({"file_path": f"images/{index:02}.png", "transform_matrix": pose.tolist()})
    document = {"w": 32, "h": 32, "fl_x": 30.0, "fl_y": 30.0, "cx": 16.0, "cy": 16.0, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    return tmp_path


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", *map(str, arguments)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_facts_and_problems_are_printed(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capture) == 1
    printed = capsys.readouterr().out.splitlines()
    assert "photographs with a camera  12 of 12" in printed
    assert [line for line in printed if line.startswith("problem: ")] == [
        "problem: there are no points; a fit starts from random Gaussians, which needs more steps; try --start planes"
    ]


def test_the_page_is_written_and_not_replaced_unasked(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = capture / "page.html"
    assert run(capture, "--out", page) == 1 and page.read_text().startswith("<!doctype html>")
    assert run(capture, "--out", page) == 2 and "exists; choose another with --out" in capsys.readouterr().err
    assert run(capture, "--out", page, "--overwrite") == 1


def test_what_is_no_capture_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nothing") == 2
    assert "expected a capture, found nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["transforms.json", "images/00.png"])
def test_no_file_of_the_capture_is_replaced(capture: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = (capture / name).read_bytes()
    assert run(capture, "--out", capture / name, "--overwrite") == 2
    assert "is an input of this command" in capsys.readouterr().err and (capture / name).read_bytes() == before


def test_a_splat_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloud = random_cloud(torch.Generator().manual_seed(0), 100, 1)
    write_splats(tmp_path / "scene.glb", cloud)
    assert run(tmp_path / "scene.glb", "--out", tmp_path / "scene.png") == 0
    printed = capsys.readouterr().out
    assert "format" in printed and "gltf" in printed and "no problems found" in printed
    with Image.open(tmp_path / "scene.png") as picture:
        assert picture.size == (640, 480)
        ink = 255 - np.asarray(picture.convert("L"), dtype=float)
    assert ink[180:300, 240:400].mean() > 40 > ink[:20].mean()
    assert run(tmp_path / "scene.glb", "--out", tmp_path / "scene.html") == 2
    assert "expected the name of a picture that ends in .png" in " ".join(capsys.readouterr().err.split())
    write_splats(tmp_path / "faint.glb", replace(cloud, opacities=cloud.opacities * 0.002))
    assert run(tmp_path / "faint.glb", "--images", "images_4") == 1
    told = capsys.readouterr()
    assert "problem: 100 of 100 Gaussians (100.0 %) have opacities below 1/255" in told.out
    assert "--images has no effect on a splat file" in " ".join(told.err.split())
