"""`splatlearn mesh`: the surface of a run as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cli.commands import run
from reconstruction.small_captures import cameras_around, write_capture
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.ply.container import parse_ply
from splatlearn.files import write_splats
from splatlearn.reconstruction import SceneRun, reconstruct


def ball() -> Gaussians:
    """Opaque blobs on a ball of radius 0.5."""
    generator = torch.Generator().manual_seed(2)
    places = torch.nn.functional.normalize(torch.randn(600, 3, generator=generator), dim=-1)
    return Gaussians(
        means=0.5 * places,
        scales=torch.full((600, 3), 0.05),
        quaternions=torch.tensor([1.0, 0, 0, 0]).repeat(600, 1),
        opacities=torch.full((600,), 0.95),
        colors=0.5 + 0.5 * places,
    )


@pytest.fixture(scope="module")
def ball_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, whose scene is replaced by the ball."""
    folder = tmp_path_factory.mktemp("mesh")
    photos = write_capture(folder / "photos", ball(), cameras_around(9, 80, 64), points=600)
    reconstruct(photos, folder / "run", steps=1, max_gaussians=700, start="points", degree=0)
    write_splats(folder / "run" / "scene.ply", ball())
    return folder / "run"


def test_the_mesh_of_a_run_lies_in_the_world_of_its_cameras(ball_run: Path, tmp_path: Path, capsys) -> None:
    assert SceneRun(ball_run).capture.to_unit.scale != pytest.approx(1.0, abs=0.05)
    out = tmp_path / "new" / "ball.ply"
    assert run("mesh", ball_run, "--out", out, "--voxel", "0.04") == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{out}: ") and "voxels of 0.04, 9 depth maps" in told
    table = parse_ply(out.read_bytes()).tables["vertex"]
    vertices = np.stack([table[name] for name in "xyz"], axis=-1)
    away = np.linalg.norm(vertices, axis=1) - 0.5
    # Blobs of 0.05 on the ball are seen from a little outside of it.
    assert np.median(np.abs(away)) < 0.08
    assert np.ptp(vertices[:, 0]) == pytest.approx(1.0, abs=0.15)
    colors = np.stack([table[name] for name in ("red", "green", "blue")], axis=-1) / 255
    assert np.abs(colors - (0.5 + vertices)).mean() < 0.1


def test_nothing_is_overwritten_unless_it_is_asked_for(ball_run: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "ball.obj"
    out.write_text("mine")
    assert run("mesh", ball_run, "--out", out, "--voxel", "0.1") != 0
    assert "exists; choose another with --out, or give --overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert run("mesh", ball_run, "--out", out, "--voxel", "0.1", "--overwrite") == 0
    assert out.read_text().startswith("# splatlearn mesh\nv ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("RUN", "--out", "a.stl"), "out: expected a file that ends with .ply or .obj, got a.stl"),
        (("scene.ply", "--out", "a.ply"), "run: expected a run of splatlearn reconstruct, whose cameras are needed"),
        (("RUN", "--out", "a.ply", "--voxel", "0"), "voxel: expected a finite number above 0"),
        (("RUN", "--out", "a.ply", "--voxel", "0.1", "--truncation", "0.01"), "truncation: expected"),
        (("RUN", "--out", "a.ply", "--max-depth", "0.5"), "expected a surface that 3 cameras see, found none"),
    ],
)
def test_what_cannot_be_done_is_said(
    ball_run: Path, arguments: tuple[str, ...], message: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("mesh", *(str(ball_run) if each == "RUN" else each for each in arguments)) != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a.ply").exists()
