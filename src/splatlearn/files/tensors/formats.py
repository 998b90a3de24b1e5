"""A folder of tensors as a registered format: numbers in safetensors, and what they are in JSON.

`splats.json` has `format` "splatlearn tensors", `version`, `primitive`, `frame`, `antialiased`, `offset` and `count`;
`splats.safetensors` has float32 tensors `means`, `log_scales`, `quaternions`, `opacities`, `sh` and, where the
primitive has further numbers, `shapes`. Every primitive fits; nothing is lost beyond float32.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import FormatError, InputError, Malformed, MissingError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.frames import check_frame
from splatlearn.core.geometry.harmonics import degree_of
from splatlearn.files.errors import check_count
from splatlearn.files.interface import Container, Files, ReadRequest, Writer, WriteRequest
from splatlearn.files.offset import Offset
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import Stored, from_stored, to_stored

META, TENSORS = "splats.json", "splats.safetensors"
FORMAT, VERSION = "splatlearn tensors", 1
FRAME = "RDF"
ROWS: dict[str, tuple[int, ...]] = {"means": (3,), "log_scales": (3,), "quaternions": (4,), "opacities": ()}
"""Shapes of a row of the tensors that every file has, beside `sh` [M, 3]."""


def content(gaussians: Gaussians, request: WriteRequest) -> Files:
    """Both files of Gaussians [K] with `sh`, the numbers first; InputError for another name than `splats.json`."""
    if request.path.name != META:
        raise InputError(f"path: expected a folder's {META} for tensors, got {str(request.path)!r}")
    stored = to_stored(gaussians)
    names = (*ROWS, "sh", *(("shapes",) if stored.shapes is not None else ()))
    tensors = {name: np.ascontiguousarray(getattr(stored, name), dtype=np.float32) for name in names}
    said = {
        "format": FORMAT, "version": VERSION, "count": gaussians.count, "primitive": stored.primitive,
        "frame": request.frame, "antialiased": request.antialiased, "offset": list(request.offset),
    }  # fmt: skip
    return {TENSORS: save(tensors), META: (json.dumps(said, indent=2) + "\n").encode()}


def read(path: Path, request: ReadRequest) -> SplatFile:
    """Read a folder, or the folder of a splats.json; raises Malformed."""
    folder = path if path.is_dir() else path.parent
    if not (folder / META).is_file():
        raise MissingError(f"{folder / META}: expected a splat file, found none")
    said = _said(folder / META)
    count = said["count"]
    check_count(count, request.limit)
    file = folder / TENSORS
    if not file.is_file():
        raise Malformed(f"{TENSORS}: expected a file beside {META}, found none")
    tensors = _tensors(file, count)
    gaussians, dropped = from_stored(Stored(**tensors, primitive=said["primitive"]), request.drop_invalid)
    x, y, z = said["offset"]
    offset: Offset = (float(x), float(y), float(z))
    frame = request.frame or said["frame"]
    return SplatFile(gaussians, "tensors", frame, said["antialiased"], "splatlearn", dropped, offset)


def _said(path: Path) -> dict[str, Any]:
    """The content of a splats.json, whose values have the right types."""
    try:
        said = read_object(path)
    except FormatError as error:
        raise Malformed(str(error)) from None
    if said.get("format") != FORMAT or said.get("version") != VERSION:
        got = f"{str(said.get('format'))[:40]!r} version {str(said.get('version'))[:20]}"
        raise Malformed(f"{META}: expected {FORMAT!r} version {VERSION}, got {got}")
    kinds: dict[str, Any] = {"count": int, "primitive": str, "frame": str, "antialiased": bool, "offset": list}
    for name, kind in kinds.items():
        if not isinstance(said.get(name), kind) or (kind is int and isinstance(said[name], bool)):
            raise Malformed(f"{META}: {name}: expected {kind.__name__}, got {str(said.get(name))[:40]!r}")
    offset = said["offset"]
    if len(offset) != 3 or not all(isinstance(each, int | float) and math.isfinite(each) for each in offset):
        raise Malformed(f"{META}: offset: expected three finite numbers, got {str(offset)[:60]}")
    try:
        check_frame("frame", said["frame"][:20])
    except InputError as error:
        raise Malformed(f"{META}: {error}") from None
    return said


def _tensors(path: Path, count: int) -> dict[str, np.ndarray]:
    """The tensors of a file, of the shapes that they are to have."""
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise Malformed(f"{TENSORS}: {str(error) or type(error).__name__}") from None
    known = {*ROWS, "sh", "shapes"}
    if not {*ROWS, "sh"} <= set(tensors) <= known:
        raise Malformed(f"{TENSORS}: expected {', '.join(sorted(known))}, got {', '.join(sorted(tensors))[:100]}")
    for name, each in tensors.items():
        if each.dtype != np.float32:
            raise Malformed(f"{TENSORS}: {name}: expected float32, got {each.dtype}")
        is_row = each.shape[1:] == ROWS[name] if name in ROWS else _fits(name, each)
        if each.shape[:1] != (count,) or not is_row:
            raise Malformed(f"{TENSORS}: {name}: expected a row for each of {count}, got {list(each.shape)}")
    return tensors


def _fits(name: str, values: np.ndarray) -> bool:
    if name == "shapes":
        return values.ndim == 2
    return values.ndim == 3 and values.shape[2] == 3 and degree_of(values.shape[1]) is not None


def _is_folder(path: Path) -> bool:
    return path.name == META or (path.is_dir() and (path / META).is_file())


TENSORS_FOLDER = Container(
    lambda data, name: False,
    lambda data, request: _never(),
    (
        Writer(
            "tensors", (META,), FRAME, content, holds_offset=True, holds_primitives=True, holds_convexes=True,
            beside=lambda name: (TENSORS,),
        ),
    ),
    _is_folder,
    read,
)  # fmt: skip


def _never() -> SplatFile:
    raise Malformed(f"expected a folder with {META}")
