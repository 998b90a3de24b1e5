"""Shapes of objects: where they are, which class they belong to, and how each becomes a mesh."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np

from splatlearn.core.errors import FormatError, InputError, Malformed, MissingError
from splatlearn.data.image_sets.folder import SPLIT_NAMES
from splatlearn.images.listing import files_below
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.reading.obj import read_obj
from splatlearn.surfaces.reading.off import parse_off
from splatlearn.surfaces.reading.ply import parse_mesh_or_points
from splatlearn.surfaces.reading.points import Points, discs
from splatlearn.surfaces.reading.voxels import surface

SHAPE_ENDINGS = (".off", ".obj", ".ply", ".npy", ".npz")
"""Endings of the files that shapes are read from, in lower case."""
PLACES, COLORS = ("points", "means3d", "xyz"), ("colors", "rgb")
"""Names of arrays of an .npz that hold points and their colours."""
MOST_VOXELS = 512
"""Largest side of a grid of voxels."""
Kind = Literal["mesh", "points", "voxels"]
Up = Literal["y", "z"]


class Row(NamedTuple):
    """One grid of a file of voxels: the name of the array and the number of its row."""

    array: str
    number: int


@dataclass(frozen=True)
class Shape:
    """One object to fit.

    - `name`: split, class and name, with forward slashes: that of its splat file, without the ending.
    - `file`: where it is read from; `row`: of an .npz of voxels.
    """

    name: str
    file: Path
    row: Row | None = None


class Surfaced(NamedTuple):
    """A mesh, what it was made of, and which axis of the file points up by the habits of its format."""

    mesh: Mesh
    kind: Kind
    up: Up


def list_shapes(paths: Sequence[Path], per_class: int | None = None) -> list[Shape]:
    """List the shapes of files and folders, in an order that is the same on every machine.

    The first folder below one that is given is the class, and folders named train, val or test are splits, whether
    they lie above the classes or below, as in ModelNet. An .npz of voxels has an array for each class, or arrays
    train, test, y_train, y_test and names. `per_class`: the largest number of each class of each split, the first ones.
    Raises MissingError for paths that are not there, and InputError where no shape is found.
    """
    found: list[Shape] = []
    for path in paths:
        if not path.exists():
            raise MissingError(f"shapes: expected a file or folder of shapes, found no {path}")
        names = files_below(path, SHAPE_ENDINGS)[0] if path.is_dir() else [path.name]
        root = path if path.is_dir() else path.parent
        for name in names:
            found.extend(_shapes_of(root / name, PurePosixPath(name)))
    if not found:
        given = ", ".join(map(str, paths))
        raise InputError(f"shapes: expected files that end with {', '.join(SHAPE_ENDINGS)}, found none in {given}")
    found = _told_apart(found)
    return found if per_class is None else list(_first_of_each(found, per_class))


def _shapes_of(file: Path, name: PurePosixPath) -> Iterator[Shape]:
    if file.suffix.lower() not in SHAPE_ENDINGS:
        raise InputError(f"shapes: expected files that end with {', '.join(SHAPE_ENDINGS)}, got {file}")
    rows = _voxel_rows(file) if file.suffix.lower() == ".npz" else []
    if rows:
        yield from (Shape(each, file, row) for each, row in rows)
        return
    folders = [part for part in name.parts[:-1] if part.lower() not in SPLIT_NAMES]
    splits = [SPLIT_NAMES[part.lower()] for part in name.parts[:-1] if part.lower() in SPLIT_NAMES]
    inner = "_".join([*folders[1:], name.stem])
    yield Shape("/".join([*splits[:1], *folders[:1], inner]), file)


def _told_apart(shapes: list[Shape]) -> list[Shape]:
    """Add the ending, and then a number, to names that several shapes have."""
    for ending in (True, False):
        count, seen = Counter(shape.name for shape in shapes), Counter()
        made = []
        for shape in shapes:
            if count[shape.name] > 1:
                seen[shape.name] += 1
                more = shape.file.suffix[1:].lower() if ending else str(seen[shape.name])
                shape = replace(shape, name=f"{shape.name}_{more}")
            made.append(shape)
        shapes = made
    return shapes


def _first_of_each(shapes: list[Shape], most: int) -> Iterator[Shape]:
    seen: Counter[str] = Counter()
    for shape in shapes:
        place = shape.name.rpartition("/")[0]
        seen[place] += 1
        if seen[place] <= most:
            yield shape


def read_shape(shape: Shape) -> Surfaced:
    """Read a shape as a mesh; points become discs, and voxels are surfaced. Raises FormatError naming the file."""
    try:
        return _read(shape)
    except Malformed as error:
        row = "" if shape.row is None else f" ({shape.row.array}, row {shape.row.number})"
        raise FormatError(f"{shape.file}{row}: {error}") from error


def _read(shape: Shape) -> Surfaced:
    ending = shape.file.suffix.lower()
    if shape.row is not None:
        return Surfaced(surface(_grid(shape.file, shape.row)), "voxels", "z")
    if ending == ".obj":
        return Surfaced(_with_faces(read_obj(shape.file)), "mesh", "y")
    if ending in (".npy", ".npz"):
        return Surfaced(discs(_stored_points(shape.file)), "points", "z")
    data = shape.file.read_bytes()
    read = parse_off(data) if ending == ".off" else parse_mesh_or_points(data)
    return (
        Surfaced(discs(read), "points", "z") if isinstance(read, Points) else Surfaced(_with_faces(read), "mesh", "z")
    )


def _with_faces(mesh: Mesh) -> Mesh:
    if not mesh.areas.sum() > 0:
        raise Malformed("expected faces with an area, found none")
    return mesh


def _opened(file: Path):
    """The arrays of a file. Raises Malformed for a damaged one and for pickled objects."""
    # NumPy leaves a damaged archive open.
    if file.suffix.lower() == ".npz" and not zipfile.is_zipfile(file):
        raise Malformed("expected arrays of NumPy, got no archive")
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise Malformed(f"expected arrays of NumPy, got something else ({error})") from error


@lru_cache(maxsize=4)
def _array(file: Path, name: str) -> np.ndarray:
    """An array of a file; neighbouring rows are read from the same one."""
    with _opened(file) as arrays:
        return arrays[name]


def _voxel_rows(file: Path) -> list[tuple[str, Row]]:
    """The names and rows of voxels that a file holds; none for a file of points or one that cannot be read."""
    try:
        with _opened(file) as arrays:
            grids = {name: _count(arrays[name]) for name in arrays.files if _side(arrays[name])}
            labels = {name: arrays[f"y_{name}"] for name in grids if f"y_{name}" in arrays.files}
            classes = arrays["names"].astype(str).tolist() if "names" in arrays.files else []
    except (Malformed, ValueError, OSError, zipfile.BadZipFile):
        return []
    made = []
    for name, count in grids.items():
        digits = max(4, len(str(count)))
        for number in range(count):
            folder = name
            if name in labels and classes:
                folder = f"{SPLIT_NAMES.get(name, name)}/{classes[int(labels[name][number])]}"
            made.append((f"{folder}/{folder.rpartition('/')[2]}_{number:0{digits}}", Row(name, number)))
    return sorted(made)


def _count(array: np.ndarray) -> int:
    return len(array)


def _side(array: np.ndarray) -> int:
    """The side of the grids that an array holds, bit-packed [N, side³/8] or as they are [N, side, side, side]; or 0."""
    if array.ndim == 4 and len(set(array.shape[1:])) == 1 and array.shape[1] <= MOST_VOXELS:
        return array.shape[1]
    if array.ndim == 2 and array.dtype == np.uint8:
        side = round((8 * array.shape[1]) ** (1 / 3))
        return side if 8 <= side <= MOST_VOXELS and side**3 == 8 * array.shape[1] else 0
    return 0


def _grid(file: Path, row: Row) -> np.ndarray:
    array = _array(file, row.array)
    side, values = _side(array), array[row.number]
    return (np.unpackbits(values) if values.ndim == 1 else values).reshape(side, side, side) > 0


def _stored_points(file: Path) -> Points:
    opened = _opened(file)
    if isinstance(opened, np.ndarray):
        places, colors = opened, opened[:, 3:6] if opened.ndim == 2 and opened.shape[1] >= 6 else None
    else:
        with opened as arrays:
            found = {key: next((arrays[n] for n in names if n in arrays.files), None) for key, names in
                     (("places", PLACES), ("colors", COLORS))}  # fmt: skip
            listed = ", ".join(arrays.files)
        places, colors = found["places"], found["colors"]
        if places is None:
            raise Malformed(f"expected an array {', '.join(PLACES)}, or grids of voxels, found {listed or 'none'}")
    if places.ndim != 2 or places.shape[1] < 3 or places.dtype.kind not in "fiu":
        raise Malformed(f"points: expected numbers of shape [N, 3] or [N, 6], got {list(places.shape)} {places.dtype}")
    if colors is not None and colors.shape != (len(places), 3):
        raise Malformed(f"colors: expected shape [{len(places)}, 3], got {list(colors.shape)}")
    if colors is not None and colors.dtype != np.uint8:
        scale = 255.0 if colors.dtype.kind == "f" and not (colors > 1).any() else 1.0
        colors = (scale * colors).clip(0, 255).round().astype(np.uint8)
    return Points(places[:, :3].astype(np.float64), colors)
