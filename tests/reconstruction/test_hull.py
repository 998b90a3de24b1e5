"""A reconstruction starts from the visual hull of transparent or masked photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.cleaning.floaters import Floaters
from splatlearn.reconstruction import reconstruct
from splatlearn.reconstruction.running import cleaning
from splatlearn.reconstruction.running.cleaning import removes_floaters_after
from splatlearn.reconstruction.running.starting import silhouettes
from splatlearn.rendering import render
from splatlearn.runs.log import LOG


def ball() -> Gaussians:
    """Opaque blobs on a ball of radius 0.5."""
    generator = torch.Generator().manual_seed(2)
    places = torch.nn.functional.normalize(torch.randn(300, 3, generator=generator), dim=-1)
    return Gaussians(
        means=0.5 * places,
        scales=torch.full((300, 3), 0.06),
        quaternions=torch.tensor([1.0, 0, 0, 0]).repeat(300, 1),
        opacities=torch.full((300,), 0.95),
        colors=0.5 + 0.5 * places,
    )


@pytest.mark.parametrize("kind", ["transparent", "masked"])
def test_first_gaussians_lie_at_the_object(kind: str, tmp_path: Path) -> None:
    cameras = cameras_around(17, 80, 64)
    photos = write_capture(tmp_path / "photos", ball(), cameras, transparent=kind == "transparent")
    if kind == "masked":
        (photos / "masks").mkdir()
        for number, camera in enumerate(cameras):
            alpha = render(ball(), camera, "black").alpha
            Image.fromarray((255 * (alpha > 0.5)).byte().numpy()).save(photos / f"masks/photo-{number:03d}.png")
    options: dict[str, Any] = {"steps": 1, "stop_after": 1, "degree": 0, "max_gaussians": 2000, "random_start": 1500}
    result = reconstruct(photos, tmp_path / "run", start="hull", **options)
    distances = result.gaussians.means.norm(dim=-1)
    assert 300 < result.count <= 1500 and float(distances.max()) < 0.9
    # Cameras stand in a ring: above and below, the hull of a ball is a cone.
    assert float(distances.median()) == pytest.approx(0.55, abs=0.12)
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["scene"]["start_opacity"], recipe["scene"]["start_scale"]) == (0.1, 1.0)


def test_silhouettes_need_transparency_or_masks(tmp_path: Path) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9))
    with pytest.raises(InputError, match="start: expected photographs with transparency or masks, .* has neither"):
        reconstruct(photos, tmp_path / "run", start="hull", steps=1)
    assert not (tmp_path / "run").exists()


def test_silhouettes_are_reduced_with_their_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splatlearn.reconstruction.running.starting.SILHOUETTE", 20)
    capture = load_capture(write_capture(tmp_path / "photos", ball(), cameras_around(9), transparent=True))
    with Photographs(capture.views, None) as photographs:
        for photo, found in zip(photographs, silhouettes(photographs), strict=True):
            assert (found.camera.width, found.camera.height) == (20, 16) == found.opacity.shape[::-1]
            assert found.camera.fx == pytest.approx(float(photo.camera.fx) / 2)
            alpha = photo.pixels[..., 3].float() / 255
            torch.testing.assert_close(found.opacity, alpha.view(16, 2, 20, 2).mean(dim=(1, 3)), atol=1e-5, rtol=0)


def test_floaters_are_removed_at_stated_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [step for step in range(1, 41) if removes_floaters_after(step, 40)] == [20, 30, 36]
    assert [step for step in range(1, 3) if removes_floaters_after(step, 2)] == [1, 2]
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)

    def last_three(gaussians: Gaussians, cameras: object, filter: str) -> Floaters:
        flags = torch.zeros(gaussians.count, dtype=torch.bool)
        flags[-3:] = True
        return Floaters(flags, torch.zeros_like(flags))

    monkeypatch.setattr(cleaning, "find_floaters", last_three)
    options: dict[str, Any] = {
        "steps": 20,
        "degree": 0,
        "max_gaussians": 60,
        "start": "points",
        "remove_floaters": True,
    }
    whole = reconstruct(photos, tmp_path / "whole", strategy="absgrad", **options)
    reconstruct(photos, tmp_path / "parts", strategy="absgrad", stop_after=12, **options)
    parts = reconstruct(photos, tmp_path / "parts", resume=True)
    entries = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    counts = {entry["step"]: entry["gaussians"] for entry in entries if "loss" in entry}
    assert all(counts[step] <= counts[step - 1] for step in (10, 15, 18)) and whole.count <= 60 - 3
    assert all(torch.equal(each, parts.gaussians.tensors()[name]) for name, each in whole.gaussians.tensors().items())
