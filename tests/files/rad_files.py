"""Files of the format .rad (Spark 2), built from the numbers of Gaussians by the layout that its own code writes."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np

from files.builders import C0, arrays_of
from splatlearn.core.gaussians import Gaussians

CHUNK = 128
USUAL = {
    "center": "f32_lebytes", "alpha": "f16", "rgb": "r8_delta", "scales": "ln_0r8", "orientation": "oct88r8",
    "sh": "s8",
}  # fmt: skip
"""What Spark chooses by itself for a scene of common numbers."""
FLOATS = {"center": "f32", "alpha": "f32", "rgb": "f32", "scales": "f32", "orientation": "f32", "sh": "f32"}
HALVES = {"center": "f16", "alpha": "r8", "rgb": "f16", "scales": "ln_f16", "orientation": "f16", "sh": "f16"}
BYTES = {**USUAL, "center": "f16_lebytes", "alpha": "r8", "rgb": "r8", "sh": "s8_delta"}
CHOICES = {"usual": USUAL, "floats": FLOATS, "halves": HALVES, "bytes": BYTES}


def rad(
    cloud: Gaussians, choice: str = "usual", tree: bool = False, codes: bool = False, compression: bool = True
) -> bytes:
    """Chunks of `CHUNK` Gaussians behind their description.

    - `tree`: a coarse Gaussian for every four comes first. `codes`: harmonics are entries of a codebook of all.
    """
    header, chunks = rad_parts(cloud, choice, tree, codes, compression)
    places, offset = [], 0
    for each in chunks:
        places.append({"offset": offset, "bytes": len(each)})
        offset += len(each)
    return described(b"RAD0", header | {"allChunkBytes": offset, "chunks": places}) + b"".join(chunks)


def rad_parts(
    cloud: Gaussians, choice: str = "usual", tree: bool = False, codes: bool = False, compression: bool = True
) -> tuple[dict[str, Any], list[bytes]]:
    """The description without places, and all chunks."""
    found, degree, inner = arrays_of(cloud), cloud.degree, 0
    children = np.zeros(cloud.count, "<u2")
    if tree:
        inner = -(-cloud.count // 4)
        found = {name: np.concatenate([each[::4] * 0.5, each]) for name, each in found.items()}
        children = np.concatenate([np.full(inner, 4, "<u2"), children])
    count = cloud.count + inner
    chunks = []
    for base in range(0, count, CHUNK):
        rows = slice(base, min(base + CHUNK, count))
        part = {name: each[rows] for name, each in found.items()}
        columns = _columns(part, degree, CHOICES[choice], codes)
        if codes and base == 0:
            columns += _harmonics(found["sh"], degree, CHOICES[choice]["sh"], "_code")
        if codes:
            columns.append(("sh_label", "u16", np.arange(count, dtype="<u2")[rows].tobytes(), None))
        if tree:
            columns.append(("child_count", "u16", children[rows].tobytes(), None))
            columns.append(("child_start", "u32", np.arange(count, dtype="<u4")[rows].tobytes(), None))
        said = {"version": 1, "base": base, "count": len(part["means"]), "maxSh": degree, "lodTree": tree}
        chunks.append(_chunk(said, columns, compression))
    header = {"version": 1, "type": "gsplat", "count": count, "maxSh": degree, "lodTree": tree, "chunkSize": CHUNK}
    return header | ({"shCodeCount": count} if codes else {}), chunks


def described(magic: bytes, said: dict[str, Any]) -> bytes:
    text = json.dumps(said).encode()
    return magic + struct.pack("<I", len(text)) + text + bytes(-len(text) % 8)


Column = tuple[str, str, bytes, tuple[float, float] | None]


def _chunk(said: dict[str, Any], columns: list[Column], compression: bool) -> bytes:
    payload, listed = b"", []
    for name, encoding, data, bounds in columns:
        if compression:
            packer = zlib.compressobj(6, zlib.DEFLATED, -15)
            data = packer.compress(data) + packer.flush()
        one: dict[str, Any] = {"offset": len(payload), "bytes": len(data), "property": name, "encoding": encoding}
        one |= {"compression": "gz"} if compression else {}
        listed.append(one | (dict(zip(("min", "max"), bounds, strict=True)) if bounds else {}))
        payload += data + bytes(-len(data) % 8)
    head = described(b"RADC", said | {"payloadBytes": len(payload), "properties": listed})
    return head + struct.pack("<Q", len(payload)) + payload


def _columns(found: dict[str, np.ndarray], degree: int, chosen: dict[str, str], codes: bool) -> list[Column]:
    colors = found["sh"][:, 0] * C0 + 0.5
    signed = found["quaternions"] * np.where(found["quaternions"][:, :1] < 0, -1, 1)
    signed /= np.linalg.norm(signed, axis=1, keepdims=True)
    turns = (
        _octahedral(signed) if chosen["orientation"] == "oct88r8" else _numbers(signed[:, 1:], chosen["orientation"])
    )
    logs = np.log(found["scales"])
    scales = found["scales"] if chosen["scales"] == "f32" else logs
    columns: list[Column] = [
        ("center", chosen["center"], *_numbers(found["means"], chosen["center"])),
        ("alpha", chosen["alpha"], *_numbers(found["opacities"][:, None], chosen["alpha"], (0.0, 1.0))),
        ("rgb", chosen["rgb"], *_numbers(colors, chosen["rgb"], (float(colors.min()), float(colors.max())))),
        ("scales", chosen["scales"], *_numbers(scales, chosen["scales"], (float(logs.min()), float(logs.max())))),
        ("orientation", chosen["orientation"], *turns),
    ]
    return columns if codes else columns + _harmonics(found["sh"], degree, chosen["sh"])


def _harmonics(sh: np.ndarray, degree: int, encoding: str, ending: str = "") -> list[Column]:
    found: list[Column] = []
    for band in range(1, degree + 1):
        values = sh[:, band**2 : (band + 1) ** 2].reshape(len(sh), -1)
        most = max(1.0, float(np.abs(values).max()))
        found.append((f"sh{band}{ending}", encoding, *_numbers(values, encoding, (-most, most))))
    return found


def _numbers(
    values: np.ndarray, encoding: str, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[bytes, tuple[float, float] | None]:
    """Numbers [K, D], dimension by dimension."""
    turned, (low, high) = values.T, bounds
    if "32" in encoding or "16" in encoding:
        data = turned.astype("<f4" if "32" in encoding else "<f2").tobytes()
        if "lebytes" in encoding:
            data = np.frombuffer(data, np.uint8).reshape(turned.size, -1).T.tobytes()
        return data, None
    if encoding == "ln_0r8":
        return (1 + np.rint((turned - low) / (high - low) * 254)).astype(np.uint8).tobytes(), bounds
    if encoding.startswith("s8"):
        levels = np.rint(turned / high * 127).clip(-127, 127).astype(np.int8).view(np.uint8)
    else:
        levels = np.rint((turned - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    if encoding.endswith("delta"):
        levels = np.diff(levels, axis=1, prepend=np.uint8(0))
    return levels.tobytes(), bounds


def _octahedral(turns: np.ndarray) -> tuple[bytes, tuple[float, float] | None]:
    """Three bytes for each quaternion of a positive w: an axis folded to a square, and the angle."""
    angles = 2 * np.arccos(turns[:, 0].clip(0, 1))
    axes = turns[:, 1:] / np.sin(angles / 2)[:, None]
    axes /= np.abs(axes).sum(axis=1, keepdims=True)
    places = axes[:, :2]
    folded = (1 - np.abs(places[:, ::-1])) * np.where(places >= 0, 1, -1)
    places = np.where(axes[:, 2:] < 0, folded, places)
    levels = np.concatenate([(places + 1) / 2, angles[:, None] / np.pi], axis=1)
    return np.rint(levels * 255).astype(np.uint8).tobytes(), None
