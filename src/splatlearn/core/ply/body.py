"""The bodies of PLY files: the rows of elements, in words or in bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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


def _check_size(element: Element, step: int, body: AsciiBody | BinaryBody) -> None:
    """Raise Malformed where the rest of a file is too short for the rows of an element, `step` units each at least."""
    left = len(body.words if isinstance(body, AsciiBody) else body.data) - body.offset
    if element.count * step > left:
        raise Malformed(
            f"element {element.name}: expected {element.count} rows of {step} {body.unit}, got {left} in all; "
            "the file is cut off or the count is wrong"
        )


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
