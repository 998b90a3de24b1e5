"""`splatlearn objects`: class folders, a bad shape among good ones, and a run that goes on as if nothing had been."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.commands import run
from reconstruction.objects.shapes import box
from splatlearn.files import read_splat_file
from splatlearn.surfaces.mesh_files import write_mesh

QUICK = ("--splats", 200, "--steps", 6, "--size", 24, "--views", 5, "--processes", 1)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    root = tmp_path / "shapes"
    for name, color in (("red/a", (200, 0, 0)), ("red/b", (255, 40, 40)), ("green/c", (0, 200, 0))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_mesh(root / f"{name}.ply", box(color))
    (root / "green" / "broken.off").write_text("OFF\n1 1 0\n0 0 0\n3 0 1 2\n")
    grids = np.zeros((2, 8, 8, 8), dtype=np.uint8)
    grids[0, 2:6, 2:6, 1:7] = 1
    np.savez(root / "grids.npz", block=grids)
    return root


def files(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in sorted(folder.rglob("*.ply"))}


def test_a_run(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run("objects", shapes, "--out", whole, *QUICK) == 0
    out, error = capsys.readouterr()
    assert "4 objects" in out and "dB on" in out and "2 shapes failed; objects.json names them" in out
    assert "1 of them are grids of voxels, whose surfaces were found first" in out
    assert "green/broken is left out" in error and "vertices from 0 to 0, got 2" in error
    made = files(whole)
    assert list(made) == ["block/block_0000.ply", "green/c.ply", "red/a.ply", "red/b.ply"]
    summary = json.loads((whole / "objects.json").read_text())
    assert set(summary["errors"]) == {"green/broken", "block/block_0001"}
    assert list(summary["surfaced"]) == ["voxels"]
    for entry in summary["objects"]:
        read = read_splat_file(whole / entry["file"])
        assert entry["bytes"] == len(made[entry["file"]]) and entry["splats"] == read.count == 200
        assert entry["psnr"] > 10 and entry["seconds"] > 0
    green = read_splat_file(whole / "green" / "c.ply").gaussians
    assert green.sh is not None and green.sh[:, 0].mean(dim=0).argmax() == 1
    assert (green.means.norm(dim=1) < 1.1).all()

    # Stopped, with a file taken away, and gone on: the same files to the byte.
    assert run("objects", shapes, "--out", parts, *QUICK, "--stop-after", 3) == 0
    assert "continue with: splatlearn objects --out" in capsys.readouterr().out
    assert len(files(parts)) < 4
    before = {each: each.stat().st_mtime_ns for each in parts.rglob("*.ply")}
    gone = next(iter(before))
    gone.unlink()
    assert run("objects", "--out", parts, "--resume") == 0
    assert files(parts) == made
    assert all(each.stat().st_mtime_ns == at for each, at in before.items() if each != gone)
    assert json.loads((parts / "objects.json").read_text())["numbers"]["failed"] == 2


@pytest.mark.large
def test_two_processes_write_the_same(shapes: Path, tmp_path: Path) -> None:
    (shapes / "grids.npz").unlink()
    one, two = tmp_path / "one", tmp_path / "two"
    assert run("objects", shapes, "--out", one, *QUICK) == 0
    assert run("objects", shapes, "--out", two, *QUICK[:-1], 2) == 0
    assert files(one) == files(two)


def test_what_is_refused(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("objects", tmp_path / "nothing", "--out", tmp_path / "out") == 2
    assert "shapes: expected a file or folder of shapes, found no" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert run("objects", shapes, "--out", tmp_path / "mine", *QUICK) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err
    assert run("objects", shapes, "--out", tmp_path / "out", "--splats", 0) == 2
    assert not (tmp_path / "out").exists()
    only = tmp_path / "only"
    only.mkdir()
    (only / "bad.off").write_text("OFF\n")
    assert run("objects", only, "--out", tmp_path / "out", *QUICK) == 1
    assert run("objects", only, "--out", tmp_path / "strict", *QUICK, "--max-failed", 0.5) == 2
    assert "got 1 of 1; objects.json" in capsys.readouterr().err
    assert run("objects", shapes, "--out", tmp_path / "strict", *QUICK, "--resume") == 2
    assert "began with 1 shapes" in capsys.readouterr().err
