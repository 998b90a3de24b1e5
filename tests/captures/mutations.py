"""Broken captures: random changes to one file of a good one, of its bytes, its numbers, its words or its values."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from files.mutations import CHANGES
from odd_json import ODD_VALUES, places

Change = Callable[[bytes, np.random.Generator], bytes]
DOUBLES = [float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e308, -1e308, 5e-324, 1e30]
COUNTS = [0, 1, 2, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]
WORDS = [
    "nan", "-nan(ind)", "inf", "1e999", "0", "-1", "1,5", "99999999999999999999", "4294967295", "#",
    "", "\n", " ", "\0", "../../../../etc/passwd", "/etc/passwd", "C:\\Windows\\x.png",
    "PINHOLE", "FULL_OPENCV", "NO_MODEL", "\ud7ff", "ü",
]  # fmt: skip
NAMES = ["../../../etc/passwd", "/etc/passwd", "a/../../b.png", "\0", "", ".", "x" * 5000, "images", "C:\\x.png"]


def put_double(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(max(1, len(data) - 8)))
    return data[:start] + struct.pack("<d", DOUBLES[int(rng.integers(len(DOUBLES)))]) + data[start + 8 :]


def put_count(data: bytes, rng: np.random.Generator) -> bytes:
    """Write a count of eight bytes, at the beginning half of the time."""
    start = 0 if rng.random() < 0.5 else int(rng.integers(max(1, len(data) - 8)))
    return data[:start] + struct.pack("<Q", COUNTS[int(rng.integers(len(COUNTS)))]) + data[start + 8 :]


def change_word(data: bytes, rng: np.random.Generator) -> bytes:
    """Put another word in the place of one of a text file, add one, or leave one out."""
    words = data.split(b" ")
    place = int(rng.integers(len(words)))
    word = WORDS[int(rng.integers(len(WORDS)))].encode()
    match int(rng.integers(3)):
        case 0:
            words[place] = word
        case 1:
            words.insert(place, word)
        case _:
            del words[place]
    return b" ".join(words)


def change_values(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace, remove or rename values within JSON."""
    try:
        values = json.loads(data)
    except ValueError:
        return data
    for _ in range(int(rng.integers(1, 4))):
        known = places(values)
        if not known:
            break
        *path, last = known[int(rng.integers(len(known)))]
        holder = values
        for key in path:
            holder = holder[key]
        if rng.random() < 0.2:
            del holder[last]
        elif isinstance(holder[last], str) and rng.random() < 0.5:
            holder[last] = NAMES[int(rng.integers(len(NAMES)))]
        else:
            holder[last] = json.loads(json.dumps(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]))
    return json.dumps(values).encode()


BY_SUFFIX: dict[str, tuple[Change, ...]] = {
    ".bin": (put_double, put_count, *CHANGES),
    ".txt": (change_word, change_word, *CHANGES),
    ".json": (change_values, change_values, change_values, *CHANGES),
}


def change(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """Apply one or two changes that suit a file's ending."""
    changes = BY_SUFFIX.get(suffix, CHANGES)
    for _ in range(int(rng.integers(1, 3))):
        if data:
            data = changes[int(rng.integers(len(changes)))](data, rng)
    return data


def change_archive(data: bytes, rng: np.random.Generator) -> bytes:
    """Break an archive from outside, or rename or change one of its members."""
    if rng.random() < 0.5:
        return change(data, ".zip", rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        members = {name: old.read(name) for name in old.namelist()}
        chosen = list(members)[int(rng.integers(len(members)))]
        for name, content in members.items():
            if name == chosen and rng.random() < 0.5:
                name = NAMES[int(rng.integers(len(NAMES)))].replace("\0", "?") or "?"
            elif name == chosen:
                content = change(content, Path(name).suffix, rng)
            new.writestr(name, content)
    return buffer.getvalue()
