"""`splatlearn reconstruct` and `splatlearn view RUN`: what they print, and how they end."""

import json
import re
import shutil
from pathlib import Path

import pytest

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.cli import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(
        tmp_path_factory.mktemp("capture") / "photos", known_gaussians(), cameras_around(9), points=100
    )


def test_from_photographs_to_a_page(photos: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "run")
    options = ["--preset", "fast", "--steps", "12", "--max-gaussians", "120", "--evaluate-every", "6"]
    assert run("reconstruct", str(photos), "--out", out, *options, "--stop-after", "5") == 0
    assert capsys.readouterr().out == (
        f"stopped at step 5 of 12; continue with: splatlearn reconstruct --out {out} --resume\n"
    )
    # The page of a run that was stopped.
    page = tmp_path / "page.html"
    assert run("view", out, "--out", str(page)) == 0
    assert capsys.readouterr().out.startswith(f"{page}: ")
    assert run("reconstruct", "--out", out, "--resume") == 0
    captured = capsys.readouterr()
    assert re.match(
        r"done: \d+ Gaussians, 12 steps in \d+ s, held-out photographs \d+\.\d\d dB, SSIM \d\.\d{3}\n", captured.out
    )
    assert f"look at it with: splatlearn view {out}\n" in captured.out
    assert "7 photographs to fit, 2 held out: 12 steps on cpu" in captured.err
    assert run("reconstruct", "--out", out, "--resume") == 0
    assert "is finished: all 12 steps had been done" in capsys.readouterr().out
    assert run("reconstruct", "--out", out, "--resume", "--steps", "14") == 0
    assert "done: " in capsys.readouterr().out
    assert run("view", out, "--out", str(page), "--overwrite") == 0
    assert "held-out photographs" in capsys.readouterr().out
    block = re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert block is not None
    data = json.loads(block[1])
    assert [each["heldOut"] for each in data["cameras"]] == [True] * 2 + [False] * 7
    assert all(each["picture"] is not None for each in data["cameras"])
    assert [each["psnr"] is not None for each in data["cameras"]] == [True] * 2 + [False] * 7
    assert [each["label"] for each in data["snapshots"]][:2] == ["step 0", "step 6"]


def test_a_scene_whose_photographs_are_gone_is_one_sentence(photos: Path, tmp_path: Path, capsys) -> None:
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    out = str(tmp_path / "run")
    assert run("reconstruct", str(mine), "--out", out, "--steps", "2", "--max-gaussians", "120") == 0
    shutil.rmtree(mine)
    capsys.readouterr()
    assert run("view", out, "--out", str(tmp_path / "page.html")) != 0
    said = capsys.readouterr().err
    assert str(mine) in said and said.count("\n") == 1
    # The scene itself is a file like any other.
    assert run("view", str(tmp_path / "run" / "scene.ply"), "--out", str(tmp_path / "page.html")) == 0


def test_a_run_of_another_verb_is_named(photos: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "run")
    assert run("reconstruct", str(photos), "--out", out, "--steps", "2", "--stop-after", "1") == 0
    capsys.readouterr()
    assert run("pretrain", "mae", "--data", str(photos), "--out", out, "--resume") != 0
    assert "was begun by `splatlearn reconstruct`" in capsys.readouterr().err


def test_what_cannot_work_is_one_sentence(photos: Path, tmp_path: Path, capsys) -> None:
    assert run("reconstruct", str(tmp_path / "none"), "--out", str(tmp_path / "run")) != 0
    assert capsys.readouterr().err.startswith("splatlearn: path: expected a capture, found nothing at ")
    assert run("reconstruct", str(photos), "--out", str(tmp_path / "run"), "--degree", "7") != 0
    assert "degree: expected 0, 1, 2 or 3, got 7" in capsys.readouterr().err
    (tmp_path / "plain").mkdir()
    shutil.copy(photos / "images" / "photo-000.png", tmp_path / "plain")
    assert run("reconstruct", str(tmp_path / "plain"), "--out", str(tmp_path / "run")) != 0
    assert "expected cameras beside the photographs" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
