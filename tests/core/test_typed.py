"""Dataclasses from JSON: every kind of annotation, and every kind of value that does not fit."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splatlearn.core.errors import FormatError, InputError, MissingError
from splatlearn.core.typed import build, flat, read_as, shown


@dataclass(frozen=True)
class Inner:
    size: int = 1
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size: expected a positive number, got {self.size}")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    on: bool = False
    kind: Literal["a", "b"] = "a"
    pair: tuple[int, int] | None = None
    many: tuple[float, ...] = ()
    color: Literal["white"] | tuple[float, float, float] = "white"
    facts: Mapping[str, str | int | None] = field(default_factory=dict)


FULL = Outer("x", Inner(3, 0.25), True, "b", (1, 2), (0.5, 1.0), (0.0, 0.5, 1.0), {"a": "b", "c": 1, "d": None})


def test_round_trip_through_json() -> None:
    assert build(Outer, json.loads(json.dumps(asdict(FULL)))) == FULL
    assert build(Outer, asdict(FULL)) == FULL
    assert build(Outer, {"name": "x"}) == Outer("x")


def test_integers_serve_as_numbers() -> None:
    found = build(Inner, {"share": 2})
    assert found == Inner(share=2.0) and type(found.share) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner": {"sise": 3}}, "Unknown key: 'config.inner.sise'; expected one of size, share"),
        ({"name": 3}, "config.name: expected text, got 3"),
        ({"name": None}, "config.name: expected text, got None"),
        ({"name": "a\0b"}, r"config.name: expected text, got 'a\\x00b'"),
        ({"name": "\ud800"}, r"config.name: expected text, got '\\ud800'"),
        ({"inner": {"size": "wide"}}, "config.inner.size: expected an integer, got 'wide'"),
        ({"inner": {"size": 1.5}}, "config.inner.size: expected an integer, got 1.5"),
        ({"inner": {"size": True}}, "config.inner.size: expected an integer, got True"),
        ({"inner": {"size": 2**63}}, "config.inner.size: expected an integer, got 9223372036854775808"),
        ({"inner": {"size": 0}}, "size: expected a positive number, got 0"),
        ({"inner": [1]}, r"config.inner: expected an object, got \[1\]"),
        ({"inner": {"share": float("nan")}}, "config.inner.share: expected a finite number, got nan"),
        ({"inner": {"share": 10**400}}, "config.inner.share: expected a number, got a huge integer"),
        ({"on": 1}, "config.on: expected true or false, got 1"),
        ({"kind": []}, r"config.kind: expected one of a, b, got \[\]"),
        ({"kind": True}, "config.kind: expected one of a, b, got True"),
        ({"pair": [1]}, r"config.pair: expected a list of 2, each an integer, got \[1\]"),
        ({"pair": [1, "2"]}, r"config.pair\[1\]: expected an integer, got '2'"),
        ({"many": 3}, "config.many: expected a list, each a number, got 3"),
        ({"many": [1, None]}, r"config.many\[1\]: expected a number, got None"),
        ({"color": [0, 1]}, r"config.color: expected one of white or a list of 3, each a number, got \[0, 1\]"),
        ({"facts": []}, r"config.facts: expected an object, got \[\]"),
        ({"facts": {"a": []}}, r"config.facts\['a'\]: expected text or an integer, got \[\]"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Outer, {"name": "x", **changes}, "config")


def test_missing_and_extra_keys() -> None:
    with pytest.raises(FormatError, match="Missing key: 'name'"):
        build(Outer, {})
    assert build(Outer, {"name": "x", "other": 1}, extra=True) == Outer("x")
    with pytest.raises(FormatError, match="the whole: expected an object, got None"):
        build(Outer, None)


def test_numbers_need_not_be_finite_where_that_is_said() -> None:
    assert build(Inner, {"share": float("inf")}, finite=False).share == float("inf")


def test_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(MissingError, match=r"a\.json: expected a file, found none"):
        read_as(Outer, path)
    path.write_text('{"name": []}')
    with pytest.raises(FormatError, match=r"a\.json: name: expected text, got \[\]"):
        read_as(Outer, path)
    with pytest.raises(FormatError, match=r"a\.json: expected at most 5 bytes of JSON, got 12"):
        read_as(Outer, path, largest=5)
    path.write_text('{"name": "x"}')
    assert read_as(Outer, path) == Outer("x")


def test_values_are_shown_shortly() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10**6, 10**10_000, {str(i): i for i in range(1000)}):
        assert len(shown(value)) < 200


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
json_values = st.recursive(
    leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each), max_leaves=6
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(sorted(asdict(FULL))), json_values))
def test_any_json_is_built_or_refused_in_one_way(values: dict[str, object]) -> None:
    try:
        found = build(Outer, values)
    except (FormatError, InputError):
        return
    assert build(Outer, json.loads(json.dumps(asdict(found)))) == found


def test_nested_values_by_dotted_keys() -> None:
    assert flat({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
