"""The bodies of PLY files: the rows of elements, in words or in bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from splatlearn.core.errors import Malformed

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
    "int64": "i8", "uint64": "u8", "half": "f2", "float16": "f2",
}  # fmt: skip
"""Types by their names. Those of the last line are no part of the format, but some writers use them."""
LONGEST_END = 64
"""Bytes of white space that may follow the last row."""
NOT_A_NUMBER = re.compile(rb"[+-]?nan\(.*\)", re.IGNORECASE)


@dataclass
class Element:
    """One element of a header: the number of rows, and the type of each column.

    `lengths` has the type of the length for each column that is a list.
    """

    name: str
    count: int
    columns: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, str] = field(default_factory=dict)


class Lists(NamedTuple):
    """A column of lists: the lengths of all rows, and the numbers of all rows one after the other, float64.

    `is_whole`: whether the file has whole numbers.
    """

    lengths: np.ndarray
    numbers: np.ndarray
    is_whole: bool


class AsciiBody:
    """Rows of words, read one element after the other."""

    unit = "numbers"

    def __init__(self, text: bytes) -> None:
        self.words = text.split()
        self.offset = 0

    def left(self) -> int:
        """The number of words after the rows that were read."""
        return len(self.words) - self.offset

    def table(self, element: Element) -> np.ndarray:
        """The rows of the next element, which has no lists; raises Malformed."""
        width = len(element.columns)
        _check_size(element, width, self)
        numbers = _numbers(self.words[self.offset : self.offset + element.count * width], element.name)
        self.offset += len(numbers)
        table = np.empty(element.count, [(name, "=" + kind) for name, kind in element.columns.items()])
        for number, (name, kind) in enumerate(element.columns.items()):
            column = numbers[number::width]
            if kind[0] != "f" and not _fits(column, np.dtype(kind)):
                raise Malformed(f"element {element.name}: expected whole numbers for {name} ({kind}), got others")
            table[name] = column
        return table

    def skip(self, element: Element) -> None:
        """Pass over the rows of the next element, which has lists; raises Malformed."""
        _check_size(element, len(element.columns), self)
        for name in (name for _ in range(element.count) for name in element.columns):
            length = self.words[self.offset] if name in element.lengths and self.left() > 0 else b"0"
            self.offset += 1 + (int(length) if length.isdigit() and len(length) < 13 else self.left())
            if self.left() < 0:
                raise _cut_off(element)

    def lists(self, element: Element) -> dict[str, Lists]:
        """The columns of the next element as lists, those of single numbers as lists of one; raises Malformed."""
        first = self.offset
        self.skip(element)
        words, at = self.words, first
        found: dict[str, tuple[list[int], list[bytes]]] = {name: ([], []) for name in element.columns}
        for name in (name for _ in range(element.count) for name in element.columns):
            length = 1
            if name in element.lengths:
                length, at = int(words[at]), at + 1
            found[name][0].append(length)
            found[name][1].extend(words[at : at + length])
            at += length
        return {
            name: Lists(np.array(lengths, dtype=np.int64), _numbers(each, element.name), _is_whole(element, name))
            for name, (lengths, each) in found.items()
        }


class BinaryBody:
    """Rows of bytes, read one element after the other; `order` is "<" or ">"."""

    unit = "bytes"

    def __init__(self, data: bytes, offset: int, order: str) -> None:
        self.data = data
        self.offset = offset
        self.order = order

    def left(self) -> int:
        """The number of bytes after the rows that were read, white space at the end left out."""
        left = len(self.data) - self.offset
        return left if left > LONGEST_END else len(self.data[self.offset :].strip())

    def table(self, element: Element) -> np.ndarray:
        """The rows of the next element, which has no lists; raises Malformed."""
        dtype = np.dtype([(name, self.order + kind) for name, kind in element.columns.items()])
        _check_size(element, dtype.itemsize, self)
        if not dtype.itemsize:
            return np.empty(element.count, dtype)
        table = np.frombuffer(self.data, dtype, element.count, self.offset) if element.count else np.empty(0, dtype)
        self.offset += table.nbytes
        return table

    def skip(self, element: Element) -> None:
        """Pass over the rows of the next element, which has lists; raises Malformed."""
        order = "little" if self.order == "<" else "big"
        _check_size(element, len(element.columns), self)
        steps = [
            (int(element.lengths.get(name, "u0")[1:]), element.lengths.get(name, "u0")[0] == "i", int(kind[1:]))
            for name, kind in element.columns.items()
        ]
        for size, signed, width in (step for _ in range(element.count) for step in steps):
            length = 1
            if size:
                length = int.from_bytes(self.data[self.offset : self.offset + size], order, signed=signed)
            self.offset += size + width * length
            if length < 0 or self.offset > len(self.data):
                raise _cut_off(element)

    def lists(self, element: Element) -> dict[str, Lists]:
        """The columns of the next element as lists, those of single numbers as lists of one; raises Malformed."""
        if (even := self._even_lists(element)) is not None:
            return even
        first = self.offset
        self.skip(element)
        at = first
        found: dict[str, tuple[list[int], list[np.ndarray]]] = {name: ([], []) for name in element.columns}
        for name in (name for _ in range(element.count) for name in element.columns):
            kind, length = np.dtype(self.order + element.columns[name]), 1
            if name in element.lengths:
                counted = np.dtype(self.order + element.lengths[name])
                length, at = int(np.frombuffer(self.data, counted, 1, at)[0]), at + counted.itemsize
            found[name][0].append(length)
            found[name][1].append(np.frombuffer(self.data, kind, length, at).astype(np.float64))
            at += length * kind.itemsize
        return {
            name: Lists(np.array(lengths, np.int64), np.concatenate([np.zeros(0), *each]), _is_whole(element, name))
            for name, (lengths, each) in found.items()
        }

    def _even_lists(self, element: Element) -> dict[str, Lists] | None:
        """The same where the lists of all rows are as long as in the first, as of a mesh of triangles; else None."""
        first = self.offset
        try:
            self.skip(Element(element.name, min(1, element.count), element.columns, element.lengths))
        finally:
            row, self.offset = self.offset - first, first
        if not element.count or first + row * element.count > len(self.data):
            return None
        fields, at = [], first
        for name, kind in element.columns.items():
            length = 1
            if name in element.lengths:
                counted = np.dtype(self.order + element.lengths[name])
                length, at = int(np.frombuffer(self.data, counted, 1, at)[0]), at + counted.itemsize
                fields.append((f"#{name}", counted))
            fields.append((name, self.order + kind, (length,)))
            at += length * np.dtype(kind).itemsize
        table = np.frombuffer(self.data, np.dtype(fields), element.count, first)
        if any((table[f"#{name}"] != table[f"#{name}"][0]).any() for name in element.lengths):
            return None
        self.offset = first + table.nbytes
        columns = {name: table[name].astype(np.float64) for name in element.columns}
        return {
            name: Lists(np.full(element.count, each.shape[1]), each.ravel(), _is_whole(element, name))
            for name, each in columns.items()
        }


def _check_size(element: Element, step: int, body: AsciiBody | BinaryBody) -> None:
    """Raise Malformed where the rest of a file is too short for the rows of an element, `step` units each at least."""
    left = len(body.words if isinstance(body, AsciiBody) else body.data) - body.offset
    if element.count * step > left:
        raise Malformed(
            f"element {element.name}: expected {element.count} rows of {step} {body.unit}, got {left} in all; "
            "the file is cut off or the count is wrong"
        )


def _is_whole(element: Element, column: str) -> bool:
    return element.columns[column][0] != "f"


def _cut_off(element: Element) -> Malformed:
    return Malformed(f"element {element.name}: expected lists within the file; it is cut off or a length is wrong")


def _numbers(words: list[bytes], element: str) -> np.ndarray:
    try:
        return np.array(words, dtype=np.float64)
    except ValueError as error:
        # Some C libraries write what kind of NaN it is: -nan(ind).
        plain = [b"nan" if NOT_A_NUMBER.fullmatch(word) else word for word in words]
        if plain == words:
            raise Malformed(f"element {element}: expected numbers, got {error}") from None
    return _numbers(plain, element)


def _fits(numbers: np.ndarray, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return bool(((numbers >= limits.min) & (numbers <= limits.max) & (numbers == np.rint(numbers))).all())
