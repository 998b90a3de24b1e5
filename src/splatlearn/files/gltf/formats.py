"""glTF with KHR_gaussian_splatting as a registered format: .glb, or .gltf with its numbers beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from splatlearn.core.errors import Malformed, MissingError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.files.gltf.document import Document, glb_parts, is_gltf
from splatlearn.files.gltf.reader import (
    ANTIALIASED,
    DISPLAYED,
    EXTENSION,
    FLOAT,
    HIGHEST_DEGREE,
    POINTS,
    UNSIGNED_BYTE,
    read_gltf,
)
from splatlearn.files.interface import Container, Content, Files, ReadRequest, Writer, WriteRequest
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import linear_scales, quantise, to_stored

FRAME = "LUF"
"""x left, y up, z front: the axes of glTF seen along its own front."""
TEXT_ENDING = ".gltf"
TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def read(data: bytes, request: ReadRequest) -> SplatFile:
    """Read a file that holds all of its numbers; raises Malformed."""
    return read_gltf(Document(data), request.frame or FRAME, request.limit, request.drop_invalid)


def read_path(path: Path, request: ReadRequest) -> SplatFile:
    """Read a .gltf file, with the files of numbers that it names beside it."""
    if not path.is_file():
        raise MissingError(f"{path}: expected a splat file, found none")

    def fetch(name: str) -> bytes:
        if not name or name.startswith(".") or any(mark in name for mark in "/\\:\0%"):
            raise Malformed(f"expected names of files beside the .gltf file, got {name[:60]!r}")
        beside = path.with_name(name)
        if not beside.is_file():
            raise Malformed(f"{name[:60]}: expected a file beside {path.name}, found none")
        return beside.read_bytes()

    document = Document(path.read_bytes(), fetch)
    return read_gltf(document, request.frame or FRAME, request.limit, request.drop_invalid)


def content(gaussians: Gaussians, request: WriteRequest) -> Content | Files:
    """A .glb file, or a .gltf file and its .bin; the numbers are float32 and standard deviations are linear."""
    stored = to_stored(gaussians)
    colors = np.concatenate([stored.sh[:, 0] * C0 + 0.5, stored.opacities[:, None]], axis=1)
    arrays: dict[str, np.ndarray] = {
        "POSITION": stored.means,
        f"{EXTENSION}:ROTATION": stored.quaternions[:, [1, 2, 3, 0]],
        f"{EXTENSION}:SCALE": linear_scales(gaussians),
        f"{EXTENSION}:OPACITY": stored.opacities[:, None],
        # For viewers that show points only.
        "COLOR_0": quantise(colors, 255).astype(np.uint8),
    }
    for degree in range(gaussians.degree + 1):
        for place in range(2 * degree + 1):
            arrays[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{place}"] = stored.sh[:, degree * degree + place]
    document, binary = _document(arrays), _binary(arrays)
    if request.antialiased:
        document["asset"]["extras"] = {ANTIALIASED: True}
    names = beside(request.path.name)
    if not names:
        return glb_parts(document, document["buffers"][0]["byteLength"], binary)
    (name,) = names
    document["buffers"][0]["uri"] = name
    return {name: binary, request.path.name: json.dumps(document, indent=1).encode()}


def beside(name: str) -> tuple[str, ...]:
    """The file of numbers that belongs to a .gltf file."""
    return (f"{Path(name).stem}.bin",) if name.lower().endswith(TEXT_ENDING) else ()


def _binary(arrays: dict[str, np.ndarray]) -> Iterator[bytes]:
    """The numbers, one attribute after the other."""
    for values in arrays.values():
        yield np.ascontiguousarray(values, "u1" if values.dtype == np.uint8 else "<f4").tobytes()


def _document(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The JSON of one node with all Gaussians."""
    views: list[dict[str, int]] = []
    accessors: list[dict[str, Any]] = []
    offset = 0
    for name, values in arrays.items():
        is_bytes = values.dtype == np.uint8
        size = values.size * (1 if is_bytes else 4)
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": size})
        accessor: dict[str, Any] = {
            "bufferView": len(accessors),
            "componentType": UNSIGNED_BYTE if is_bytes else FLOAT,
            "count": len(values),
            "type": TYPES[values.shape[1]],
        }
        if is_bytes:
            accessor["normalized"] = True
        if name == "POSITION":
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(accessor)
        offset += size
    primitive = {
        "mode": POINTS,
        "attributes": {name: number for number, name in enumerate(arrays)},
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": DISPLAYED}},
    }
    return {
        "asset": {"version": "2.0", "generator": "splatlearn"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": accessors,
    }


GLTF = Container(
    lambda data, name: is_gltf(data),
    read,
    (Writer("gltf", (".glb", TEXT_ENDING), FRAME, content, HIGHEST_DEGREE, beside=beside),),
    lambda path: path.name.lower().endswith(TEXT_ENDING),
    read_path,
)
