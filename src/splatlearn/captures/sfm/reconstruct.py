"""Structure from motion: photographs without cameras become a capture in COLMAP's layout."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from splatlearn.captures.finding.headers import read_header
from splatlearn.captures.finding.photographs import NO_PHOTOGRAPHS
from splatlearn.captures.lenses import lens_model
from splatlearn.core.disk.atomic import place_folder
from splatlearn.core.errors import BackendError, InputError, MissingError
from splatlearn.images.errors import UnreadableImage
from splatlearn.images.listing import IMAGE_EXTENSIONS, files_below

Matching = Literal["auto", "exhaustive", "sequential"]
Mapper = Literal["incremental", "global"]

EXHAUSTIVE_BELOW = 200
"""Smallest number of photographs that are not compared each with each, which would take too long."""
FEWEST = 3
LARGEST = 3200
"""Pixels of the longer side at which features are looked for, as in COLMAP."""
PROGRAM = Path(__file__).with_name("program.py")
POLL = 1.0
"""Seconds between two looks at the database."""
LAST_LINES = 3
"""Lines of the log that an error shows."""


@dataclass(frozen=True)
class Motion:
    """Result of structure from motion.

    - `folder`: of the capture: photographs, and `sparse/0`.
    - `registered`, `total`: photographs with a camera, and all that were given.
    - `points`: number of points.
    - `others`: names of the photographs of each smaller model, which is not kept.
    - `unreadable`: photographs that were left out, with the reason.
    """

    folder: Path
    registered: int
    total: int
    points: int
    others: tuple[tuple[str, ...], ...]
    unreadable: tuple[str, ...] = ()


def find_cameras(
    folder: Path,
    *,
    matching: Matching = "auto",
    mapper: Mapper = "incremental",
    camera_model: str = "auto",
    is_film: bool = False,
    max_size: int = LARGEST,
    progress: Callable[[str, int, int], object] = lambda what, done, total: None,
) -> Motion:
    """Compute cameras and points for the photographs of a folder, and write them to `sparse/0` in it.

    - `folder`: has the photographs, in `images` or directly.
    - `matching`: "exhaustive" compares each photograph with each, "sequential" with the ten that follow by name.
      "auto": exhaustive below 200 photographs that are not frames of a film.
    - `mapper`: "incremental" adds one photograph after the other; "global" solves for all at once, which is faster.
    - `camera_model`: a model of COLMAP. "auto": OPENCV and one camera for all if all photographs have the same size,
      otherwise SIMPLE_RADIAL and a camera for each group that COLMAP tells apart.
    - `progress`: called with the stage, and how much of it is done.

    The largest model is kept. Nothing that was there is changed: `sparse` must not exist. `database.db` with features
    and matches is kept if there was none. Raises BackendError without pycolmap or if it fails, MissingError for a
    missing folder, and InputError for photographs that do not overlap enough.
    """
    check_pycolmap()
    if not folder.is_dir():
        raise MissingError(f"photos: expected a folder of photographs, found none at {folder}")
    if os.path.lexists(folder / "sparse"):
        raise InputError(
            f"photos: {folder / 'sparse'} has cameras already; move it away to compute them again, or use it as it is"
        )
    images = next((folder / name for name in ("images", "input") if (folder / name).is_dir()), folder)
    names, sizes, unreadable = _pictures(images)
    if len(names) < FEWEST:
        raise InputError(f"photos: expected at least {FEWEST} photographs in {images}, got {len(names)}")
    alike = len(sizes) == 1
    model = ("OPENCV" if alike else "SIMPLE_RADIAL") if camera_model == "auto" else lens_model(camera_model).name
    if matching == "auto":
        matching = "exhaustive" if len(names) < EXHAUSTIVE_BELOW and not is_film else "sequential"
    work = Path(tempfile.mkdtemp(prefix=".splatlearn.sfm.", dir=folder))
    try:
        job = {
            "images": str(images),
            "names": names,
            "work": str(work),
            "camera_model": model,
            "single_camera": alike,
            "matching": matching,
            "mapper": mapper,
            "max_size": max_size,
        }
        models = _run(job, work, progress)
        if not models:
            raise InputError(
                f"photos: no two of the {len(names)} photographs in {images} could be aligned; take them so that each "
                "shows two thirds of the one before, of something that has texture and does not move"
            )
        models.sort(key=lambda each: -len(each["names"]))
        best = models[0]
        target = folder / "sparse"
        placed = work / "sparse"
        placed.mkdir()
        shutil.move(work / "models" / str(best["model"]), placed / "0")
        try:
            place_folder(placed, target)
        except FileExistsError as error:
            raise InputError(
                f"photos: {target} was made by another program meanwhile, and stays as it is; move it away and start "
                "again, or use its cameras"
            ) from error
        if not os.path.lexists(folder / "database.db"):
            shutil.move(work / "database.db", folder / "database.db")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    others = tuple(tuple(each["names"]) for each in models[1:])
    return Motion(folder, len(best["names"]), len(names), best["points"], others, unreadable)


def check_pycolmap() -> None:
    """Raise BackendError, which says how to install it, unless pycolmap is installed."""
    if not has_pycolmap():
        raise BackendError("cameras: computing them needs pycolmap; install it with: pip install 'splatlearn[sfm]'")


def has_pycolmap() -> bool:
    """Return whether pycolmap is installed; it is not loaded, because it brings another OpenMP runtime."""
    return importlib.util.find_spec("pycolmap") is not None


def _pictures(images: Path) -> tuple[list[str], set[tuple[int, int]], tuple[str, ...]]:
    """Names and sizes of the photographs that can be opened, and why others cannot."""
    names, sizes, unreadable = [], set(), []
    for name in files_below(images, IMAGE_EXTENSIONS)[0]:
        if not NO_PHOTOGRAPHS.isdisjoint(name.casefold().split("/")[:-1]):
            continue
        try:
            header = read_header(images / name, name)
        except UnreadableImage as error:
            unreadable.append(str(error))
            continue
        names.append(name)
        sizes.add((header.width, header.height))
    return names, sizes, tuple(unreadable)


def _run(job: dict[str, Any], work: Path, progress: Callable[[str, int, int], object]) -> list[dict[str, Any]]:
    """Run the program, tell how far it is, and return the models that it found."""
    count = len(job["names"])
    log = work / "log.txt"
    models: list[dict[str, Any]] = []
    stage = "features"
    # In a file, because the names of some thousand photographs are more than an argument may have.
    (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(work / "job.json")],
            stdin=subprocess.PIPE,  # its end tells the program that this process has ended, however it did
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdin is not None and process.stdout is not None
        events: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(process.stdout, events.put), daemon=True).start()
        try:
            while True:
                try:
                    line = events.get(timeout=POLL)
                except queue.Empty:
                    if (done := _stored(work / "database.db", stage)) is not None:
                        progress(stage, min(done[0], done[1] or count), done[1] or count)
                    continue
                if line is None:
                    break
                event = _parsed(line)
                stage = event.get("stage", stage)
                if "registered" in event:
                    progress(stage, min(event["registered"], count), count)
                if "model" in event:
                    models.append(event)
            code = process.wait()
        finally:
            # An interruption must not leave the process running.
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdin.close()
            process.stdout.close()
    if code:
        last = " ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_LINES:])
        raise BackendError(f"cameras: pycolmap ended with exit code {code}: {last[-400:]}")
    return models


def _pass_on(lines: Iterable[str], put: Callable[[str | None], object]) -> None:
    """Hand lines over as they come, and None at the end."""
    try:
        for line in lines:
            put(line)
    finally:
        put(None)


def _parsed(line: str) -> dict[str, Any]:
    """The event of a line; lines that COLMAP prints itself are none."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _stored(database: Path, stage: str) -> tuple[int, int] | None:
    """How many rows of a stage are in the database, and how many are expected, 0 if that is not known."""
    table = {"features": "keypoints", "matches": "matches"}.get(stage)
    if table is None or not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=0.2)) as opened:
            done = int(opened.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
            images = int(opened.execute("SELECT COUNT(*) FROM images").fetchone()[0])
    except sqlite3.Error:  # it is being written
        return None
    return done, images * (images - 1) // 2 if stage == "matches" else 0
