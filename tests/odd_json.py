"""JSON that somebody has meddled with: strategies for tests of everything that reads a file back."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

DEEP = "[" * 100_000

ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 10**7, 2**31, 2**62, 2**63, -(2**40), 10**30, 0.0, -0.5, 1e-320, 1e308, 1.5,
    float("nan"), float("inf"), -float("inf"), "", "a", "-1", "white", "\ud800", "\0", "../..", "x" * 10_000,
    [], [[]], [1], [1, 1], [1, 2, 3], ["a"], [None], [0.5] * 1000, {}, {"a": 1}, {"": {}},
]  # fmt: skip
"""What takes the place of a value: other types, and numbers at the edges of what a type holds."""

ODD_TEXTS = ["", "[]", "{", "3", "null", '"text"', "{}", '{"a": }', DEEP, '{"a": ' * 100_000, "\ufeff{}", "9" * 5000]
"""Whole files that are no description of anything."""


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within JSON's objects and lists."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [each for key, value in inside for each in [(*path, key), *places(value, (*path, key))]]


@st.composite
def meddled(draw: st.DrawFn, valid: Any) -> str:
    """JSON text of valid values in which one to three have been replaced, removed or added."""
    values = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        known = places(values)
        if not known:
            break
        *path, last = draw(st.sampled_from(known))
        holder = values
        for key in path:
            holder = holder[key]
        # A copy, for later changes may be made within it.
        odd = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"])):
            case "replace":
                holder[last] = odd
            case "remove":
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(["extra", "", "\ud800", "a.b"]))] = odd
            case _:
                holder.append(odd)
    return json.dumps(values)
