"""A glTF 2.0 document: its JSON, its buffers, and the arrays that accessors describe."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from splatlearn.core.errors import Malformed

MAGIC = b"glTF"
GLB_HEADER = struct.Struct("<4sII")
CHUNK_HEADER = struct.Struct("<I4s")
JSON_CHUNK, BINARY_CHUNK = b"JSON", b"BIN\0"
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
DATA_URI = "data:"

Fetch = Callable[[str], bytes]
"""Returns the content of a file beside the document by its name; raises Malformed."""


class Document:
    """A parsed document.

    - `data`: a binary glTF file (GLB), or the JSON of a .gltf file.
    - `fetch`: reads files beside it, which only a .gltf file names.

    Raises Malformed for anything else. Buffers are decoded when an accessor first needs them.
    """

    def __init__(self, data: bytes, fetch: Fetch | None = None) -> None:
        text, self.binary = _chunks(data) if data.startswith(MAGIC) else (data, None)
        self.json = _parse(text)
        self.fetch = fetch
        self.buffers: dict[int, bytes] = {}
        self.size = len(data)
        """Bytes of the file and of those that were read beside it."""
        version = self.object("asset", self.json.get("asset")).get("version")
        if not isinstance(version, str) or not version.startswith("2."):
            raise Malformed(f"expected glTF 2, got version {str(version)[:20]}")

    @staticmethod
    def object(what: str, value: object) -> dict[str, Any]:
        """The value, which must be an object of JSON."""
        if not isinstance(value, dict):
            raise Malformed(f"{what}: expected an object, got {type(value).__name__}")
        return value

    @staticmethod
    def whole(what: str, value: object) -> int:
        """The value, which must be a whole number from 0."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Malformed(f"{what}: expected a whole number from 0, got {str(value)[:40]}")
        return value

    def entries(self, name: str) -> list[Any]:
        """A list at the top of the document; empty where it has none."""
        found = self.json.get(name, [])
        if not isinstance(found, list):
            raise Malformed(f"{name}: expected a list, got {type(found).__name__}")
        return found

    def entry(self, name: str, index: object) -> dict[str, Any]:
        """An object of such a list, by an index from elsewhere in the document."""
        entries = self.entries(name)
        number = self.whole(f"index into {name}", index)
        if number >= len(entries):
            raise Malformed(f"{name}: expected an index below {len(entries)}, got {number}")
        return self.object(f"{name}[{number}]", entries[number])

    def count(self, accessor: object) -> int:
        """The number of rows that an accessor claims to have."""
        return self.whole("count", self.entry("accessors", accessor).get("count"))

    def array(self, accessor: object, width: int, allowed: tuple[int, ...] = tuple(COMPONENTS)) -> np.ndarray:
        """The rows of an accessor, float32 [count, width].

        Integers become shares of their largest value where the accessor is normalised. Raises Malformed unless it has
        rows of `width` numbers of an `allowed` type within its buffer.
        """
        found = self.entry("accessors", accessor)
        if "sparse" in found:
            raise Malformed(f"accessor {accessor}: expected a dense accessor, got a sparse one")
        kind, number_type = found.get("type"), found.get("componentType")
        if not isinstance(kind, str) or WIDTHS.get(kind) != width or number_type not in allowed:
            raise Malformed(
                f"accessor {accessor}: expected rows of {width} numbers of one of the types "
                f"{', '.join(map(str, allowed))}, got {str(kind)[:20]} of {str(number_type)[:20]}"
            )
        view = self.entry("bufferViews", found.get("bufferView"))
        whole = self._buffer(self.whole("buffer", view.get("buffer")))
        dtype = np.dtype(COMPONENTS[number_type])
        count = self.whole("count", found.get("count"))
        start = self.whole("byteOffset", view.get("byteOffset", 0))
        inside = self.whole("byteOffset", found.get("byteOffset", 0))
        length = self.whole("byteLength", view.get("byteLength"))
        row = width * dtype.itemsize
        stride = self.whole("byteStride", view.get("byteStride", row)) or row
        needed = inside + (stride * (count - 1) + row if count else 0)
        if stride < row or needed > length or start + length > len(whole):
            raise Malformed(
                f"accessor {accessor}: expected {needed} bytes within a view of {length} at byte {start}, got a buffer "
                f"of {len(whole)}"
            )
        if not count:
            return np.empty((0, width), np.float32)
        numbers = np.ndarray((count, width), dtype, whole, start + inside, (stride, dtype.itemsize))
        if not found.get("normalized"):
            return numbers.astype(np.float32)
        if dtype.kind == "f":
            raise Malformed(f"accessor {accessor}: expected integers, as it is normalised, got floats")
        return np.maximum(numbers.astype(np.float32) / np.iinfo(dtype).max, np.float32(-1))

    def _buffer(self, number: int) -> bytes:
        if number not in self.buffers:
            self.buffers[number] = self._load(number, self.entry("buffers", number))
        return self.buffers[number]

    def _load(self, number: int, buffer: dict[str, Any]) -> bytes:
        uri = buffer.get("uri")
        if uri is None:
            if number or self.binary is None:
                raise Malformed(f"buffers[{number}]: expected a uri, or the binary part of a .glb file, got neither")
            content = self.binary
        elif not isinstance(uri, str):
            raise Malformed(f"buffers[{number}]: expected a uri of text, got {type(uri).__name__}")
        elif uri.startswith(DATA_URI):
            head, _, packed = uri.partition(",")
            if not head.endswith(";base64"):
                raise Malformed(f"buffers[{number}]: expected a data URI in base64, got {head[:40]!r}")
            try:
                content = base64.b64decode(packed, validate=True)
            except (binascii.Error, ValueError) as error:
                raise Malformed(f"buffers[{number}]: {error}") from None
        elif self.fetch is None:
            raise Malformed(f"buffers[{number}]: expected the data within the file, got the name {uri[:60]!r}")
        else:
            content = self.fetch(uri)
            self.size += len(content)
        length = self.whole("byteLength", buffer.get("byteLength"))
        if len(content) < length:
            raise Malformed(f"buffers[{number}]: expected {length} bytes, got {len(content)}")
        return content


def is_gltf(data: bytes) -> bool:
    """Whether content is a binary glTF file, or JSON with the mark of glTF."""
    return data.startswith(MAGIC) or (
        data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"asset"' in data
    )


def glb_parts(document: dict[str, Any], size: int, binary: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of a binary glTF file of a document whose first buffer, of `size` bytes in parts, has no uri."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    filling = -size % 4
    whole = GLB_HEADER.size + 2 * CHUNK_HEADER.size + len(text) + size + filling
    yield GLB_HEADER.pack(MAGIC, 2, whole) + CHUNK_HEADER.pack(len(text), JSON_CHUNK) + text
    yield CHUNK_HEADER.pack(size + filling, BINARY_CHUNK)
    yield from binary
    yield bytes(filling)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"expected JSON, got {type(error).__name__}: {str(error)[:100]}") from None
    return Document.object("glTF", found)


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the binary part of a GLB file."""
    if len(data) < GLB_HEADER.size:
        raise Malformed(f"expected a header of {GLB_HEADER.size} bytes, got {len(data)}")
    _, version, length = GLB_HEADER.unpack_from(data)
    if version != 2 or length > len(data):
        raise Malformed(f"expected glTF 2 of {length} bytes, got version {version} of {len(data)}")
    parts: dict[bytes, bytes] = {}
    at = GLB_HEADER.size
    while at + CHUNK_HEADER.size <= length:
        size, kind = CHUNK_HEADER.unpack_from(data, at)
        at += CHUNK_HEADER.size
        if at + size > length:
            raise Malformed(f"chunk {kind!r}: expected {size} bytes, got {length - at}; the file is cut off")
        parts.setdefault(kind, data[at : at + size])
        at += size
    if JSON_CHUNK not in parts:
        raise Malformed("expected a chunk of JSON, found none")
    return parts[JSON_CHUNK], parts.get(BINARY_CHUNK)
