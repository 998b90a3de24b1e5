"""`splatlearn pack`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.commands import run
from data.pictures import save
from splatlearn.data import open_source


def test_packs_a_folder_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for seed in range(3):
        save(tmp_path / "in" / f"{seed}.png", seed)
    arguments = ("pack", str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == f"3 images in 1 shards in {tmp_path / 'out'}\n"
    assert len(open_source(tmp_path / "out", shuffle_window=2)) == 3
    assert run(*arguments) == 0
    assert capsys.readouterr().out.endswith(", 1 of them from before\n")


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("pack", str(tmp_path / "none"), "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error.endswith("none, which is not there\n") and "folder: expected a folder of images" in error
    assert not (tmp_path / "out").exists()
    save(tmp_path / "in" / "0.png", 0)
    assert run("pack", str(tmp_path / "in" / "0.png"), "--out", str(tmp_path / "out")) == 2
    assert "0.png, which is a file" in capsys.readouterr().err
    assert run("pack", str(tmp_path / "in"), "--out", str(tmp_path / "in" / "0.png")) == 2
    assert "out: expected a folder, got the file" in capsys.readouterr().err
