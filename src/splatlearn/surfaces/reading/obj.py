"""Wavefront OBJ with colours of vertices or of materials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from splatlearn.core.errors import Malformed
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.reading.polygons import GREY, color_bytes, mesh_of

Color = tuple[int, int, int]


def read_obj(path: Path) -> Mesh:
    """Read a file and the materials that it names.

    Colours are those of vertices if all have one, as MeshLab writes them, and otherwise the diffuse colours (Kd) of
    materials; pictures that materials name are not read. A library of materials that is missing or outside of the
    file's folder leaves its materials grey. Raises Malformed for what does not parse.
    """
    data = path.read_bytes()
    materials: dict[str, Color] = {}
    for name in _libraries(data):
        library = path.parent / name
        if path.parent.resolve() in library.resolve().parents and library.is_file():
            materials |= parse_materials(library.read_bytes())
    return parse_obj(data, materials)


def parse_obj(data: bytes, materials: Mapping[str, Color] | None = None) -> Mesh:
    """Parse a file; `materials`: their colours in bytes, by their names."""
    vertices: list[list[bytes]] = []
    lengths: list[int] = []
    corners: list[int] = []
    used: list[Color] = []
    color: Color = (GREY, GREY, GREY)
    for number, line in enumerate(_lines(data)):
        words = line.split()
        match words[:1]:
            case [b"v"]:
                vertices.append(words[1:])
            case [b"f"]:
                try:
                    places = [int(word.split(b"/", 1)[0]) for word in words[1:]]
                except ValueError:
                    raise Malformed(f"line {number + 1}: expected vertices of a face, got {_shown(line)}") from None
                if 0 in places:
                    raise Malformed(f"line {number + 1}: expected vertices counted from 1, got 0")
                corners.extend(place - 1 if place > 0 else len(vertices) + place for place in places)
                lengths.append(len(places))
                used.append(color)
            case [b"usemtl"]:
                name = line.split(None, 1)[1].strip().decode(errors="replace") if len(words) > 1 else ""
                color = (materials or {}).get(name, (GREY, GREY, GREY))
    places, colored = _vertices(vertices)
    by_face = np.array(used, np.uint8).reshape(-1, 3) if colored is None and len(set(used)) else None
    return mesh_of(places, np.array(lengths, np.int64), np.array(corners, np.int64), colored, by_face)


def parse_materials(data: bytes) -> dict[str, Color]:
    """The diffuse colours of the materials of an MTL file, in bytes; those without one are left out."""
    found: dict[str, Color] = {}
    name = None
    for line in _lines(data):
        words = line.split()
        if words[:1] == [b"newmtl"] and len(words) > 1:
            name = line.split(None, 1)[1].strip().decode(errors="replace")
        elif words[:1] == [b"Kd"] and name is not None and len(words) >= 4:
            try:
                red, green, blue = (round(255 * min(1.0, max(0.0, float(word)))) for word in words[1:4])
            except ValueError:
                continue
            found[name] = (red, green, blue)
    return found


def _libraries(data: bytes) -> list[str]:
    return [
        line.split(None, 1)[1].strip().decode(errors="replace")
        for line in _lines(data)
        if line.startswith(b"mtllib") and len(line.split()) > 1
    ]


def _lines(data: bytes) -> list[bytes]:
    """Lines, those that end with a backslash joined with the next."""
    return data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines()


def _vertices(rows: list[list[bytes]]) -> tuple[np.ndarray, UInt8[np.ndarray, "N 3"] | None]:
    if not rows:
        return np.zeros((0, 3)), None
    try:
        places = np.array([row[:3] for row in rows], dtype=np.float64).reshape(len(rows), 3)
        has_colors = all(len(row) >= 6 for row in rows)
        colors = np.array([row[3:6] for row in rows], dtype=np.float64) if has_colors else None
    except ValueError as error:
        raise Malformed(f"vertices: expected 3 numbers each, got others ({error})") from None
    # Some writers have bytes in place of numbers in [0, 1].
    return places, None if colors is None else color_bytes(colors, whole=bool((colors > 1).any()))


def _shown(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace"))
