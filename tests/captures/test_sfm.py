"""Structure from motion: what is kept, what is said, and, in a slow test, the real thing on real photographs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from captures.colmap_process import needs_pycolmap
from captures.pictures import noise, saved, smooth
from captures.test_samples import DATA
from splatlearn.captures import load_capture
from splatlearn.captures.sfm import find_cameras, frames_of_film, is_film, reconstruct
from splatlearn.core.errors import BackendError, InputError, MissingError

STAND_IN = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
work = pathlib.Path(job["work"])
print("COLMAP says something")
print(json.dumps({"stage": "features"}), flush=True)
(work / "database.db").write_text(json.dumps(job))
for number, names in enumerate(([job["names"][0]], job["names"][1:])):
    (work / "models" / str(number)).mkdir(parents=True)
    (work / "models" / str(number) / "images.bin").write_text(str(number))
    print(json.dumps({"registered": len(names)}), flush=True)
    print(json.dumps({"model": number, "names": names, "points": 10 + number}), flush=True)
"""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five photographs, and a stand-in for the program that computes cameras."""
    for number in range(5):
        saved(tmp_path / f"photos/images/{number}.png", noise(32, 24, number))
    monkeypatch.setattr(reconstruct, "PROGRAM", tmp_path / "program.py")
    monkeypatch.setattr(reconstruct, "has_pycolmap", lambda: True)
    (tmp_path / "program.py").write_text(STAND_IN)
    return tmp_path / "photos"


def test_the_largest_model_is_kept_and_the_others_are_named(photos: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = find_cameras(photos, progress=lambda *what: told.append(what))
    assert (found.registered, found.total, found.points, found.others) == (4, 5, 11, (("0.png",),))
    assert (photos / "sparse/0/images.bin").read_text() == "1"
    assert sorted(os.listdir(photos)) == ["database.db", "images", "sparse"]
    assert ("features", 4, 5) in told
    job = (photos / "database.db").read_text()
    assert '"OPENCV"' in job and '"exhaustive"' in job and '"single_camera": true' in job


def test_photographs_of_several_sizes_and_films_choose_otherwise(photos: Path) -> None:
    saved(photos / "images/5.png", noise(24, 32, 5))
    (photos / "images/6.png").write_bytes(b"no picture")
    found = find_cameras(photos, is_film=True)
    job = (photos / "database.db").read_text()
    assert '"SIMPLE_RADIAL"' in job and '"sequential"' in job and '"single_camera": false' in job
    assert found.total == 6 and found.unreadable[0].startswith("6.png: unreadable image")


def test_what_was_there_stays(photos: Path) -> None:
    (photos / "database.db").write_text("mine")
    find_cameras(photos)
    assert (photos / "database.db").read_text() == "mine"
    with pytest.raises(InputError, match="sparse has cameras already; move it away"):
        find_cameras(photos)


def test_the_program_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A killed process cannot end its child; a stand-in for pycolmap computes for ever."""
    (tmp_path / "pycolmap.py").write_text("import time\nset_random_seed = lambda seed: time.sleep(600)\n")
    (tmp_path / "job.json").write_text(json.dumps({"work": str(tmp_path)}))
    program = subprocess.Popen(
        [sys.executable, str(reconstruct.PROGRAM), str(tmp_path / "job.json")],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(1)
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(60) == 1
    finally:
        program.kill()
        program.wait()


def test_cameras_that_appear_meanwhile_stay(photos: Path) -> None:
    """Another program may compute cameras of the same photographs at the same time."""
    mine = f"{STAND_IN}\n(work.parent / 'sparse').mkdir(); (work.parent / 'sparse' / 'a').write_text('mine')"
    reconstruct.PROGRAM.write_text(mine)
    with pytest.raises(InputError, match="sparse was made by another program meanwhile, and stays"):
        find_cameras(photos)
    assert (photos / "sparse/a").read_text() == "mine"
    assert sorted(os.listdir(photos)) == ["images", "sparse"]


def test_a_link_to_nothing_is_not_replaced(photos: Path) -> None:
    (photos / "sparse").symlink_to(photos / "elsewhere")
    with pytest.raises(InputError, match="has cameras already; move it away"):
        find_cameras(photos)


def test_names_longer_than_an_argument_of_a_process_may_be(photos: Path) -> None:
    content = (photos / "images/0.png").read_bytes()
    for number in range(200):
        name = f"{number:03}" + "图" * 75  # JSON has six characters for each of these
        for suffix in ("a", "b"):
            (photos / f"images/{name}{suffix}.png").write_bytes(content)
    assert find_cameras(photos).total == 405


@pytest.mark.parametrize("folder", ["masks", "mask", "Depth"])
def test_masks_and_depths_are_no_photographs(photos: Path, folder: str) -> None:
    (photos / "images").rename(photos / "all")
    saved(photos / folder / "0.png", noise(32, 24, 0))
    assert find_cameras(photos).total == 5


def test_a_failure_says_what_colmap_said_and_leaves_nothing(photos: Path) -> None:
    reconstruct.PROGRAM.write_text("import sys; sys.exit('no memory for a matrix')")
    with pytest.raises(BackendError, match="pycolmap ended with exit code 1: no memory for a matrix"):
        find_cameras(photos)
    reconstruct.PROGRAM.write_text("")
    with pytest.raises(InputError, match="no two of the 5 photographs .* could be aligned; take them so"):
        find_cameras(photos)
    assert os.listdir(photos) == ["images"]


def test_photographs_that_are_too_few_or_missing(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="expected a folder of photographs, found none at"):
        find_cameras(tmp_path / "nothing")
    for number in range(3):
        (photos / f"images/{number}.png").unlink()
    with pytest.raises(InputError, match="expected at least 3 photographs in .*, got 2"):
        find_cameras(photos)


def test_without_pycolmap_the_extra_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruct, "has_pycolmap", lambda: False)
    with pytest.raises(BackendError, match=r"pip install 'splatlearn\[sfm\]'"):
        find_cameras(photos)


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film of twelve frames, of which the third and the eighth are sharp, and a stand-in for ffmpeg."""
    frames = tmp_path / "frames"
    for number in range(12):
        picture = noise(64, 48, number) if number in (2, 7) else smooth(64, 48)
        saved(frames / f"{number + 1:06}.jpg", picture, quality=95)
    program = tmp_path / "bin/ffmpeg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nfor last; do :; done\n/bin/cp {frames}/*.jpg "$(/usr/bin/dirname "$last")"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    (tmp_path / "walk.MP4").write_bytes(b"film")
    return tmp_path / "walk.MP4"


def test_the_sharpest_frames_of_a_film_are_kept(film: Path, tmp_path: Path) -> None:
    assert is_film(film) and not is_film(tmp_path / "frames")
    assert frames_of_film(film, tmp_path / "out") == ["00000.jpg", "00001.jpg", "00002.jpg"]
    for name, frame in (("00000.jpg", 3), ("00001.jpg", 8)):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / f"frames/{frame:06}.jpg").read_bytes()
    assert sorted(os.listdir(tmp_path / "out")) == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert len(frames_of_film(film, tmp_path / "few", most=2)) == 2


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_real_film_below_folders_with_a_percent_sign(tmp_path: Path) -> None:
    folder = tmp_path / "100%20d %s"
    folder.mkdir()
    source = ["-f", "lavfi", "-i", "testsrc=duration=2:size=64x48:rate=10"]
    subprocess.run(["ffmpeg", "-v", "error", *source, str(folder / "walk.mp4")], check=True)
    assert frames_of_film(folder / "walk.mp4", folder / "walk/images") == [f"{number:05}.jpg" for number in range(4)]
    assert sorted(os.listdir(folder)) == ["walk", "walk.mp4"] and os.listdir(folder / "walk") == ["images"]


def test_films_that_cannot_be_read(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nothing or an empty folder at .*; choose another folder with --out"):
        frames_of_film(film, tmp_path / "frames")
    with pytest.raises(InputError, match="nothing or an empty folder at"):
        frames_of_film(film, film)
    (tmp_path / "bin/ffmpeg").write_text("#!/bin/sh\necho 'moov atom not found' >&2\nexit 1\n")
    with pytest.raises(BackendError, match="ffmpeg could not read .*walk.MP4: moov atom not found"):
        frames_of_film(film, tmp_path / "out")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="reading films needs ffmpeg"):
        frames_of_film(film, tmp_path / "out")


@needs_pycolmap
@pytest.mark.large
@pytest.mark.skipif(not (DATA / "fox").is_dir(), reason="fox is not there")
def test_cameras_of_real_photographs_are_those_that_others_found(tmp_path: Path) -> None:
    """Every second photograph of the fox: all get a camera, within 1 % of the extent after alignment."""
    (tmp_path / "images").mkdir()
    for name in sorted(os.listdir(DATA / "fox/images"))[::2]:
        shutil.copy(DATA / "fox/images" / name, tmp_path / "images")
    found = find_cameras(tmp_path)
    assert found.registered >= 0.95 * found.total
    ours, theirs = load_capture(tmp_path), {view.name: view for view in load_capture(DATA / "fox").views}
    matched = [theirs[view.name] for view in ours.views]
    source, target = ours.centers, np.stack([view.center for view in matched])
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    left, sizes, right = np.linalg.svd((target - aim).T @ (source - middle))
    flip = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    turn = left @ flip @ right
    scale = (sizes * np.diag(flip)).sum() / ((source - middle) ** 2).sum()
    extent = 1.1 * np.linalg.norm(target - aim, axis=1).max()
    moved = scale * (source - middle) @ turn.T + aim
    assert np.linalg.norm(moved - target, axis=1).max() < 0.01 * extent
    # The principal point, which is not estimated, costs half a degree.
    angles = [
        np.degrees(
            np.arccos(min(1.0, (np.trace(b.world_to_camera[:3, :3] @ turn @ a.world_to_camera[:3, :3].T) - 1) / 2))
        )
        for a, b in zip(ours.views, matched, strict=True)
    ]
    assert max(angles) < 1.5
