"""Recipes on disk and what sets two of them apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from runs.toy_job import Toy, ToyPlace
from splatlearn.core.errors import FormatError, InputError, MissingError
from splatlearn.runs.recipe import check_choices, check_range, filled

TOY = Toy(ToyPlace("run"))


def test_comes_back_from_its_file(tmp_path: Path) -> None:
    toy = replace(TOY, rate=0.1 + 0.2, names=())
    (tmp_path / "recipe.json").write_text(toy.to_json())
    assert Toy.read(tmp_path / "recipe.json") == toy


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    with pytest.raises(MissingError, match="expected the recipe of a run, found no such file"):
        Toy.read(path)
    values = json.loads(TOY.to_json())
    for change, message in [
        ({"rate": "fast"}, "rate: expected a number, got 'fast'"),
        ({"rate": -1.0}, "rate: expected a number above 0, got -1.0"),
        ({"speed": 1}, "Unknown key: 'speed'"),
        ({"run": {"device": "cpu"}}, "Missing key: 'run.out'"),
    ]:
        path.write_text(json.dumps({**values, **change}))
        with pytest.raises(FormatError, match=f"recipe.json: {message}"):
            Toy.read(path)


def test_what_belongs_to_one_call_is_left_out() -> None:
    run = ToyPlace("run", resume=True, allow_other_data=True, stop_after=3, device="cuda")
    assert replace(TOY, run=run).lasting() == replace(TOY, run=ToyPlace("run", device="cuda"))


def test_differences_name_what_computes_differently() -> None:
    other = replace(TOY, run=ToyPlace("elsewhere", resume=True, device="cuda"), rate=0.25, batch=8)
    assert TOY.differences(other) == ["rate: 0.5, 0.25", "batch: 4, 8"]
    assert TOY.differences(other, judged=True) == ["rate: 0.5, 0.25"]
    assert other.differences(TOY)[0] == "rate: 0.25, 0.5" and not TOY.differences(TOY)


def test_ranges_and_choices() -> None:
    check_range("a number above 0", lambda value: value > 0, one=1, none=None)
    for value in (0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="^two: expected a number above 0, got "):
            check_range("a number above 0", lambda value: value > 0, one=1, two=value)
    check_choices(one=("a", Literal["a", "b"]), none=(None, Literal["a"]))
    with pytest.raises(InputError, match="^two: expected one of a, b, got 'c'$"):
        check_choices(one=("a", Literal["a", "b"]), two=("c", Literal["a", "b"]))


def test_defaults_take_the_place_of_none_alone() -> None:
    place = ToyPlace("run", stop_after=0)
    assert filled(place, stop_after=5) == place
    assert filled(ToyPlace("run"), stop_after=5) == ToyPlace("run", stop_after=5)
