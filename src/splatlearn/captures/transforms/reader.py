"""The files of a capture with transforms, its frames and their splits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from splatlearn.captures.capture import Points, Split
from splatlearn.captures.described import MILLIMETRE, Described, Entry, LensOfSize
from splatlearn.captures.finding.names import parts_of, printable
from splatlearn.captures.finding.point_files import read_point_file
from splatlearn.captures.lenses import Lens
from splatlearn.captures.poses import inverted, rigid
from splatlearn.captures.transforms.document import matrix, names, read_document, text
from splatlearn.captures.transforms.intrinsics import KEYS, lens_of
from splatlearn.core.errors import FormatError, InputError, Malformed

SPLITS: tuple[Split, ...] = ("train", "val", "test")
WHOLE = "transforms.json"
POINTS = "sparse_pc.ply"
"""Nerfstudio's name for the points that it takes from COLMAP."""
DEPTH_KEYS = {"depth_file_path": "depth_unit_scale_factor", "depth_path": "integer_depth_scale"}
"""Keys of a frame's depth map, and of the file for the world units of its number 1, by default a thousandth."""
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Conversion between cameras that look along −z with y up and those that look along z with y down."""


def find_transforms(folder: Path) -> list[Path]:
    """Return the transforms files of a capture: one for each split if it has one for training, or transforms.json."""
    split = [folder / f"transforms_{name}.json" for name in SPLITS]
    if split[0].is_file():
        return [each for each in split if each.is_file()]
    return [folder / WHOLE] if (folder / WHOLE).is_file() else []


def describe_transforms(folder: Path, files: list[Path]) -> Described:
    """Describe a capture by its transforms files. Raises FormatError for a file that is damaged."""
    documents = [(file, read_document(file)) for file in files]
    entries = list(itertools.chain(*(_entries(file, document) for file, document in documents)))
    problems: list[str] = []
    times = {frame.get("time") for _, document in documents for frame in document["frames"] if _has_time(frame)}
    if len(times) > 1:
        problems.append(
            f"The photographs were taken at {len(times):,} different times (key `time`); what moved between them is "
            "blurred in a scene that stands still."
        )
    points = Points.none()
    for file, document in documents:
        points, more = _points(folder, file, document)
        problems += more
        if len(points):
            break
    # Frames of synthetic scenes have no suffix, and depths and normals beside them, which have no poses of their own.
    named = all(PurePosixPath("/".join(parts_of(entry.name))).suffix for entry in entries)
    return Described(
        " and ".join(file.name for file in files), entries, [folder], points, named, list(dict.fromkeys(problems))
    )


def _has_time(frame: object) -> bool:
    return isinstance(frame, dict) and isinstance(frame.get("time"), int | float)


def _entries(file: Path, document: dict[str, Any]) -> Iterator[Entry]:
    splits: dict[str, Split] = _splits(file, document)
    stated: Split | None = next((name for name in SPLITS if file.name == f"transforms_{name}.json"), None)
    header = {name: value for name, value in document.items() if name != "frames"}
    lenses: Lenses = {}
    for frame in document["frames"]:
        if not isinstance(frame, Mapping):
            raise FormatError(f"{file}: frames: expected objects, got {type(frame).__name__}")
        try:
            name = text(frame, "file_path")
        except Malformed as error:
            yield Entry("", None, None, fault=str(error))
            continue
        if name is None:
            yield Entry("", None, None, fault="file_path: expected the name of a photograph, found none")
            continue
        split = splits.get("/".join(parts_of(name))) if splits else stated
        yield _entry(frame, header, name, split, lenses)


Lenses = dict[str, Lens | LensOfSize]
"""Lenses by the numbers that frames have of their own: those with the same numbers share a lens."""


def _entry(
    frame: Mapping[str, Any], header: Mapping[str, Any], name: str, split: Split | None, lenses: Lenses
) -> Entry:
    try:
        own = {key: frame[key] for key in sorted(KEYS & frame.keys())}
        key = repr(own)
        lens = lenses[key] = lenses[key] if key in lenses else lens_of(own, header)
        pose = inverted(rigid(matrix(frame, "transform_matrix")) @ OPENGL)
        depth, unit = _depth(frame, header)
        return Entry(name, pose, lens, text(frame, "mask_path"), split, depth=depth, depth_unit=unit)
    except (Malformed, InputError) as error:
        return Entry(name, None, None, split=split, fault=str(error))


def _depth(frame: Mapping[str, Any], header: Mapping[str, Any]) -> tuple[str | None, float]:
    """The name of a frame's depth map and its unit: nerfstudio's keys, then those of instant-ngp."""
    for key, unit in DEPTH_KEYS.items():
        if (name := text(frame, key)) is not None:
            stated = header.get(unit, MILLIMETRE)
            usable = isinstance(stated, int | float) and not isinstance(stated, bool) and 0 < stated < math.inf
            if not usable:
                raise Malformed(f"{unit}: expected a number above 0, got {stated!r}")
            return name, float(stated)
    return None, MILLIMETRE


def _splits(file: Path, document: dict[str, Any]) -> dict[str, Split]:
    """Names of photographs to their splits, where the file lists them."""
    try:
        lists: list[tuple[Split, Iterable[str]]] = [(split, names(document, f"{split}_filenames")) for split in SPLITS]
    except Malformed as error:
        raise FormatError(f"{file}: {error}") from None
    return {"/".join(parts_of(name)): split for split, listed in lists for name in listed}


def _points(folder: Path, file: Path, document: dict[str, Any]) -> tuple[Points, list[str]]:
    try:
        name = text(document, "ply_file_path")
    except Malformed as error:
        raise FormatError(f"{file}: {error}") from None
    path = folder.joinpath(*parts_of(name or POINTS))
    if not path.is_file():
        sentence = f"{file.name} names the points {printable(path.name)}, which are not there."
        return Points.none(), [sentence] if name else []
    try:
        return read_point_file(path), []
    except FormatError as error:
        return Points.none(), [f"The points cannot be read, and are left out: {error}."]
