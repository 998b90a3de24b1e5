"""A reconstruction starts from the points of a plane sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fitting.priors.test_plane_sweep import BALL, EYES, NORMAL, OFFSET, RADIUS, traced
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.reconstruction import reconstruct
from splatlearn.reconstruction.running import planes
from splatlearn.reconstruction.running.planes import depth_range


def test_ranges_follow_the_cameras() -> None:
    ring = cameras_around(9)
    cameras = Camera(
        40, 32, float(ring[0].fx), float(ring[0].fy), 20.0, 16.0, viewmats=torch.stack([each.viewmats for each in ring])
    )
    nearest, farthest = depth_range(cameras)
    assert nearest == pytest.approx(0.3 * 3, rel=0.1) and farthest == pytest.approx(4.0 * 3, rel=0.1)
    views = torch.eye(4).repeat(5, 1, 1)
    views[:, 0, 3] = torch.arange(5.0)
    assert depth_range(Camera(8, 8, 8.0, 8.0, 4.0, 4.0, viewmats=views)) == planes.ELSEWHERE


def test_first_gaussians_lie_on_the_surfaces(tmp_path: Path) -> None:
    views, _ = zip(*(traced(eye) for eye in EYES), strict=True)
    photos = write_capture(tmp_path / "photos", known_gaussians(), [view.camera for view in views])
    for number, view in enumerate(views):
        pixels = (255 * view.colors.clamp(0, 1)).round().byte().numpy()
        Image.fromarray(pixels).save(photos / f"images/photo-{number:03d}.png")
    options: dict[str, Any] = {"steps": 1, "degree": 0, "max_gaussians": 3000, "random_start": 2500, "hold_out": 0}
    result = reconstruct(photos, tmp_path / "run", start="planes", **options)
    means = result.gaussians.means.double()
    ball = ((means - BALL).norm(dim=-1) - RADIUS).abs()
    wall = (means @ NORMAL - OFFSET).abs() / NORMAL.norm()
    assert result.count == 2500 and float(torch.minimum(ball, wall).median()) < 0.05


def test_photographs_that_agree_on_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(3), points=0)
    with pytest.raises(InputError, match="start: expected photographs that agree on some depths"):
        reconstruct(photos, tmp_path / "run", start="planes", steps=1, degree=0, hold_out=0)
    # The sweep takes a while, and says so before it begins.
    assert "comparing 3 photographs on many planes to find first points" in capsys.readouterr().err
