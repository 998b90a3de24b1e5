"""Models of a capture: their folders, the choice of one, and its photographs and points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.capture import Points, Tracks
from splatlearn.captures.colmap import binary, text
from splatlearn.captures.colmap.tables import ImageRow, Model, PointTable
from splatlearn.captures.described import Described, Entry
from splatlearn.captures.finding.names import listed
from splatlearn.captures.finding.point_files import keep_finite, read_point_file
from splatlearn.captures.poses import from_quaternion
from splatlearn.core.errors import FormatError, Malformed, MissingError

PLACES = ("sparse", ".", "colmap/sparse", "dense/sparse", "dense/0/sparse", "dense", "distorted/sparse")
"""Folders of a capture that are looked into for a model, or for folders with one model each."""
PICTURES = ("images", "input", "image", "Images", "imgs", "photos", "rgb", "color", "frames", "undistorted_images")
"""Folders of a capture that photographs usually lie in."""
Table = TypeVar("Table")
READERS = {".bin": binary, ".txt": text}


def find_models(folder: Path, places: tuple[str, ...] = PLACES) -> list[Path]:
    """Return the folders of the models of the first place that has one, in the order of their names."""
    for place in places:
        here = folder / place
        if ending_of(here):
            return [here]
        if place != "." and here.is_dir():
            inside = [each for each in sorted(here.iterdir(), key=_by_number) if ending_of(each)]
            if inside:
                return inside
    return []


def _by_number(folder: Path) -> tuple[int, str]:
    number = folder.name
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 10**10), number


def ending_of(folder: Path) -> str | None:
    """Return ".bin" or ".txt", as the files of a model end; None for a folder without a model."""
    return next(
        (ending for ending in READERS if all((folder / f"{name}{ending}").is_file() for name in ("cameras", "images"))),
        None,
    )


def read_model(folder: Path) -> Model:
    """Read the files of one model. Raises FormatError that names the file."""
    ending = ending_of(folder)
    if ending is None:
        raise MissingError(f"{folder}: expected cameras.bin and images.bin, or both as .txt, found none")
    reader = READERS[ending]
    cameras = _read(reader.read_cameras, folder / f"cameras{ending}")
    images = _read(reader.read_images, folder / f"images{ending}")
    points = folder / f"points3D{ending}"
    return Model(cameras, images, _read(reader.read_points, points) if points.is_file() else PointTable.none())


def describe_colmap(folder: Path, models: list[Path]) -> Described:
    """Describe the largest of the models of a capture.

    - `folder`: the capture's folder; its photographs are looked for there.

    Raises FormatError for files that are damaged.
    """
    sizes = [_number_of_images(each) for each in models] if len(models) > 1 else [0]
    chosen = models[max(range(len(models)), key=lambda index: sizes[index])]
    model = read_model(chosen)
    problems: list[str] = []
    if len(models) > 1:
        parts = [f"{each.name} with {size:,}" for each, size in zip(models, sizes, strict=True) if each != chosen]
        problems.append(
            f"The photographs fell into {len(models)} models that have nothing in common; {chosen.name} with "
            f"{len(model.images):,} photographs is read, not {listed(parts)}. Take photographs between the parts."
        )
    ending = ending_of(chosen)
    points, more = _points(chosen, model)
    name = "binary" if ending == ".bin" else "text"
    entries = [_entry(row, model) for row in model.images]
    return Described(f"COLMAP {name}", entries, _roots(folder, chosen), points, problems=problems + more)


def _roots(folder: Path, model: Path) -> list[Path]:
    """Where the photographs of a model may lie, those beside it first: others may be distorted or of another size."""
    inside = model.relative_to(folder).parts if model.is_relative_to(folder) else ()
    beside = folder.joinpath(*inside[: inside.index("sparse")]) if "sparse" in inside else model
    # The photographs that 3DGS's script took a distorted model from are not those in images/.
    names = PICTURES if "distorted" not in inside else tuple(sorted(PICTURES, key=lambda name: name != "input"))
    return [place / name for place in dict.fromkeys((beside, folder)) for name in (*names, ".")]


def _read(reader: Callable[[Path], Table], path: Path) -> Table:
    try:
        return reader(path)
    except Malformed as error:
        raise FormatError(f"{path}: {error}") from None
    except MemoryError:
        raise FormatError(f"{path}: not enough memory for what the file holds") from None


def _number_of_images(folder: Path) -> int:
    ending = ending_of(folder)
    assert ending is not None
    return len(_read(READERS[ending].read_images, folder / f"images{ending}"))


def _entry(row: ImageRow, model: Model) -> Entry:
    camera = model.cameras.get(row.camera)
    if camera is None:
        return Entry(row.name, None, None, fault=f"there is no camera number {row.camera}")
    if camera.lens is None:
        return Entry(row.name, None, None, fault=f"camera {row.camera}: {camera.fault}")
    try:
        return Entry(row.name, from_quaternion(row.pose[:4], row.pose[4:]), camera.lens)
    except Malformed as error:
        return Entry(row.name, None, camera.lens, fault=str(error))


def _points(folder: Path, model: Model) -> tuple[Points, list[str]]:
    """The points, and sentences about them."""
    table = model.points
    problems: list[str] = []
    if not len(table.xyz):
        if (folder / "points3D.ply").is_file():
            return read_point_file(folder / "points3D.ply"), []
        return Points.none(), [f"{folder} has no points (points3D); a fit starts from random ones."]
    tracks = None
    if table.starts[-1] and model.images:
        tracks, lost = _tracks(table, model.images)
        if lost:
            problems.append(
                f"Observations of points3D that have no feature in the images are left out ({lost:,}); the files may "
                "be of different runs."
            )
    errors = np.where(table.errors >= 0, table.errors, np.nan)
    points, lost = keep_finite(Points(table.xyz, table.rgb, errors, tracks))
    if lost:
        problems.append(f"{lost:,} of {len(table.xyz):,} points have NaN or huge coordinates and are left out.")
    return points, problems


def _tracks(table: PointTable, images: list[ImageRow]) -> tuple[Tracks | None, int]:
    """Tracks with the pixels of their features, and the number of elements without a feature."""
    sizes = np.array([len(row.features) for row in images], dtype=np.int64)
    where = _indices(np.array([row.number for row in images], dtype=np.int64), table.elements[:, 0])
    feature = table.elements[:, 1]
    known = (where >= 0) & (feature >= 0)
    known &= feature < np.where(known, sizes[where], 0)
    if not known.any():
        return None, 0 if not sizes.any() else len(known)
    image, feature, point = (
        where[known],
        feature[known],
        np.repeat(np.arange(len(table.xyz)), np.diff(table.starts))[known],
    )
    pixels = np.empty((len(image), 2))
    order = np.argsort(image, kind="stable")
    bounds = np.searchsorted(image[order], np.arange(len(images) + 1))
    for index, row in enumerate(images):
        part = order[bounds[index] : bounds[index + 1]]
        pixels[part] = row.features[feature[part]]
    fine = np.isfinite(pixels).all(axis=-1)
    starts = np.searchsorted(point[fine], np.arange(len(table.xyz) + 1))
    return Tracks(starts, image[fine], pixels[fine]), len(known) - int(fine.sum())


def _indices(numbers: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `wanted` stands in `numbers`; −1 where it does not."""
    order = np.argsort(numbers, kind="stable")
    place = np.searchsorted(numbers[order], wanted).clip(max=len(numbers) - 1)
    found = order[place]
    return np.where(numbers[found] == wanted, found, -1)
