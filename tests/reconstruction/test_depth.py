"""A reconstruction reads known depths, is supervised by them, and reports how far rendered depths are off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from captures.synthetic import lens_of, synthetic, write_colmap_binary, write_photographs
from reconstruction.small_captures import HEIGHT, WIDTH, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.captures.observations import TrackDepths
from splatlearn.cli.evaluate_scene import evaluate_scene
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.reconstruction import SceneRecipe, SceneRun, reconstruct
from splatlearn.reconstruction.results.known_depths import KnownDepths
from splatlearn.reconstruction.running.views import StepViews
from splatlearn.rendering import render
from splatlearn.runs.log import LOG


def slanted_wall() -> Gaussians:
    """A wall of one colour, 2 to 5 units before cameras at z = −3: pictures hardly say how far it is."""
    across, down = torch.meshgrid(torch.linspace(-4, 4, 40), torch.linspace(-3, 3, 30), indexing="ij")
    count = across.numel()
    return Gaussians(
        means=torch.stack([across.flatten(), down.flatten(), 0.5 + 0.4 * across.flatten()], dim=-1),
        scales=torch.full((count, 3), 0.15),
        quaternions=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacities=torch.full((count,), 0.99),
        colors=torch.full((count, 3), 0.6),
    )


def with_depths(folder: Path, count: int = 9) -> Path:
    """A capture of the wall with depth maps, a thousandth for a step."""
    places = [(2.0 * number / (count - 1) - 1.0, 0.3 * (number % 3), -3.0) for number in range(count)]
    cameras = [Camera.look_at(place, (place[0], place[1], 0.0), HEIGHT, WIDTH, 60.0) for place in places]
    gaussians = slanted_wall()
    write_capture(folder, gaussians, cameras)
    content = json.loads((folder / "transforms.json").read_text())
    (folder / "depth").mkdir()
    for number, (camera, frame) in enumerate(zip(cameras, content["frames"], strict=True)):
        shown = render(gaussians, camera, "black")
        assert shown.depth is not None
        values = torch.where(shown.alpha > 0.9, 1000 * shown.depth, 0.0).round().numpy().astype(np.uint16)
        frame["depth_file_path"] = f"depth/photo-{number:03d}.png"
        Image.fromarray(values).save(folder / frame["depth_file_path"])
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_depths(tmp_path_factory.mktemp("depth") / "photos")


def test_supervised_depths_are_nearer_the_known_ones(photos: Path, tmp_path: Path, capsys) -> None:
    errors = []
    for weight in (0.0, 3.0):
        out = tmp_path / f"run {weight}"
        options = {
            "steps": 200,
            "max_gaussians": 300,
            "start": "random",
            "random_start": 200,
            "degree": 0,
            "coarse": 0,
            "position_rate": 1e-2,
        }
        result = reconstruct(photos, out, depth_weight=weight, strategy="default", **options)
        assert result.scores is not None and result.scores.depth is not None
        errors.append(result.scores.depth)
        entries = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
        losses = [entry for entry in entries if "loss" in entry]
        assert all(("depth" in entry.get("terms", {})) == (weight > 0) for entry in losses)
        stored = json.loads((out / "scores.json").read_text())
        assert stored["depth"]["median"] == pytest.approx(result.scores.depth.median)
    assert errors[1].median < 0.6 * errors[0].median
    capsys.readouterr()
    assert evaluate_scene(str(tmp_path / "run 3.0")) == 0
    said = capsys.readouterr().out
    assert f"{errors[1].median:.4g} ({100 * errors[1].relative:.1f} %" in said
    assert "depth error: median, in units of the capture, against the depth camera" in said


def test_a_resumed_run_with_depths_has_the_same_bits(photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "steps": 16,
        "max_gaussians": 90,
        "start": "random",
        "degree": 0,
        "depth_weight": 0.1,
        "distortion": 0.1,
    }
    whole = reconstruct(photos, tmp_path / "whole", **options)
    reconstruct(photos, tmp_path / "parts", stop_after=7, **options)
    parts = reconstruct(photos, tmp_path / "parts", resume=True)
    for name, each in whole.gaussians.tensors().items():
        assert torch.equal(each, parts.gaussians.tensors()[name])


def test_depths_follow_the_size_of_a_step(photos: Path) -> None:
    capture = load_capture(photos)
    depths = KnownDepths(capture)
    assert depths.source == "sensor"
    views = [capture.views[index] for index in capture.training]
    with Photographs(views, None, frame=capture.to_unit, depth=True) as photographs:
        steps = StepViews(photographs, 0, depths=depths)
        full = steps.at(0, 1)
        assert full is not None and full.depth is not None and full.depth.maps is not None
        photo = next(photo for photo in photographs if photo.name == full.name)
        assert photo.depth is not None and torch.equal(full.depth.maps[0], photo.depth)
        assert float(photo.depth.max()) / capture.to_unit.scale == pytest.approx(4.0, abs=1.5)
        smaller = full.depth.resized((32, 40), (16, 20))
        assert smaller.maps is not None and torch.equal(smaller.maps[0], photo.depth[1::2, 1::2])


def test_points_are_the_depths_of_captures_without_maps(tmp_path: Path) -> None:
    made = synthetic(lens_of("OPENCV"))
    write_photographs(tmp_path / "images", made.names)
    write_colmap_binary(tmp_path / "sparse/0", made)
    capture = load_capture(tmp_path)
    depths, tracks = KnownDepths(capture), TrackDepths(capture)
    assert depths.source == "points"
    with Photographs(capture.views, None, frame=capture.to_unit, cache=False) as photographs:
        for index, photo in enumerate(photographs):
            known = depths.of(photo)
            assert known is not None and known.points is not None
            found = tracks.of(index)
            assert len(known.points) == len(found) > 5
            wanted = torch.from_numpy(capture.to_unit.scale * found.depths).float()
            torch.testing.assert_close(known.points.depths, wanted)
            # The camera of the photograph projects points to where they were seen.
            camera = photo.camera
            assert known.points.pixels[:, 0].max() < camera.width + 20
            again = camera.unproject(known.points.pixels, known.points.depths)
            places = torch.from_numpy(capture.to_unit.points(capture.points.xyz)).float()
            assert float(torch.cdist(again, places).min(dim=1).values.max()) < 0.08
            half = known.resized((camera.height, camera.width), (camera.height // 2, camera.width // 2))
            assert half.points is not None
            torch.testing.assert_close(
                half.points.pixels[:, 0], known.points.pixels[:, 0] * (camera.width // 2 / camera.width)
            )


def test_recipes_of_earlier_runs_have_no_terms(photos: Path, tmp_path: Path) -> None:
    reconstruct(photos, tmp_path / "run", steps=2, max_gaussians=50, start="random", degree=0)
    path = tmp_path / "run" / "recipe.json"
    values = json.loads(path.read_text())
    del values["terms"]
    path.write_text(json.dumps(values))
    recipe = SceneRun(tmp_path / "run").recipe
    assert isinstance(recipe, SceneRecipe) and recipe.terms.depth_weight == 0
    with pytest.raises(InputError, match="depth_weight: expected a number ≥ 0, got -1"):
        reconstruct(photos, tmp_path / "other", depth_weight=-1.0)
