"""Configuration dataclasses from the plain dictionaries that JSON holds."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from splatlearn.core.errors import InputError

Config = TypeVar("Config")


def config_from_dict(kind: type[Config], values: object, where: str = "config") -> Config:
    """Build a configuration dataclass, and those inside it, from what `dataclasses.asdict` and JSON made of it.

    Lists become tuples. Raises InputError for a key that is unknown or missing, as `config.encoder.width`, or a value
    of another kind than the field's, and what the dataclass itself raises.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected an object, got {values!r}")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    for name in values:
        if name not in known:
            raise InputError(f"Unknown key: '{where}.{name}'; expected one of {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"Missing key: '{where}.{name}'")
    return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def _value(hint: Any, value: object, where: str) -> object:
    if is_dataclass(hint) and isinstance(hint, type):
        return config_from_dict(hint, value, where)
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, int if hint is int else int | float):
            raise InputError(f"{where}: expected {'an integer' if hint is int else 'a number'}, got {value!r}")
        return hint(value)
    return tuple(value) if isinstance(value, list) else value
