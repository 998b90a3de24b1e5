"""Faults in a run: losses that are not finite, an impatient person, and a second run in the folder."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.files import read_splats
from splatlearn.reconstruction import ReconstructionError, reconstruct
from splatlearn.reconstruction.running.job import _Reconstruction
from splatlearn.runs.folder import RunFolderError
from splatlearn.runs.lock import RunLock
from splatlearn.runs.log import LOG

QUICK: dict[str, Any] = {
    "steps": 24, "max_gaussians": 90, "evaluate_every": 12, "checkpoint_every": 8, "degree": 1, "start": "points",
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of nine photographs, two of them held out, with 60 points."""
    return write_capture(tmp_path_factory.mktemp("capture") / "photos", known_gaussians(), cameras_around(9), points=60)


def losses_of(folder: Path) -> list[float | None]:
    entries = (json.loads(line) for line in (folder / LOG).read_text().splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry]


def unknown_from(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """From one step to another, counted from 0, the background is no number, and so are the losses."""
    background = _Reconstruction._background

    def hooked(self: _Reconstruction, step: int) -> Any:
        return torch.full((3,), math.nan) if first <= step <= last else background(self, step)

    monkeypatch.setattr(_Reconstruction, "_background", hooked)


def test_steps_whose_loss_is_not_finite_are_left_out_and_the_run_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown_from(monkeypatch, 5, 7)
    result = reconstruct(photos, tmp_path / "run", max_skipped=4, **QUICK)
    assert result.steps == 24 and result.scores is not None and math.isfinite(result.scores.psnr)
    bad = [number for number, loss in enumerate(losses_of(tmp_path / "run")) if loss is None or not math.isfinite(loss)]
    assert bad == [5, 6, 7]
    assert all(bool(each.isfinite().all()) for each in result.gaussians.tensors().values())


def test_a_run_whose_losses_stay_unknown_ends_with_the_scene_before(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        unknown_from(patch, 5, 1000)
        with pytest.raises(ReconstructionError, match="4 steps in a row was not finite; the scene of step 9"):
            reconstruct(photos, out, max_skipped=4, **QUICK)
    reconstruct(photos, tmp_path / "five", stop_after=5, **QUICK)
    kept, before = (read_splats(folder / "scene.ply").tensors() for folder in (out, tmp_path / "five"))
    assert kept.keys() == before.keys() and all(torch.equal(kept[name], before[name]) for name in kept)
    # Once the cause is mended, it goes on.
    assert reconstruct(photos, out, resume=True).steps == 24


def test_a_second_ctrl_c_ends_at_once_and_loses_steps_since_the_checkpoint_alone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = _Reconstruction._step

    def hooked(self: _Reconstruction) -> None:
        if self.progress.step == 13:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        step(self)

    reconstruct(photos, tmp_path / "whole", **QUICK)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_Reconstruction, "_step", hooked)
        reconstruct(photos, tmp_path / "run", **QUICK)
    assert [each.name for each in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000008"]
    result = reconstruct(photos, tmp_path / "run", resume=True)
    assert result.done == 16 and losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")
    assert (tmp_path / "run" / "scene.ply").read_bytes() == (tmp_path / "whole" / "scene.ply").read_bytes()


def test_a_run_that_another_process_has_open_is_left_alone(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    reconstruct(photos, out, stop_after=3, **QUICK)
    before = (out / LOG).read_bytes()
    with RunLock(out), pytest.raises(RunFolderError):
        reconstruct(photos, out, resume=True)
    assert (out / LOG).read_bytes() == before
    assert reconstruct(photos, out, resume=True).steps == 24
