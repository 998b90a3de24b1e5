"""`splatlearn compress`: its file, its sentence, and what it refuses."""

from pathlib import Path

import pytest
import torch

from cli.commands import run
from files.clouds import random_cloud
from splatlearn.compression import search, surrounding
from splatlearn.core.memory import shown_bytes
from splatlearn.files import read_splat_file, write_splats


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer files are tried, by smaller pictures, which takes less time."""
    monkeypatch.setattr(search, "SHARES", (1.0, 0.55))
    monkeypatch.setattr(search, "TRIES", 3)
    monkeypatch.setattr(surrounding, "HEIGHT", 60)
    monkeypatch.setattr(surrounding, "WIDTH", 80)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    write_splats(tmp_path / "scene.ply", random_cloud(torch.Generator().manual_seed(0), 150, 2))
    return tmp_path / "scene.ply"


def test_a_budget(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "small.sl3"
    assert run("compress", scene, "--out", out, "--budget", "2kB", "--degree", 1, "--recover", 2) == 0
    assert out.stat().st_size <= 2000
    found = read_splat_file(out)
    assert found.format == "sl3" and found.degree == 1
    printed = capsys.readouterr().out
    assert (
        f"{found.count:,} of 150 Gaussians, {shown_bytes(out.stat().st_size)}, " in printed
        and "times smaller than float32" in printed
    )


def test_what_is_refused(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in [
        (("--out", tmp_path / "a.ply"), "out: expected a name that ends in .sl3"),
        (("--out", tmp_path / "a.sl3", "--budget", "1MB", "--psnr", 30), "budget, psnr: expected one of the two"),
        (("--out", tmp_path / "a.sl3", "--budget", "10"), "budget: expected at least the smallest file"),
        (("--out", tmp_path / "a.sl3", "--degree", 7), "degree: expected 0 to 4, got 7"),
        (("--out", tmp_path / "a.sl3", "--recover", -1), "recover: expected a number of steps from 0, got -1"),
    ]:
        assert run("compress", scene, *arguments) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert [each.name for each in tmp_path.iterdir()] == ["scene.ply"]
