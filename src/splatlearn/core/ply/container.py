"""PLY containers: the header, and the tables of its elements."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.core.ply.body import TYPES, AsciiBody, BinaryBody, Element, Lists

LONGEST_HEADER = 128 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
ENCODINGS = (*BYTE_ORDERS, "ascii")


@dataclass(frozen=True, eq=False)
class Ply:
    """The comments of a file and its tables by name, as structured arrays.

    - `lists`: the columns of elements with lists that were asked for, by the names of elements and columns.
    """

    comments: list[str]
    tables: dict[str, np.ndarray]
    lists: dict[str, dict[str, Lists]] = field(default_factory=dict)


def is_ply(data: bytes) -> bool:
    """Return whether content begins as the format does."""
    return data.startswith((b"ply", BYTE_ORDER_MARK + b"ply"))


def parse_ply(data: bytes, lists: Collection[str] = ()) -> Ply:
    """Parse the tables of an ASCII or binary file.

    Elements with lists have no table. Those named in `lists` are read as such, and others after the last element that
    is read are not looked at. White space may follow the last element. Raises Malformed for headers that do not parse,
    counts that do not fit the size of the file, and words that are not numbers.
    """
    lines, start = _header_lines(data)
    encoding, comments, elements = _parse_header(lines)
    body = AsciiBody(data[start:]) if encoding == "ascii" else BinaryBody(data, start, BYTE_ORDERS[encoding])
    read = [number for number, element in enumerate(elements) if not element.lengths or element.name in lists]
    last = max(read, default=-1)
    tables: dict[str, np.ndarray] = {}
    listed: dict[str, dict[str, Lists]] = {}
    for element in elements[: last + 1]:
        if element.lengths and element.name in lists:
            listed[element.name] = body.lists(element)
        elif element.lengths:
            body.skip(element)
        else:
            tables[element.name] = body.table(element)
    if last + 1 == len(elements) and body.left():
        raise Malformed(
            f"expected the file to end after its last element, got {body.left()} more {body.unit}; "
            "the file is damaged or a count is wrong"
        )
    return Ply(comments, tables, listed)


def columns(table: np.ndarray, names: list[str], element: str) -> np.ndarray:
    """The named columns [rows, columns] as float32; raises Malformed naming a column that is missing."""
    missing = [name for name in names if name not in (table.dtype.names or ())]
    if missing:
        raise Malformed(f"element {element}: expected the property {missing[0]}, found none")
    return np.stack([table[name].astype(np.float32) for name in names], axis=-1)


def ply_bytes(tables: dict[str, np.ndarray], comments: list[str]) -> bytes:
    """A binary little-endian file of structured arrays; a column of several numbers a row becomes a list."""
    header = ply_header({name: (table.dtype, len(table)) for name, table in tables.items()}, comments)
    return b"".join([header, *(_with_lengths(table).tobytes() for table in tables.values())])


def ply_header(tables: dict[str, tuple[np.dtype, int]], comments: list[str]) -> bytes:
    """The header of such a file, of the types of the tables and their numbers of rows."""
    names = {kind: name for name, kind in reversed(TYPES.items())}
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    for name, (row, count) in tables.items():
        lines.append(f"element {name} {count}")
        for column in row.names or ():
            kind = row[column]
            listed = f"list {names['u1']} " if kind.shape else ""
            lines.append(f"property {listed}{names[kind.base.str[1:]]} {column}")
    return "\n".join([*lines, "end_header", ""]).encode("ascii")


def _with_lengths(table: np.ndarray) -> np.ndarray:
    """The table with a byte in front of each column that is a list: how many numbers it has."""
    kinds = [(name, table.dtype[name]) for name in table.dtype.names or ()]
    if not any(kind.shape for _, kind in kinds):
        return table
    lengths = {name: kind.shape[0] for name, kind in kinds if kind.shape}
    made = np.empty(
        len(table),
        [each for name, kind in kinds for each in ([(f"#{name}", "u1")] * (name in lengths) + [(name, kind)])],
    )
    for name, _ in kinds:
        made[name] = table[name]
        if name in lengths:
            made[f"#{name}"] = lengths[name]
    return made


def _header_lines(data: bytes) -> tuple[list[str], int]:
    """The lines of the header before end_header, and where the body begins."""
    # A body may begin with any byte: lines end as the first one does, never with what happens to follow.
    returns, feeds = (data.find(mark, 0, 64) for mark in (b"\r", b"\n"))
    ending = b"\r" if returns >= 0 and (feeds < 0 or feeds > returns + 1) else b"\n"
    start, lines = 3 if data.startswith(BYTE_ORDER_MARK) else 0, []
    while (stop := data.find(ending, start, LONGEST_HEADER)) >= 0:
        line = data[start:stop].strip()
        start = stop + 1
        if line == b"end_header":
            return lines, start
        lines.append(_text(line))
    raise Malformed(f"expected a header that ends with end_header within {LONGEST_HEADER} bytes, found none")


def _text(line: bytes) -> str:
    """A line as text; comments may be in any encoding."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _parse_header(lines: list[str]) -> tuple[str, list[str], list[Element]]:
    encoding, comments, elements = "", [], []
    for number, line in enumerate(lines):
        words = line.split()
        match words:
            case ["ply"] if number == 0:
                pass
            case ["format", name, "1.0"] if name in ENCODINGS and not encoding:
                encoding = name
            case ["comment" | "obj_info", *_]:
                comments.append(line.split(None, 1)[1].strip() if len(words) > 1 else "")
            case ["element", name, count] if _is_count(count) and name not in {each.name for each in elements}:
                elements.append(Element(name, int(count)))
            case ["property", "list", length, kind, name] if elements and _is_list(length, kind, name, elements[-1]):
                elements[-1].columns[name] = TYPES[kind]
                elements[-1].lengths[name] = TYPES[length]
            case ["property", kind, name] if elements and kind in TYPES and name not in elements[-1].columns:
                elements[-1].columns[name] = TYPES[kind]
            case [] if number:
                pass
            case _:
                raise Malformed(f"line {number + 1} of the header: cannot make sense of {line[:60]!r}")
    if not encoding:
        raise Malformed(f"expected a format line with one of {', '.join(ENCODINGS)}, found none")
    return encoding, comments, elements


def _is_count(word: str) -> bool:
    return word.isdecimal() and len(word) <= 12


def _is_list(length: str, kind: str, name: str, element: Element) -> bool:
    whole = length in TYPES and TYPES[length][0] != "f"
    return whole and kind in TYPES and name not in element.columns
