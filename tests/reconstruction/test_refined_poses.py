"""Reconstructions that refine poses: they resume to the bit, and their cameras are used by what comes after."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.cli import main
from splatlearn.core.errors import InputError
from splatlearn.files import read_splats
from splatlearn.fitting.cameras.poses import aligning, pose_errors, rigid_motions
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.views.view_model import SeenViews
from splatlearn.reconstruction import CaptureOptions, SceneRecipe, SceneRun, SceneRunOptions, reconstruct
from splatlearn.reconstruction.recipes.view_options import ViewOptions
from splatlearn.reconstruction.running.view_models import ViewCorrections
from splatlearn.runs.folder import RunFolderError
from splatlearn.runs.log import LOG

QUICK: dict[str, Any] = {
    "steps": 24, "max_gaussians": 90, "evaluate_every": 12, "checkpoint_every": 8, "degree": 1, "start": "points",
    "poses": "refined",
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine photographs, two of them held out, whose cameras are off by 1.5° and 2 % of their distance."""
    folder = tmp_path_factory.mktemp("capture") / "photos"
    write_capture(folder, known_gaussians(), cameras_around(9), points=60)
    document = json.loads((folder / "transforms.json").read_text())
    generator = torch.Generator().manual_seed(3)
    for frame in document["frames"]:
        turn, shift = (
            torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0).double() for _ in range(2)
        )
        pose = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
        frame["right"] = frame["transform_matrix"]
        frame["transform_matrix"] = (pose @ rigid_motions(math.radians(1.5) * turn, 0.06 * shift)).tolist()
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


def losses_of(folder: Path) -> list[float]:
    entries = (json.loads(line) for line in (folder / LOG).read_text().splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry]


def test_cleaning_sees_through_the_refined_cameras(photos: Path) -> None:
    recipe = SceneRecipe(CaptureOptions(str(photos)), SceneRunOptions("run"), views=ViewOptions(poses="refined"))
    capture = load_capture(photos)
    with Photographs(capture.views, frame=capture.to_unit) as photographs:
        given = [photographs.camera(index) for index in range(len(photographs))]
        corrections = ViewCorrections(recipe.resolved(), photographs, known_gaussians())
        assert corrections.poses is not None
        with torch.no_grad():
            for each in corrections.poses.rows.parameters.values():
                each.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
        for index, placed in enumerate(corrections.placed(given)):
            seen = SeenViews(torch.tensor([index]), 1, Draws(0, 1))
            batch = replace(given[index], viewmats=given[index].viewmats[None])
            wanted = corrections.poses.cameras(seen, batch).viewmats[0].detach()
            torch.testing.assert_close(placed.viewmats, wanted, rtol=0, atol=1e-5)
            assert float((placed.viewmats - given[index].viewmats).abs().max()) > 1e-2


def test_stopped_and_resumed_it_is_the_same_to_the_bit(photos: Path, tmp_path: Path) -> None:
    reconstruct(photos, tmp_path / "whole", **QUICK)
    assert reconstruct(photos, tmp_path / "parts", **QUICK, stop_after=11).interrupted
    reconstruct(photos, tmp_path / "parts", resume=True)
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")
    for name in ("scene.ply", "transforms.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    with pytest.raises(RunFolderError, match="views.poses"):
        reconstruct(photos, tmp_path / "parts", resume=True, poses="given")


def test_refined_cameras_are_nearer_and_go_with_the_run(photos: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "run"
    options = {**QUICK, "steps": 300, "pose_rate": 3e-3, "coarse": 0.0, "max_gaussians": 200}
    result = reconstruct(photos, out, **options)
    given, run = load_capture(photos), SceneRun(out)
    document = json.loads((photos / "transforms.json").read_text())
    poses = np.linalg.inv(np.array([each["right"] for each in document["frames"]]) @ np.diag([1.0, -1, -1, 1]))

    def error(found: np.ndarray) -> float:
        return float(pose_errors(aligning(found, poses).cameras(found), poses)[0].mean())

    assert error(run.capture.world_to_camera) < 0.6 * error(given.world_to_camera)
    # In the frame of the given cameras, and read back by the reader of captures.
    back = load_capture(out / "transforms.json", images=photos)
    np.testing.assert_allclose(back.world_to_camera, run.capture.world_to_camera, atol=1e-9)
    training = list(given.training)
    gauge = aligning(run.capture.world_to_camera[training], given.world_to_camera[training])
    assert gauge.scale == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(gauge.translation, 0, atol=1e-6)
    scores = json.loads((out / "scores.json").read_text())
    assert result.scores is not None and result.given_scores is not None
    assert result.scores.psnr > result.given_scores.psnr + 0.5
    assert scores["psnr"] == pytest.approx(result.scores.psnr)
    assert scores["given_poses"]["psnr"] == pytest.approx(result.given_scores.psnr)
    assert 0.3 < scores["poses"]["degrees"] < 3 and scores["poses"]["degrees_most"] < 5
    # What reads the run later uses the cameras that it found.
    assert run.evaluate().psnr == pytest.approx(result.scores.psnr, abs=0.02)
    capsys.readouterr()
    assert command("evaluate", str(out)) == 0
    printed = capsys.readouterr().out
    assert f"{result.scores.psnr:.2f}" in printed
    assert f"localised them; at their given poses: {result.given_scores.psnr:.2f} dB" in printed


def test_the_command_prints_both_scores(photos: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["reconstruct", str(photos), "--out", str(tmp_path / "run"), "--poses", "refined", "--steps", "20"]
    assert command(*arguments, "--max-gaussians", "80", "--start", "points", "--degree", "0") == 0
    captured = capsys.readouterr()
    assert "where they were localised," in captured.out and "dB at their given poses" in captured.out
    assert "refined cameras turned by" in captured.err


def test_given_poses_write_no_cameras(photos: Path, tmp_path: Path) -> None:
    result = reconstruct(photos, tmp_path / "run", **{**QUICK, "poses": "given"})
    assert not (tmp_path / "run" / "transforms.json").exists() and result.given_scores is None
    with pytest.raises(InputError, match="poses, background: expected given poses with a sky"):
        reconstruct(photos, tmp_path / "other", **QUICK, background="sky")
    with pytest.raises(InputError, match="pose_rate: expected a number above 0, got 0"):
        reconstruct(photos, tmp_path / "other", **QUICK, pose_rate=0.0)
    assert read_splats(tmp_path / "run" / "scene.ply").count == result.count
