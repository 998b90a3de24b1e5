"""PLY containers: the header, and the tables of its elements."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from splatlearn.files.errors import Malformed

LONGEST_HEADER = 128 * 1024
ENCODINGS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass
class Element:
    """One element of a header: how many rows, and the type of each column; `is_list` where rows differ in length."""

    name: str
    count: int
    columns: dict[str, str] = field(default_factory=dict)
    is_list: bool = False


@dataclass(frozen=True, eq=False)
class Ply:
    """The comments of a file and its tables by name, as structured arrays."""

    comments: list[str]
    tables: dict[str, np.ndarray]


def parse_ply(data: bytes) -> Ply:
    """Parse the tables of an ASCII or binary file; those from the first list property on are left out.

    Raises Malformed for headers that do not parse, counts that do not fit the size of the file, and numbers that are
    none.
    """
    lines, start = _header_lines(data)
    encoding, comments, elements = _parse_header(lines)
    tables: dict[str, np.ndarray] = {}
    body: bytes | list[bytes] = data[start:].split() if encoding == "ascii" else data
    offset = 0 if encoding == "ascii" else start
    for element in elements:
        if element.is_list:
            return Ply(comments, tables)
        if element.count and not element.columns:
            raise Malformed(f"element {element.name}: expected properties, found none for {element.count} rows")
        dtype = np.dtype([(name, ENCODINGS[encoding] + kind) for name, kind in element.columns.items()])
        step = len(element.columns) if encoding == "ascii" else dtype.itemsize
        if element.count * step > len(body) - offset:
            raise Malformed(
                f"element {element.name}: expected {element.count} rows of {step} "
                f"{'numbers' if encoding == 'ascii' else 'bytes'}, got {len(body) - offset} in all; "
                "the file is cut off or the count is wrong"
            )
        if not element.count:
            tables[element.name] = np.empty(0, dtype)
        elif isinstance(body, list):
            tables[element.name] = _ascii_table(body[offset : offset + element.count * step], dtype, element)
        else:
            tables[element.name] = np.frombuffer(body, dtype, element.count, offset)
        offset += element.count * step
    if offset != len(body):
        raise Malformed(f"expected the file to end after its last element, got {len(body) - offset} more; wrong counts")
    return Ply(comments, tables)


def columns(table: np.ndarray, names: list[str], element: str) -> np.ndarray:
    """The named columns [rows, columns] as float32; raises Malformed naming a column that is missing."""
    missing = [name for name in names if name not in (table.dtype.names or ())]
    if missing:
        raise Malformed(f"element {element}: expected the property {missing[0]}, found none")
    return np.stack([table[name].astype(np.float32) for name in names], axis=-1)


def ply_bytes(tables: dict[str, np.ndarray], comments: list[str]) -> bytes:
    """A binary little-endian file of structured arrays."""
    names = {kind: name for name, kind in reversed(TYPES.items())}
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    for name, table in tables.items():
        lines.append(f"element {name} {len(table)}")
        for column in table.dtype.names or ():
            lines.append(f"property {names[table.dtype[column].str[1:]]} {column}")
    header = "\n".join([*lines, "end_header", ""]).encode("ascii")
    return header + b"".join(table.tobytes() for table in tables.values())


def _header_lines(data: bytes) -> tuple[list[str], int]:
    """The lines of the header, and where the body begins."""
    end = data.find(b"end_header", 0, LONGEST_HEADER)
    stop = data.find(b"\n", end, end + 16) if end >= 0 else -1
    if stop < 0:
        raise Malformed(f"expected a header that ends with end_header within {LONGEST_HEADER} bytes, found none")
    try:
        return data[:end].decode("ascii").split("\n"), stop + 1
    except UnicodeDecodeError as error:
        raise Malformed(f"expected a header in ASCII, got the byte {data[error.start]:#04x} in it") from None


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
            case ["property", "list", first, second, _] if elements and {first, second} <= TYPES.keys():
                elements[-1].is_list = True
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


def _ascii_table(words: list[bytes], dtype: np.dtype, element: Element) -> np.ndarray:
    try:
        numbers = np.array(words, dtype=np.float64).reshape(element.count, len(element.columns))
    except ValueError as error:
        raise Malformed(f"element {element.name}: expected numbers, got {error}") from None
    table = np.empty(element.count, dtype)
    for number, (name, kind) in enumerate(element.columns.items()):
        if kind[0] != "f" and not _fits(numbers[:, number], np.dtype(kind)):
            raise Malformed(f"element {element.name}: expected whole numbers for {name} ({kind}), got others")
        table[name] = numbers[:, number]
    return table


def _fits(numbers: np.ndarray, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return bool(((numbers >= limits.min) & (numbers <= limits.max) & (numbers == np.rint(numbers))).all())
