"""`reconstruct --filter mip`: the scene in its file looks like the fitted one, wherever the file is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.cli.scene_input import read_scene
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splat_file, write_splats
from splatlearn.reconstruction import SceneRun, reconstruct
from splatlearn.rendering import render
from splatlearn.report.scenes.view import run_scene


def test_the_scene_of_a_run_is_fused_and_marked(tmp_path: Path) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)
    options = {"steps": 30, "max_gaussians": 70, "start": "points", "degree": 1}
    result = reconstruct(photos, tmp_path / "run", filter="mip", **options)
    run = SceneRun(tmp_path / "run")
    found = read_splat_file(run.folder / "scene.ply")
    assert run.filter == found.filter == read_scene(str(run.folder)).filter == "mip"
    assert result.scores is not None
    # Evaluated from the file alone, which knows nothing of the cameras' widths.
    assert abs(run.evaluate().psnr - result.scores.psnr) < 1e-3
    camera = cameras_around(9)[0]

    def picture(gaussians: Gaussians, filter: str) -> torch.Tensor:
        return render(gaussians, camera, "black", filter=filter).color

    point = reconstruct(photos, tmp_path / "point", **options)
    assert SceneRun(tmp_path / "point").filter == "point"
    assert not read_splat_file(tmp_path / "point" / "scene.ply").antialiased
    assert float((picture(found.gaussians, "mip") - picture(point.gaussians, "point")).abs().max()) > 1e-3
    assert float(found.gaussians.scales.amin()) > 0.3 * 0.447 * 2.5 / camera.fx


def test_a_start_of_another_filter_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)
    options: dict[str, Any] = {"steps": 1, "max_gaussians": 90, "degree": 0}
    for name, marked in (("mip", True), ("point", False)):
        write_splats(tmp_path / f"{name}.ply", known_gaussians(), antialiased=marked)
    for filter in ("point", "mip"):
        for start in ("point", "mip"):
            source = tmp_path / f"{start}.ply"
            reconstruct(photos, tmp_path / f"{filter}-{start}", start_from=str(source), filter=filter, **options)
            is_said = f"{source}, which were fitted with the filter {start}, not {filter}" in capsys.readouterr().err
            assert is_said is (filter != start)


def test_a_run_goes_on_with_its_filter(tmp_path: Path) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)
    options = {"steps": 24, "max_gaussians": 70, "start": "points", "degree": 1, "filter": "mip"}
    whole = reconstruct(photos, tmp_path / "whole", **options)
    reconstruct(photos, tmp_path / "parts", stop_after=11, **options)
    parts = reconstruct(photos, tmp_path / "parts", resume=True, **options)
    for name, each in whole.gaussians.tensors().items():
        assert torch.equal(each, parts.gaussians.tensors()[name]), name


def test_the_integral_over_pixels_is_a_filter_of_runs(tmp_path: Path) -> None:
    """Its scores and pictures are those of the run's own filter; files and pages, which know two, take the nearer."""
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)
    options: dict[str, Any] = {"max_gaussians": 70, "start": "points", "degree": 1, "filter": "analytic"}
    reconstruct(photos, tmp_path / "run", steps=24, stop_after=11, **options)
    result = reconstruct(photos, tmp_path / "run", steps=24, resume=True, **options)
    run = SceneRun(tmp_path / "run")
    assert run.filter == read_scene(str(run.folder)).filter == "analytic"
    assert read_splat_file(run.folder / "scene.ply").filter == "mip"
    assert result.scores is not None and abs(run.evaluate().psnr - result.scores.psnr) < 1e-3
    whole = reconstruct(photos, tmp_path / "whole", steps=24, **options)
    for name, each in whole.gaussians.tensors().items():
        assert torch.equal(each, result.gaussians.tensors()[name]), name
    for primitive in ("ges", "surfel"):
        with pytest.raises(InputError, match=f"filter: expected point.* with the primitive {primitive}, got analytic"):
            reconstruct(photos, tmp_path / primitive, primitive=primitive, **options)
    assert run_scene(run).filter == "mip"
