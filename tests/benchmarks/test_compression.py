"""The benchmark of compression: every format of a file and of a reconstruction, resumed, and its tables."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import compression, compression_pruning, compression_scenes
from benchmarks.compression import ARMS, FORMATS, Options, main
from benchmarks.compression_scenes import Source, opened
from files.clouds import random_cloud
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.compression import search
from splatlearn.files import write_splats

COMPRESSED = {name for name in ARMS if name.startswith("sl3 compress")}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file and a capture, and a benchmark that tries little of them."""
    write_splats(tmp_path / "cloud.spz", random_cloud(torch.Generator().manual_seed(0), 120, 1))
    write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9))
    sources = (
        Source("cloud", "cloud.spz", "us", "none", grids=("spz3",)),
        Source("photos", "photos", "us", "none", is_capture=True),
    )
    monkeypatch.setattr(compression, "SOURCES", sources)
    monkeypatch.setattr(compression_scenes, "LONGER_SIDE", 40)
    monkeypatch.setattr(compression_scenes, "VIEWS", 2)
    monkeypatch.setattr(compression, "HALVINGS", 1)
    monkeypatch.setattr(search, "SHARES", (1.0,))
    monkeypatch.setattr(search, "TRIES", 2)
    # A scene of a few Gaussians is mostly the head of its file, which no budget makes smaller.
    for name in COMPRESSED:
        monkeypatch.setitem(ARMS, name, partial(compression.compressed, 4))
    return tmp_path


def test_each_arm_of_each_scene(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored, page = small / "result.json", small / "page.md"
    options = Options(
        small, small / "runs", ("cloud", "photos"), steps=2, gaussians=200, json_file=stored, markdown=page
    )
    main(options)
    result = json.loads(stored.read_text())
    cloud, photos = result["scenes"]["cloud"], result["scenes"]["photos"]
    assert set(photos["arms"]) == set(ARMS) and set(cloud["arms"]) == set(ARMS) - COMPRESSED
    assert cloud["arms"]["ply"]["psnr"] >= 100 and cloud["arms"]["gltf"]["psnr"] >= 100
    # Formats of this kind were the file before, and lose nothing but what the frame rounds.
    assert cloud["arms"]["spz3"]["psnr"] > cloud["arms"]["spz2"]["psnr"]
    assert cloud["arms"]["sl3 as sog"]["psnr"] >= cloud["arms"]["sog"]["psnr"]
    assert 4 * photos["arms"]["sl3 compress"]["bytes"] <= photos["arms"]["ply"]["bytes"]
    assert photos["arms"]["spz4"]["photo_psnr"] == pytest.approx(photos["photo_psnr"], abs=0.2)
    assert "photo_psnr" not in photos["arms"]["ply"] and "photo_psnr" not in cloud["arms"]["spz4"]
    assert str(small) not in stored.read_text()
    shown = capsys.readouterr().out
    assert "bytes each" in shown
    text = page.read_text()
    assert "| geometric mean where it is reached |" in text and "sl3 compress" in text
    for format in FORMATS:
        assert f" {format} |" in text
    # What the file says in brackets was such a file before.
    assert "| (" in text
    before = stored.read_bytes()
    main(options)
    assert capsys.readouterr().out == shown[shown.index("scene") :]
    assert json.loads(before)["scenes"] == json.loads(stored.read_text())["scenes"]
    main(Options(small, small / "runs", ("cloud",), again=("sl3 1", "sl3 as"), json_file=stored))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cloud sl3")]
    assert [line.partition(":")[0] for line in lines] == ["cloud sl3 1", "cloud sl3 as sog"]


def test_scenes_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="scenes: expected some of plush, .* got duck"):
        main(Options(tmp_path, scenes=("duck",)))


def test_pruning_and_recovery(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression_pruning, "SOURCES", compression.SOURCES)
    opened(compression.SOURCES[1], small, small / "runs", 2, 100)
    stored = small / "pruning.json"
    options = compression_pruning.Options(("photos",), small, small / "runs", (0.5,), (0, 1), 2, json_file=stored)
    compression_pruning.main(options)
    found = json.loads(stored.read_text())["results"]
    assert [each["score"] for each in found] == list(compression_pruning.SCORES)
    assert [len(each["pruned"]) for each in found] == [1, 1, 1, 2]
    assert all(len(each["recovered"]) == 2 for each in found)
    with pytest.raises(SystemExit, match="scenes: expected some of photos, got cloud"):
        compression_pruning.main(compression_pruning.Options(("cloud",), small))
