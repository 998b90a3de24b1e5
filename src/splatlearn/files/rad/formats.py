"""`.rad` (Spark 2) as a registered format, which is read only.

A file with a tree of detail holds, beside the Gaussians of a scene, coarser ones that stand for several of them. The
leaves of the tree, which are the scene itself, are what is read.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.core.geometry.harmonics import C0, coefficient_count
from splatlearn.files.errors import check_count, need
from splatlearn.files.interface import Container, ReadRequest
from splatlearn.files.rad.columns import numbers
from splatlearn.files.rad.header import CHUNK_MAGIC, FILE_MAGIC, Chunk, Header, parse_chunk, parse_header
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import Stored, from_stored

ENDING = ".rad"
FRAME = "RDF"
"""Spark keeps the axes of the file that it made one of, and does not say which these were."""


def read(data: bytes, request: ReadRequest, folder: Path | None = None) -> SplatFile:
    """Read a file, or one chunk of a file; raises Malformed where descriptions and bytes disagree.

    `folder`: of files that hold the chunks, where the file says that others do.
    """
    if data.startswith(CHUNK_MAGIC):
        chunks = [parse_chunk(memoryview(data), 0)]
        codes = None
    else:
        header = parse_header(data, request.limit)
        chunks, codes = _chunks(data, header, folder), header.codes
    count = sum(each.count for each in chunks)
    check_count(count, request.limit)
    degree = max(each.degree for each in chunks)
    tables = _codebook(chunks[0], codes)
    parts = [part for each in chunks if (part := _stored(each, degree, tables)) is not None]
    need(bool(parts), "expected at least one leaf in the tree of detail, got none")
    gaussians, dropped = from_stored(Stored.joined(parts), request.drop_invalid)
    return SplatFile(gaussians, "rad", request.frame or FRAME, dropped=dropped)


def read_path(path: Path, request: ReadRequest) -> SplatFile:
    """Read a file whose chunks may lie in files beside it."""
    return read(path.read_bytes(), request, path.parent)


def _chunks(data: bytes, header: Header, folder: Path | None) -> list[Chunk]:
    """All chunks, which must follow one another and hold as many Gaussians as the file says."""
    chunks: list[Chunk] = []
    behind = 0
    for number, place in enumerate(header.places):
        source, start = memoryview(data), header.start
        if place.name is not None:
            source, start = memoryview(_beside(folder, place.name)), 0
        begin = start + place.offset
        need(
            begin + place.size <= len(source),
            f"chunk {number}: expected bytes {begin} to {begin + place.size}, got the end at {len(source)}",
        )
        chunk = parse_chunk(source[begin : begin + place.size], number)
        need(chunk.base == behind, f"chunk {number}: expected the Gaussians from {behind} on, got from {chunk.base}")
        behind += chunk.count
        need(behind <= header.count, f"chunk {number}: expected {header.count} Gaussians in all chunks, got more")
        chunks.append(chunk)
    need(behind == header.count, f"expected {header.count} Gaussians in all chunks, got {behind}")
    return chunks


def _beside(folder: Path | None, name: str) -> bytes:
    if folder is None:
        raise Malformed(f"expected a name that ends in {ENDING}, since the chunks lie in files beside it")
    path = folder / name
    if not path.is_file():
        raise Malformed(f"expected the chunk {name!r} beside it, found none")
    return path.read_bytes()


def _codebook(first: Chunk, codes: int | None) -> np.ndarray | None:
    """Entries [N, M − 1, 3] of harmonics above degree 0, which the first chunk holds; None without any."""
    if "sh1_code" not in first.columns:
        return None
    bands = takewhile(lambda band: f"sh{band}_code" in first.columns, range(1, first.degree + 1))
    return np.concatenate([_band(first, f"sh{band}_code", band, codes or first.count) for band in bands], axis=1)


def _band(chunk: Chunk, name: str, band: int, count: int | None = None) -> np.ndarray:
    """Coefficients [K, 2 · band + 1, 3]."""
    size = 2 * band + 1
    return numbers(chunk, name, 3 * size, count).astype(np.float32).reshape(-1, size, 3)


def _stored(chunk: Chunk, degree: int, codebook: np.ndarray | None) -> Stored | None:
    """The numbers of the leaves among the Gaussians of a chunk, None if there are none."""
    # Read before memory is taken: the chunk may claim more Gaussians than it holds.
    colors = numbers(chunk, "rgb", 3)
    sh = np.zeros((chunk.count, coefficient_count(degree), 3), np.float32)
    sh[:, 0] = (colors - np.float32(0.5)) / np.float32(C0)
    if "sh_label" in chunk.columns:
        labels = numbers(chunk, "sh_label", 1)[:, 0]
        entries, largest = 0 if codebook is None else len(codebook), int(labels.max(initial=0))
        if codebook is None or largest >= entries:
            raise Malformed(f"sh_label: expected numbers below {entries}, the size of the codebook, got {largest}")
        found = codebook[labels][:, : sh.shape[1] - 1]
        sh[:, 1 : 1 + found.shape[1]] = found
    else:
        for band in range(1, chunk.degree + 1):
            if f"sh{band}" in chunk.columns:
                sh[:, band**2 : (band + 1) ** 2] = _band(chunk, f"sh{band}", band)
    stored = Stored(
        means=numbers(chunk, "center", 3).astype(np.float32),
        log_scales=_log_scales(chunk),
        quaternions=_quaternions(chunk),
        opacities=numbers(chunk, "alpha", 1)[:, 0].astype(np.float32),
        sh=sh,
    )
    if "child_count" not in chunk.columns:
        return stored
    leaves = np.flatnonzero(numbers(chunk, "child_count", 1)[:, 0] == 0)
    return stored.reordered(leaves) if len(leaves) else None


def _log_scales(chunk: Chunk) -> np.ndarray:
    found = numbers(chunk, "scales", 3).astype(np.float32)
    return np.log(found) if chunk.columns["scales"].encoding == "f32" else found


def _quaternions(chunk: Chunk) -> np.ndarray:
    """Quaternions [K, 4], w first; where three numbers are stored, w is what makes the length 1."""
    found = numbers(chunk, "orientation", 3).astype(np.float32)
    if found.shape[1] == 4:
        return found
    w = np.sqrt(np.maximum(1 - np.square(found).sum(axis=1, keepdims=True), 0))
    return np.concatenate([w, found], axis=1)


RAD = Container(
    lambda data, name: data.startswith((FILE_MAGIC, CHUNK_MAGIC)),
    read,
    (),
    lambda path: path.name.lower().endswith(ENDING) and path.is_file(),
    read_path,
)
