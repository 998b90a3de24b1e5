"""Checks of the types of arguments whose messages name the argument, what was expected and what came."""

from __future__ import annotations

import os

from splatlearn.core.errors import InputError


def check_kind(name: str, value: object, *kinds: type, advice: str = "") -> None:
    """Raise TypeError unless `value` is of one of the kinds. `advice` says how to make one of what came."""
    if not isinstance(value, kinds):
        wanted = " or ".join(f"{'an' if kind.__name__[0] in 'AEIOaeio' else 'a'} {kind.__name__}" for kind in kinds)
        raise TypeError(f"{name}: expected {wanted}, got {type(value).__name__}{advice and f'; {advice}'}")


def check_path(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a path, and InputError for an empty one, which means the current folder."""
    check_kind(name, value, str, os.PathLike)
    if not str(value).strip():
        raise InputError(f"{name}: expected a name, got an empty one")
