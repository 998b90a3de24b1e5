"""Dataclasses from what JSON holds: the one place where the values of a file are checked against annotations.

Types, lengths of tuples, names of choices and whether numbers are finite are checked here, ranges by the dataclasses
themselves.
"""

from __future__ import annotations

import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from splatlearn.core.disk.atomic import LARGEST, read_object
from splatlearn.core.errors import FormatError, MissingError, SplatlearnError

Built = TypeVar("Built")

_SIMPLE = {bool: "true or false", int: "an integer", float: "a number", str: "text", type(None): "null"}
_INTEGERS = 2**63
"""Integers of a file lie in [−2^63, 2^63), as those of PyTorch and NumPy do."""

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 2, 60, 60, 30


def shown(value: object) -> str:
    """A value for an error message, cut short however long or deep it is."""
    # Python refuses to write out integers of thousands of digits.
    return "a huge integer" if isinstance(value, int) and abs(value) > 10**30 else _short.repr(value)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries by their dotted names, such as `optimizer.clip_norm`."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return leaves


def read_as(
    kind: type[Built], path: Path, *, extra: bool = False, needed: bool = True, largest: int = LARGEST
) -> Built:
    """The dataclass that a JSON file describes; see `build`.

    Without the file that of an empty object, unless it is `needed`: then MissingError is raised. Raises FormatError
    naming the file for anything that `build` refuses, and where it has more than `largest` bytes.
    """
    if needed and not path.is_file():
        raise MissingError(f"{path}: expected a file, found none")
    values = read_object(path, largest)
    try:
        return build(kind, values, extra=extra)
    except SplatlearnError as error:
        raise FormatError(f"{path}: {error}") from error


def build(kind: type[Built], values: object, where: str = "", *, extra: bool = False, finite: bool = True) -> Built:
    """Build a dataclass, and those inside it, from what `dataclasses.asdict` and JSON made of it.

    - `where`: what the values are called in messages, such as `config`; keys are named as `config.encoder.embed_dim`.
    - `extra`: leaves out keys that the dataclass does not have, as a description by another program may hold.
    - `finite`: refuses NaN and infinity where a number is expected.

    Lists become tuples. Raises FormatError for a key that is unknown or missing, and a value that is not of the field's
    type; and what the dataclass itself raises.
    """
    if not isinstance(values, Mapping):
        raise FormatError(f"{where or 'the whole'}: expected an object, got {shown(values)}")
    hints, known = _hints(kind), {field.name: field for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    unknown = [name for name in values if name not in known]
    if unknown and not extra:
        raise FormatError(f"Unknown key: {shown(_path(where, unknown[0]))}; expected one of {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise FormatError(f"Missing key: '{_path(where, name)}'")
    given = {name: value for name, value in values.items() if name in known}
    return kind(
        **{name: _Reader(extra, finite).value(hints[name], each, _path(where, name)) for name, each in given.items()}
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _path(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


class _Reader:
    """Values of JSON as those of an annotation; raises FormatError naming where one does not fit."""

    def __init__(self, extra: bool, finite: bool) -> None:
        self.extra, self.finite = extra, finite

    def value(self, hint: Any, value: object, where: str) -> object:
        if is_dataclass(hint) and isinstance(hint, type):
            return build(hint, value, where, extra=self.extra, finite=self.finite)
        origin, inside = get_origin(hint), get_args(hint)
        if hint in (Any, object):
            return value
        if hint in _SIMPLE:
            return self._simple(hint, value, where)
        if origin is Literal:
            # True is not 1 here.
            if any(type(value) is type(each) and value == each for each in inside):
                return value
        elif origin in (Union, types.UnionType):
            return self._any_of(inside, value, where)
        elif origin is tuple and isinstance(value, list | tuple):
            each = [inside[0]] * len(value) if inside[1:] == (...,) else list(inside)
            if len(value) == len(each):
                pairs = zip(each, value, strict=True)
                return tuple(self.value(one, part, f"{where}[{index}]") for index, (one, part) in enumerate(pairs))
        elif origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
            return {
                self._simple(str, key, where): self.value(inside[1], part, f"{where}[{shown(key)}]")
                for key, part in value.items()
            }
        raise FormatError(f"{where}: expected {_described(hint)}, got {shown(value)}")

    def _simple(self, hint: Any, value: object, where: str) -> Any:
        allowed = int | float if hint is float else hint
        fits = isinstance(value, allowed) and (hint is bool or not isinstance(value, bool))
        if fits and isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
            fits = False
        if fits and isinstance(value, float) and self.finite and not math.isfinite(value):
            raise FormatError(f"{where}: expected a finite number, got {value}")
        if fits and isinstance(value, str):
            # Lone surrogates cannot be written to a file, and NUL cannot be part of a path.
            fits = "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
        if not fits:
            raise FormatError(f"{where}: expected {_SIMPLE[hint]}, got {shown(value)}")
        return float(value) if hint is float else value  # pyright: ignore[reportArgumentType]

    def _any_of(self, hints: tuple[Any, ...], value: object, where: str) -> object:
        others = [each for each in hints if each is not type(None)]
        if value is None and len(others) < len(hints):
            return None
        for each in others if len(others) > 1 else ():
            try:
                return self.value(each, value, where)
            except SplatlearnError:
                continue
        if len(others) == 1:
            return self.value(others[0], value, where)
        expected = " or ".join(_described(each) for each in others)
        raise FormatError(f"{where}: expected {expected}, got {shown(value)}")


def _described(hint: Any) -> str:
    """What a message calls the values of an annotation."""
    origin, inside = get_origin(hint), get_args(hint)
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if origin is Literal:
        return f"one of {', '.join(map(str, inside))}"
    if origin is tuple:
        many = "a list" if inside[1:] == (...,) else f"a list of {len(inside)}"
        return f"{many}, each {_described(inside[0])}"
    return "an object"
