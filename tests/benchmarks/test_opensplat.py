"""The comparison with OpenSplat: what is handed to the other program, and what is taken from it, by a stand-in."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import opensplat
from benchmarks.opensplat import Options, Used, main, our_run, their_steps, their_time, write_project
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import load_capture
from splatlearn.files import write_splats
from splatlearn.reconstruction.results.scene_run import moved

STAND_IN = """#!{python}
import shutil, sys, pathlib
words = sys.argv[1:]
if words == ["--version"]:
    print("9.9.9")
    sys.exit()
project, named = pathlib.Path(words[0]), dict(zip(words[2::2], words[3::2]))
if not (project / "transforms.json").is_file() or words[1] != "--cpu":
    sys.exit("no project")
out = pathlib.Path(named["--output"])
print("Using CPU")
for step in range(1, int(named.get("--num-iters", 30000)) + 1):
    sum(range(200_000))
    print(f"Step {{step}}: 0.5 [0%]", flush=True)
    if step % int(named.get("--save-every", 10**9)) == 0:
        shutil.copy({known!r} if step >= 4 else {wrong!r}, out.with_name(f"{{out.stem}}_{{step}}.ply"))
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "photos", known_gaussians(), cameras_around(17))


@pytest.fixture
def program(tmp_path: Path, photos: Path) -> Path:
    """A program that knows the scene from step 4 on, in the frame of the project."""
    frame = load_capture(photos).to_unit
    known, wrong = str(tmp_path / "known.ply"), str(tmp_path / "wrong.ply")
    write_splats(known, moved(known_gaussians(), frame))
    write_splats(wrong, moved(known_gaussians(1), frame))
    path = tmp_path / "opensplat"
    path.write_text(STAND_IN.format(python=sys.executable, known=known, wrong=wrong))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_project_has_the_cameras_and_first_gaussians(tmp_path: Path, photos: Path) -> None:
    capture = load_capture(photos)
    project = tmp_path / "project"
    project.mkdir()
    assert write_project(capture, project) == opensplat.RANDOM_START
    written = load_capture(project, hold_out=0)
    assert len(written.points) == opensplat.RANDOM_START
    assert len(written.views) == len(capture.training) == 14
    for index, view in zip(capture.training, written.views, strict=True):
        expected = capture.to_unit.cameras(capture.views[index].world_to_camera)
        np.testing.assert_allclose(view.world_to_camera, expected, atol=1e-5)
        assert view.lens.params == pytest.approx(capture.views[index].lens.params)


def test_transparent_photographs_lie_over_black(tmp_path: Path) -> None:
    cameras, gaussians = cameras_around(3), known_gaussians()
    for name, transparent in (("clear", True), ("opaque", False)):
        (tmp_path / f"{name}-project").mkdir()
        capture = load_capture(write_capture(tmp_path / name, gaussians, cameras, transparent), hold_out=0)
        write_project(capture, tmp_path / f"{name}-project")
    one, other = (opensplat.Image.open(tmp_path / f"{name}-project/00001.png") for name in ("clear", "opaque"))
    assert one.mode == "RGB"
    np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), atol=2)


def test_both_are_timed_and_scored(
    program: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int, float]] = []

    def our_time(folder: str, preset: str, options: dict[str, Any]) -> Used:
        asked.append((preset, options["stop_after"], options.get("coarse", -1.0)))
        return Used(5.0 + 0.01 * options["stop_after"], 3.0 + 0.02 * options["stop_after"])

    scores = [{"step": float(step), "psnr": psnr, "seconds": 0.0} for step, psnr in ((0, 5), (2, 19), (4, 25), (6, 24))]
    monkeypatch.setattr(opensplat, "our_time", our_time)
    monkeypatch.setattr(opensplat, "our_curve", lambda folder, preset, options: scores)
    out, one = tmp_path / "out.json", str(photos)
    main(
        Options(
            program, (one,), (one,), (6.0, 24.0, 40.0), rounds=2, lengths=(4, 14), their_lengths=(1, 6), every=2,
            json_file=out,
        )
    )  # fmt: skip
    result = json.loads(out.read_text())
    assert result["opensplat"] == "9.9.9"
    (steps,) = result["steps"]
    assert steps["ours"] == pytest.approx({"cpu": 0.01, "wall": 0.02}), "start-up is left out"
    assert steps["gaussians"] == opensplat.RANDOM_START and len(steps["rounds"]) == 2
    assert steps["theirs"]["wall"] > 0
    assert asked[:2] == [("default", 4, 0.0), ("default", 14, 0.0)]
    (targets,) = result["targets"]
    reached = targets["reached"]
    assert reached["24"]["ours"] == pytest.approx({"cpu": 0.03, "wall": 0.06, "step": 4, "psnr": 25}), "less step 1"
    assert reached["40"]["ours"] is None
    assert [each["step"] for each in targets["their_curve"]] == [2, 4], "it is ended at the last target"
    assert reached["6"]["theirs"]["step"] == 2 and reached["24"]["theirs"]["step"] == 4
    assert targets["their_curve"][1]["psnr"] > 40 and targets["their_curve"][1]["gaussians"] == 60
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["photos", "24", "dB", "0.030"] in [row[:4] for row in rows]
    main(Options(program, targets=(one,), psnr=(24.0, 99.0), every=2, seconds=0.0))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["photos", "24", "dB", "0.030", ">"] in [row[:5] for row in rows], "it was ended before"


def test_a_program_that_fails_is_no_measurement(program: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        list(their_steps(program, tmp_path))
    with pytest.raises(subprocess.CalledProcessError):
        their_time(program, tmp_path, 3)


def test_our_runs_have_times_and_scores(photos: Path) -> None:
    given = {"stop_after": 2, "random_start": 50, "max_gaussians": 60, "evaluate_every": 1, "evaluate_views": 1}
    used, scores = our_run(str(photos), "fast", given)
    assert 0 < used.wall and 0 < used.cpu
    assert [each["step"] for each in scores] == [0, 1, 2]
