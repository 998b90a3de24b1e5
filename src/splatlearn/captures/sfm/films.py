"""Photographs out of a film: the sharpest frame of each stretch of time."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import laplace

from splatlearn.core.disk.atomic import place_folder
from splatlearn.core.errors import BackendError, InputError, MissingError
from splatlearn.core.numbers import check_number, check_whole

FILMS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".mts")
CANDIDATES = 5
"""Frames that are compared for each one that is kept."""
SIDE = 800
"""Pixels of the longer side at which frames are compared."""


def is_film(path: Path) -> bool:
    """Return whether a file is a film, by its ending."""
    return path.suffix.lower() in FILMS and path.is_file()


def frames_of_film(film: Path, folder: Path, per_second: float = 2.0, most: int = 400) -> list[str]:
    """Write the sharpest frames of a film as JPEG files into `folder`, and return their names in order.

    - `per_second`: frames that are kept for each second; each is the sharpest of five candidates.
    - `most`: frames at most, spread evenly over the film.

    The folder is made, and must be empty or missing. Raises BackendError without ffmpeg or if it fails, MissingError
    for a missing film, and InputError for a folder with content.
    """
    check_number("per_second", per_second, above=0)
    check_whole("most", most, 1)
    if not film.is_file():
        raise MissingError(f"film: expected a file, found none at {film}")
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(_occupied(folder))
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise BackendError("film: reading films needs ffmpeg; install it, or give a folder of photographs")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".splatlearn.film.", dir=folder.parent) as name:
        work, chosen = Path(name), Path(name) / "chosen"
        chosen.mkdir()
        # Relative to the working directory, because ffmpeg would read a % in the name of a folder as a number's place.
        done = subprocess.run(
            [ffmpeg, "-v", "error", "-nostdin", "-i", str(film.resolve()), "-vf", f"fps={per_second * CANDIDATES:g}",
             "-q:v", "2", "%06d.jpg"],
            cwd=work, capture_output=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        frames = sorted(work.glob("*.jpg"))
        if done.returncode or not frames:
            said = " ".join(done.stderr.strip().splitlines()[-2:]) or "no frames"
            raise BackendError(f"film: ffmpeg could not read {film}: {said}")
        kept = math.ceil(len(frames) / CANDIDATES)
        stretch = len(frames) / min(kept, most)
        names = []
        for number in range(min(kept, most)):
            candidates = frames[
                round(number * stretch) : max(round(number * stretch) + 1, round((number + 1) * stretch))
            ]
            best = max(candidates, key=sharpness)
            names.append(f"{number:05}.jpg")
            best.replace(chosen / names[-1])
        try:
            place_folder(chosen, folder)
        except FileExistsError as error:
            raise InputError(_occupied(folder)) from error
    return names


def _occupied(folder: Path) -> str:
    return (
        f"out: expected nothing or an empty folder at {folder} for the frames of the film, got other content; choose "
        f"another folder with --out, or go on with photographs that are there: splatlearn sfm {folder.parent} "
        "--matching sequential"
    )


def sharpness(path: Path) -> float:
    """Return how sharp a picture is: the standard deviation of its Laplacian at a size at which films are compared."""
    with Image.open(path) as image:
        image.draft("L", (SIDE, SIDE))
        grey = image.convert("L")
        grey.thumbnail((SIDE, SIDE), Image.Resampling.HAMMING)
        return float(laplace(np.asarray(grey, dtype=np.float32)).std())
