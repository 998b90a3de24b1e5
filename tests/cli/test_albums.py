"""Folders as people have them: everything that can be used is done, and all else is counted or named once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from cli.commands import run
from data.pictures import array, save, truncated_jpeg
from splatlearn.cli.pictures import NAME_BYTES, output_names

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"
LEFT_OUT = (
    "hidden files: 2, such as ._a.jpg",
    "files ending in .heic, which are to be converted to JPEG or PNG: 1, such as IMG_1.HEIC",
    "files ending in .txt: 1, such as notes.txt",
    "folders inside, which are read if they are named: 2, such as more",
)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two pictures among files of all sorts."""
    folder = tmp_path / "album"
    for name in ("a.jpg", "b.png", "._a.jpg", ".hidden.jpg", "more/c.jpg", "x.jpg/d.jpg"):
        save(folder / name, 1)
    for name in ("IMG_1.HEIC", "notes.txt"):
        (folder / name).write_bytes(b"ftypheic")
    return folder


@pytest.mark.parametrize("command", ["edges", "layers", "segment", "fit", "view", "report"])
def test_what_a_folder_holds_beside_pictures_is_counted(
    command: str, model: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (model / "recipe.json").write_text("{}")
    out = tmp_path / ("out.html" if command in ("view", "report") else "out")
    of = (album, "--steps", "1") if command == "fit" else (model, album)
    assert run(command, *of, "--out", out, "--device", "cpu") == 0
    told = capsys.readouterr().err
    line = next(line for line in told.splitlines() if "left out of" in line)
    assert line.startswith(f"splatlearn: left out of {album}: ")
    assert all(each in line for each in LEFT_OUT)
    assert told.count("IMG_1.HEIC") == 1


def test_packing_evaluating_and_scoring_count_too(
    model: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("pack", album, "--out", tmp_path / "shards") == 0
    told = capsys.readouterr().err
    assert f"left out of {album}: " in told and all(each in told for each in LEFT_OUT[:3])
    for label in ("cat", "dog"):
        for number in range(4):
            save(tmp_path / "classes" / label / f"{number}.png", number)
    (tmp_path / "classes" / "dog" / "1.heic").touch()
    quick = ("--probes", "knn", "--no-controls", "--no-diagnostics", "--device", "cpu")
    assert run("evaluate", model, "--data", tmp_path / "classes", *quick) == 0
    assert f"left out of {tmp_path / 'classes'}: files ending in .heic" in capsys.readouterr().err
    for name in ("images", "masks"):
        for number in range(3):
            (tmp_path / "pairs" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "pairs" / name / f"{number}.png")
    save(tmp_path / "pairs" / "masks" / "lost.png")
    (tmp_path / "pairs" / "images" / ".DS_Store").touch()
    options = ("--data", tmp_path / "pairs", "--processes", "1", "--baselines", "no", "--device", "cpu")
    assert run("benchmark", "figure-ground", model, *options) == 0
    told = capsys.readouterr().err
    assert "hidden files: 1, such as .DS_Store" in told and "masks without an image: 1, such as lost.png" in told


def test_training_counts_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for label in ("cat", "dog"):
        for number in range(4):
            save(tmp_path / "data" / label / f"{number}.png", number, 36, 36)
    (tmp_path / "data" / "dog" / "IMG_1.HEIC").touch()
    (tmp_path / "data" / "dog" / "._1.png").touch()
    train = ("--data", tmp_path / "data", "--device", "cpu", "--batch-size", "2", "--workers", "0", "--epochs", "1")
    stop = ("--stop-after", "1", "--trackers")
    model = ("--model", "mae_vit_micro_patch8_32")
    assert run("pretrain", "mae", *train, *model, "--out", tmp_path / "run", *stop) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "left out of the data: hidden files: 1, such as dog/._1.png; files ending in .heic" in told
    tuning = ("--rand-augment", "0", "--out", tmp_path / "tuned", *stop)
    assert run("finetune", tmp_path / "run", *train, *tuning) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("left out of the data: ") == told.count("IMG_1.HEIC") == 1


def test_a_folder_without_pictures_says_what_it_holds(
    model: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("a.jpg", "b.png"):
        (album / name).unlink()
    assert run("edges", model, album, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "image: expected images in the folder" in error and all(each in error for each in LEFT_OUT)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["edges", "fit", "view", "report"])
def test_broken_pictures_are_named_once_and_the_others_done(
    command: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (model / "recipe.json").write_text("{}")
    save(tmp_path / "album" / "whole.png")
    (tmp_path / "album" / "cut.jpg").write_bytes(truncated_jpeg())
    (tmp_path / "album" / "photo.heic.jpg").write_bytes(b"ftypheic")
    out = tmp_path / ("out.html" if command in ("view", "report") else "out")
    album = tmp_path / "album"
    of = (album, "--steps", "1") if command == "fit" else (model, album)
    assert run(command, *of, "--out", out, "--device", "cpu") == 2
    told = capsys.readouterr()
    assert out.exists() and str(out) in told.out
    assert told.err.count("cut.jpg") == told.err.count("photo.heic.jpg") == 1
    assert told.err.splitlines()[-1] == "splatlearn: image: 2 of 3 could not be used; the messages above say why"


def test_a_format_that_is_not_read_is_named_with_the_way_on(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert run("edges", tmp_path / "IMG_0001.HEIC", "--out", tmp_path / "out", "--device", "cpu") == 2
    told = capsys.readouterr().err
    assert "IMG_0001.HEIC: unreadable image: not an image in a format that Pillow reads; convert it to JPEG" in told


@pytest.mark.skipif(not ("avif" in features.modules and features.check("avif")), reason="this Pillow reads no AVIF")
def test_avif_is_read(model: Path, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    Image.fromarray(array(0)).save(tmp_path / "album" / "photo.AVIF")
    assert run("edges", model, tmp_path / "album", "--out", tmp_path / "out", "--device", "cpu") == 0
    assert (tmp_path / "out" / "photo-edges.png").exists()


@pytest.mark.parametrize("letter", ["x", "é", "語"])
def test_a_name_that_is_too_long_is_shortened(letter: str, model: Path, tmp_path: Path) -> None:
    """Two names that differ at their ends alone, as long as the file system takes them, and a third picture."""
    width = len(letter.encode())
    longest = letter * ((255 - len("1.png")) // width)
    for name in (f"{longest}1.png", f"{longest}2.png", "short.png"):
        save(tmp_path / "album" / name, 2)
    out = tmp_path / "out"
    assert run("layers", model, tmp_path / "album", "--count", "2", "--out", out, "--device", "cpu") == 0
    assert run("fit", tmp_path / "album", "--steps", "1", "--out", tmp_path / "fits", "--device", "cpu") == 0
    names = sorted(path.name.removesuffix("-rendering.png") for path in out.glob("*-rendering.png"))
    assert len(names) == 3 and "short" in names
    assert sum(set(name.removesuffix("-2")) == {letter} for name in names) == 2
    assert all(NAME_BYTES - 6 <= len(name.encode()) <= NAME_BYTES for name in names if name != "short")
    assert len(list((tmp_path / "fits").glob("*.ply"))) == 3


def test_names_of_outputs_differ_by_more_than_case() -> None:
    files = [Path(name) for name in ("a.png", "A.jpg", "a.JPG", "cafe\u0301.png", "caf\u00e9.jpg", "a-2.png", "ß.png")]
    names = output_names(files)
    assert names[:3] == ["a", "A-2", "a-3"] and len({name.casefold() for name in names}) == len(names)
    assert names[4] == "café-2" and names[5] == "a-2-2"


def test_links_to_pictures_and_to_nothing(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "album").mkdir()
    os.symlink("../elsewhere/a.png", tmp_path / "album" / "link.png")
    os.symlink("nowhere.png", tmp_path / "album" / "lost.png")
    assert run("edges", model, tmp_path / "album", "--out", tmp_path / "out", "--device", "cpu") == 0
    assert "links to nothing: 1, such as lost.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "link-edges.png").exists()


@pytest.mark.parametrize("command", ["edges", "layers", "segment", "fit", "view"])
def test_one_limit_holds_in_every_command_and_can_be_switched_off(
    command: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    Image.new("RGB", (1100, 9), "red").save(tmp_path / "long.png")
    photo = tmp_path / "long.png"
    of = (photo, "--steps", "1", "--gaussians", "5") if command == "fit" else (model, photo)
    sizes = {}
    for limit in ("", "40", "0"):
        out = tmp_path / f"out{limit}{'.html' if command == 'view' else ''}"
        options = ("--max-size", limit) if limit else ()
        assert run(command, *of, "--out", out, "--device", "cpu", *options) == 0
        told = capsys.readouterr().err
        assert ("larger images, such as" in told) == (limit != "0")
        if command == "view":
            (sizes[limit],) = map(int, re.findall(r'"width": (\d+)', out.read_text(encoding="utf-8")))
        else:
            with Image.open(min(out.glob("*.png"))) as image:
                sizes[limit] = image.width
    assert sizes == {"": 1024, "40": 40, "0": 1100}


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_the_pictures_of_the_report(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "album").mkdir()
    for name in ("03_photo.avif", "03_IMG_0001.HEIC", "01_turned_o6.tif"):
        (tmp_path / "album" / name).write_bytes((CASES / name).read_bytes())
    assert run("edges", model, tmp_path / "album", "--out", tmp_path / "out", "--device", "cpu") == 0
    assert "JPEG or PNG: 1, such as 03_IMG_0001.HEIC" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"03_photo-edges.png", "01_turned_o6-edges.png"}
