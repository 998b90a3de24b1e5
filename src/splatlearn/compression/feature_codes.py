"""Frozen features of models in few bytes: product codebooks, and an entropy coder with a mixture of priors.

A row is cut into parts, each of which residual codebooks stand for (`codebooks`; product quantisation, Jégou et al.
2011). The codes of a row belong together: rows of one kind have like codes. A mixture of priors says so: each row
belongs to the component under which its codes cost the fewest bits, and each component has frequencies of its own for
every codebook. That is the mixture of McQuic (Zhu et al. 2022) for codes instead of vectors, with whole numbers only.

Packed features begin with "SLF" and the version as a byte, then the size of a header as a little-endian u32, the header
in JSON and three sections, each with its size and CRC-32 in the header: `books` (codebooks, float16), `priors`
(frequencies, deflated by zlib) and `streams` (that of components, then those of codes, one for each component).

Letters in shapes: N rows, D numbers each, P parts, S stages, C codes, M components.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from splatlearn.compression.codebooks import MOST_CODES, residual_codes
from splatlearn.core.errors import InputError, Malformed
from splatlearn.core.numbers import check_whole
from splatlearn.files.errors import check_ratio, need
from splatlearn.files.sl3 import coder, encoder

MAGIC, VERSION = b"SLF", 1
HEAD = struct.Struct("<3sBI")
NAMES = ("rows", "width", "parts", "stages", "codes", "components")
SECTIONS = ("books", "priors", "streams")
LARGEST_HEADER = 1 << 16
MOST_CODEBOOKS = 1024
"""Largest P·S: the decoder has a table for each."""
MOST_COMPONENTS = 256
ROUNDS = 12
"""Rounds in which rows choose their component, and components their frequencies."""
FLOOR = 0.5
"""Count that each code has in a component at least while rows choose."""


def pack_features(
    rows: Float[Tensor, "N D"], parts: int, codes: int = 256, stages: int = 1, components: int = 1, seed: int = 0
) -> bytes:
    """Return features packed into bytes.

    - `rows`: float, finite, N at least 1; `parts`: P, which cut a row into pieces of about the same length.
    - `codes`, `stages`: of the residual codebooks of each part; `components`: of the mixture of priors, at most 256.
    - `seed`: of the first entries of codebooks and of the first components.

    Raises InputError for numbers out of range.
    """
    check_whole("parts", parts, 1, min(rows.shape[1], MOST_CODEBOOKS))
    check_whole("components", components, 1, MOST_COMPONENTS)
    check_whole("codes", codes, 2, MOST_CODES)
    check_whole("stages", stages, 1, MOST_CODEBOOKS // parts)
    if not len(rows) or not bool(rows.isfinite().all()):
        raise InputError("rows: expected at least one, of finite numbers")
    pieces = rows.detach().cpu().float().split(_widths(rows.shape[1], parts), dim=1)
    found = [residual_codes(piece, stages, codes, seed + number) for number, piece in enumerate(pieces)]
    labels = torch.cat([each.labels for each in found], dim=1).numpy()
    chosen = _components(labels, codes, components, seed)
    # Components without rows have no place.
    used, chosen = np.unique(chosen, return_inverse=True)
    tables = [chosen[:, None].astype(np.uint8), *(labels[chosen == number] for number in range(len(used)))]
    counts = [max(2, len(used)), *[codes] * len(used)]
    models = [_fitted(table, count) for table, count in zip(tables, counts, strict=True)]
    streams = [encoder.encode(table, model) for table, model in zip(tables, models, strict=True)]
    books = np.concatenate([each.codebooks.numpy().ravel() for each in found]).astype("<f2")
    sections = {
        "books": books.tobytes(),
        "priors": zlib.compress(b"".join(each.places[:, 0].tobytes() for each in models), 9),
        "streams": b"".join(streams),
    }
    header = dict(zip(NAMES, (*rows.shape, parts, stages, codes, len(used)), strict=True))
    header |= {"lengths": [len(each) for each in streams]}
    header |= {name: [len(each), zlib.crc32(each)] for name, each in sections.items()}
    text = json.dumps(header, separators=(",", ":")).encode()
    return HEAD.pack(MAGIC, VERSION, len(text)) + text + b"".join(sections.values())


def unpack_features(data: bytes) -> Float[Tensor, "N D"]:
    """Return the features that `pack_features` packed, as their codes stand for them.

    Raises Malformed (a FormatError) for content that is cut off, changed, or no packed features.
    """
    header, sections = _opened(data)
    rows, width, parts, stages, codes, components = (header[name] for name in NAMES)
    columns = parts * stages
    sizes = [max(2, components), *[columns * codes] * components]
    priors = _inflated(sections["priors"], sum(sizes))
    streams = _cut(sections["streams"], header["lengths"])
    bounds = np.cumsum(sizes)[:-1]
    first, *others = np.split(np.frombuffer(priors, np.uint8), bounds)
    chosen = coder.decode(streams[0], rows, _model(first.reshape(1, -1)))[:, 0]
    labels = np.zeros((rows, columns), np.uint8)
    for number, (prior, stream) in enumerate(zip(others, streams[1:], strict=True)):
        places = np.flatnonzero(chosen == number)
        need(len(places) > 0, f"streams: expected rows of component {number}, found none")
        labels[places] = coder.decode(stream, len(places), _model(prior.reshape(columns, codes)))
    numbers = np.frombuffer(sections["books"], "<f2").astype(np.float32)
    need(bool(np.isfinite(numbers).all()), "books: expected finite numbers")
    found, at = [], 0
    for part, each in enumerate(_widths(width, parts)):
        books = numbers[at : at + stages * codes * each].reshape(stages, codes, each)
        at += books.size
        found.append(sum(books[stage][labels[:, part * stages + stage]] for stage in range(stages)))
    return torch.from_numpy(np.concatenate(found, axis=1))


def _widths(width: int, parts: int) -> list[int]:
    """The lengths of the parts of a row, which differ by one at most."""
    return [width // parts + (part < width % parts) for part in range(parts)]


def _components(labels: UInt8[np.ndarray, "N PS"], codes: int, components: int, seed: int) -> Int64[np.ndarray, " N"]:
    """The component of each row, such that all codes together take few bits."""
    rng = np.random.default_rng(seed)
    # Rows that are like one of a few, drawn at random, belong together at first.
    first = labels[rng.choice(len(labels), min(components, len(labels)), replace=False)]
    same = np.stack([(labels == each).sum(axis=1) for each in first], axis=1)
    chosen = (same + rng.random(same.shape)).argmax(axis=1)
    columns = np.arange(labels.shape[1])
    for _ in range(ROUNDS if components > 1 else 0):
        bits = np.empty((len(labels), len(first)))
        for number in range(len(first)):
            own = labels[chosen == number]
            counts = np.full((len(columns), codes), FLOOR)
            np.add.at(counts, (columns[None].repeat(len(own), axis=0), own), 1)
            costs = -np.log2(counts / counts.sum(axis=1, keepdims=True))
            bits[:, number] = costs[columns, labels].sum(axis=1) - np.log2((len(own) + FLOOR) / len(labels))
        before, chosen = chosen, bits.argmin(axis=1)
        if (before == chosen).all():
            break
    return chosen


def _fitted(table: UInt8[np.ndarray, "N C"], count: int) -> coder.Model:
    """The frequencies of a table of numbers below `count`, which say nothing of each other."""
    return encoder.fitted_model(table, np.zeros(count, np.uint8), [1] * table.shape[1])


def _model(places: UInt8[np.ndarray, "C S"]) -> coder.Model:
    """The model of stored frequencies, all of one context."""
    columns, count = places.shape
    all_places = np.zeros((columns, coder.CONTEXTS, count), np.uint8)
    all_places[:, 0] = places
    need(int(places.max(initial=0)) < len(coder.LEVELS), f"priors: expected places below {len(coder.LEVELS)}")
    thresholds = np.full((columns, coder.CONTEXTS - 1), coder.MOST_AROUND, np.uint8)
    return coder.Model(all_places, thresholds, np.zeros(count, np.uint8), [1] * columns)


def _opened(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The header, and the content of each section."""
    need(len(data) >= HEAD.size and data.startswith(MAGIC), "expected packed features, which begin with SLF")
    _, version, size = HEAD.unpack_from(data)
    need(version == VERSION, f"expected packed features of version {VERSION}, got version {version}")
    need(size <= min(LARGEST_HEADER, len(data) - HEAD.size), f"expected a header of {size} bytes; it is cut off")
    try:
        header = json.loads(data[HEAD.size : HEAD.size + size])
    except (ValueError, RecursionError) as error:
        raise Malformed(f"header: expected JSON, got {type(error).__name__}") from None
    wanted = {*NAMES, *SECTIONS, "lengths"}
    need(isinstance(header, dict) and set(header) == wanted, f"header: expected {', '.join(sorted(wanted))}")
    for name in NAMES:
        is_whole = type(header[name]) is int and header[name] >= 1
        need(is_whole, f"{name}: expected a whole number from 1, got {str(header[name])[:40]}")
    for name in (*SECTIONS, "lengths"):
        each = header[name]
        is_known = isinstance(each, list) and all(type(one) is int and one >= 0 for one in each)
        need(is_known and (name == "lengths" or len(each) == 2), f"{name}: expected sizes, got {str(each)[:60]}")
    rows, width, parts, stages, codes, components = (header[name] for name in NAMES)
    check_ratio("features", rows * width, len(data))
    need(parts <= width, f"parts: expected at most {width}, got {parts}")
    need(parts * stages <= MOST_CODEBOOKS, f"expected at most {MOST_CODEBOOKS} codebooks, got {parts * stages}")
    need(2 <= codes <= MOST_CODES, f"codes: expected 2 to {MOST_CODES}, got {codes}")
    need(components <= min(MOST_COMPONENTS, rows), f"components: expected at most {MOST_COMPONENTS}, got {components}")
    need(len(header["lengths"]) == components + 1, f"lengths: expected {components + 1}, got {len(header['lengths'])}")
    parts_of_file = _cut(data[HEAD.size + size :], [header[name][0] for name in SECTIONS])
    sections: dict[str, bytes] = dict(zip(SECTIONS, parts_of_file, strict=True))
    for name, each in sections.items():
        need(zlib.crc32(each) == header[name][1], f"{name}: expected another checksum; the content is damaged")
    need(len(sections["books"]) == 2 * width * stages * codes, f"books: expected {2 * width * stages * codes} bytes")
    return header, sections


def _cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Content in pieces of these sizes, which are all of it."""
    need(sum(sizes) == len(data), f"expected {sum(sizes)} bytes, got {len(data)}")
    ends = np.cumsum(sizes, dtype=np.int64)
    return [data[end - size : end] for end, size in zip(ends.tolist(), sizes, strict=True)]


def _inflated(data: bytes, wanted: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, wanted + 1)
    except zlib.error as error:
        raise Malformed(f"priors: {error}") from None
    need(len(content) == wanted and unpacker.eof, f"priors: expected {wanted} bytes, got {len(content)}")
    return content
