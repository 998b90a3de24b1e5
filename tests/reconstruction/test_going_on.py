"""A run goes on as it began, whatever has changed around it, and says what it cannot do."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.cli import main
from splatlearn.files import read_splats, write_splats
from splatlearn.reconstruction import ReconstructionError, SceneRun, reconstruct
from splatlearn.reconstruction.results import writer
from splatlearn.reconstruction.running import job
from splatlearn.reconstruction.running.views import StepViews, target_of
from splatlearn.runs.checkpoint_store import CheckpointError
from splatlearn.runs.log import LOG

QUICK: dict[str, Any] = {"steps": 24, "max_gaussians": 90, "evaluate_every": 12, "checkpoint_every": 8, "degree": 1}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A capture of nine photographs, two of them held out, with 60 points."""
    return write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)


def quick(photos: Path, out: Path, **options: Any):
    return reconstruct(photos, out, **{**QUICK, "start": "points", **options})


def losses_of(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def test_less_memory_changes_nothing_of_a_run_that_goes_on(photos, tmp_path, monkeypatch) -> None:
    quick(photos, tmp_path / "whole")
    quick(photos, tmp_path / "parts", stop_after=9)
    monkeypatch.setattr(job, "fitting_cap", lambda *_: 61)
    quick(photos, tmp_path / "parts", resume=True)
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")


def test_the_scene_that_a_run_began_with_may_be_gone(photos, tmp_path) -> None:
    write_splats(tmp_path / "start.ply", known_gaussians())
    options = {"start_from": str(tmp_path / "start.ply"), "start": "auto"}
    quick(photos, tmp_path / "whole", **options)
    quick(photos, tmp_path / "parts", stop_after=9, **options)
    (tmp_path / "start.ply").unlink()
    reconstruct(photos, tmp_path / "parts", resume=True)
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")


def test_more_cameras_do_not_move_the_scene(photos, tmp_path) -> None:
    quick(photos, tmp_path / "run", stop_after=9)
    before = read_splats(tmp_path / "run" / "scene.ply")
    content = json.loads((photos / "transforms.json").read_text())
    far = json.loads(json.dumps(content["frames"][1]))
    far["transform_matrix"][0][3] += 30.0
    far["file_path"] = "images/photo-far.png"
    shutil.copy(photos / "images" / "photo-001.png", photos / "images" / "photo-far.png")
    content["frames"].append(far)
    (photos / "transforms.json").write_text(json.dumps(content))
    quick(photos, tmp_path / "run", resume=True, allow_other_data=True, stop_after=10)
    after = read_splats(tmp_path / "run" / "scene.ply")
    torch.testing.assert_close(after.means[: before.count], before.means, atol=0.05, rtol=0)
    torch.testing.assert_close(after.scales[: before.count], before.scales, atol=0.02, rtol=0)


def test_held_out_photographs_that_break_end_nothing(photos, tmp_path, capsys) -> None:
    capture = load_capture(photos)
    for index in capture.held_out:
        capture.views[index].path.unlink()
    result = reconstruct(capture, tmp_path / "run", **QUICK)
    assert (result.steps, result.scores) == (24, None)
    said = capsys.readouterr().err
    assert said.count("cannot be read and is left out") == len(capture.held_out) == 2
    assert "no held-out photograph can be read: there are no scores" in said
    assert not (tmp_path / "run" / "scores.json").exists()
    # The first view has a picture all the same.
    assert len(list((tmp_path / "run" / "snapshots").iterdir())) == 2


def test_photographs_that_are_mended_are_used_again(photos, tmp_path) -> None:
    capture = load_capture(photos)
    broken = [photos / "images" / f"photo-00{number}.png" for number in (2, 3, 4)]
    contents = [path.read_bytes() for path in broken]
    for path in broken:
        path.write_bytes(b"")
    with pytest.raises(ReconstructionError, match="Mend the photographs"):
        reconstruct(capture, tmp_path / "run", **QUICK)
    with pytest.raises(ReconstructionError, match="photographs cannot be read"):
        reconstruct(capture, tmp_path / "run", resume=True)
    for path, content in zip(broken, contents, strict=True):
        path.write_bytes(content)
    assert reconstruct(capture, tmp_path / "run", resume=True).steps == 24


def test_a_run_that_was_killed_before_its_scores_writes_them(photos, tmp_path, capsys) -> None:
    quick(photos, tmp_path / "run")
    scene, scores = ((tmp_path / "run" / name).read_bytes() for name in ("scene.ply", "scores.json"))
    for lost in (["scores.json"], ["scene.ply"], ["scene.ply", "scores.json"]):
        for name in lost:
            (tmp_path / "run" / name).unlink()
        again = quick(photos, tmp_path / "run", resume=True)
        assert again.done == 0 and again.scores is not None
        assert (tmp_path / "run" / "scene.ply").read_bytes() == scene
        assert (tmp_path / "run" / "scores.json").read_bytes() == scores
    assert quick(photos, tmp_path / "run", resume=True).scores is None


@pytest.mark.parametrize("name", ["write_scene", "write_scores"])
def test_a_full_disk_is_a_sentence_and_loses_nothing(name, photos, tmp_path, monkeypatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(writer, name, full)
        file = {"write_scene": "scene.ply", "write_scores": "scores.json"}[name]
        with pytest.raises(CheckpointError, match=rf"cannot write .*{file}: No space left .* is whole. Make room"):
            quick(photos, tmp_path / "run")
    assert quick(photos, tmp_path / "run", resume=True).scores is not None
    quick(photos, tmp_path / "whole")
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")
    assert (tmp_path / "run" / "scene.ply").read_bytes() == (tmp_path / "whole" / "scene.ply").read_bytes()


def test_photographs_that_are_scaled_down_stay_within_a_budget(photos) -> None:
    capture = load_capture(photos)
    training = [capture.views[index] for index in capture.training]
    one = target_of(Photographs(training)[0]).pixels.nbytes
    with Photographs(training, budget=4 * one) as photographs:
        views = StepViews(photographs, seed=0)
        for step in range(2 * len(training)):
            target = views.at(step, 2)
            assert target is not None
            assert views._scaled_bytes <= photographs.budget // 4
        assert len(views._scaled) < len(training)


def test_scores_of_a_run_that_was_stopped_are_shown_on_its_page(photos, tmp_path) -> None:
    quick(photos, tmp_path / "run", stop_after=9)
    for command in (
        ["evaluate", str(tmp_path / "run")],
        ["view", str(tmp_path / "run"), "--out", str(tmp_path / "a.html")],
    ):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert not stop.value.code, command
    assert "Held out: PSNR" in (tmp_path / "a.html").read_text()
    assert SceneRun(tmp_path / "run").scores is not None
    # The run itself is not taken for finished.
    assert quick(photos, tmp_path / "run", resume=True).steps == 24
