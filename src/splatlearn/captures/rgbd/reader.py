"""The layouts of 7-Scenes, of TSDF fusion's example and of ScanNet: camera-to-world matrices, one text file each.

Depth maps lie beside photographs, in millimetres: `depth/000000.png`, or `frame-000000.depth.png`.

Cameras look along z with y down, as here. Names of photographs and poses are equal up to their endings:
`color/000000.jpg` and `pose/000000.txt`, or `frame-000000.color.jpg` and `frame-000000.pose.txt`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.described import Described, Entry
from splatlearn.captures.lenses import Lens
from splatlearn.captures.poses import inverted, rigid
from splatlearn.core.errors import FormatError, InputError, Malformed
from splatlearn.images.listing import images_in

INTRINSICS = ("intrinsics.txt", "camera-intrinsics.txt", "intrinsic/intrinsic_color.txt")
LARGEST = 4096
"""Bytes of a file with one matrix."""
FOLDERS = (("color", "pose"), (".", "."))
COLOR, POSE, DEPTH = ".color", ".pose", ".depth"


def find_rgbd(folder: Path) -> Path | None:
    """Return the file with the intrinsics of such a capture, None where the folder has none or no poses."""
    file = next((folder / name for name in INTRINSICS if (folder / name).is_file()), None)
    return file if file is not None and _pairs(folder) else None


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The photographs that have a pose, and the poses."""
    for color, pose in FOLDERS:
        if not (folder / color).is_dir():
            continue
        found: list[tuple[Path, Path]] = []
        for picture in images_in(folder / color)[0]:
            stem = picture.stem
            if color == "." and not stem.endswith(COLOR):
                continue
            file = folder / pose / (f"{stem.removesuffix(COLOR)}{POSE}.txt" if color == "." else f"{stem}.txt")
            if file.is_file():
                found.append((picture, file))
        if found:
            return found
    return []


def describe_rgbd(folder: Path, intrinsics: Path) -> Described:
    """Describe a capture of a depth camera. Raises FormatError for intrinsics that are damaged."""
    try:
        numbers = _matrix(intrinsics)
    except Malformed as error:
        raise FormatError(f"{intrinsics}: {error}") from None
    pairs = _pairs(folder)
    root = pairs[0][0].parent

    def lens(width: int, height: int) -> Lens:
        return Lens.pinhole(width, height, numbers[0, 0], numbers[1, 1], numbers[0, 2], numbers[1, 2])

    try:
        lens(1, 1)
    except InputError as error:
        raise FormatError(f"{intrinsics}: {error}") from None
    entries: list[Entry] = []
    for picture, file in pairs:
        try:
            depth = _depth(folder, picture)
            entries.append(Entry(picture.name, inverted(rigid(_matrix(file))), lens, depth=depth))
        except Malformed as error:
            entries.append(Entry(picture.name, None, lens, fault=f"{file.name}: {error}"))
    return Described("poses and intrinsics of a depth camera", entries, [root], lists_all=root != folder)


def _depth(folder: Path, picture: Path) -> str | None:
    """The name of the depth map of a photograph, None where there is none."""
    if picture.stem.endswith(COLOR):
        name = f"{picture.stem.removesuffix(COLOR)}{DEPTH}.png"
    else:
        name = f"depth/{picture.stem}.png"
    return name if (folder / name).is_file() else None


def _matrix(path: Path) -> NDArray[np.float64]:
    """A matrix [3, 3] or [4, 4] in a text file."""
    if path.stat().st_size > LARGEST:
        raise Malformed(f"expected a matrix in at most {LARGEST} bytes of text")
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = np.array(rows, dtype=np.float64)
    except ValueError:
        raise Malformed("expected a matrix of numbers") from None
    if found.shape not in ((3, 3), (4, 4)):
        raise Malformed(f"expected a matrix of 3 x 3 or 4 x 4 numbers, got the shape {list(found.shape)}")
    return found
