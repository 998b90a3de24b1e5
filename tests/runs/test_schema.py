"""Migrations of stored states: one step after another, by pure functions."""

import json

import pytest

from runs.toy_job import SCHEMA
from splatlearn.runs.schema import NewerSchemaError, Schema


def test_each_step_is_taken_and_the_argument_is_left_alone() -> None:
    first = {"schema": 1, "step": 5}
    before = json.dumps(first)
    assert SCHEMA.migrate(first) == {"schema": 3, "step": 5, "samples": 50, "files": {}}
    assert json.dumps(first) == before


def test_the_newest_is_returned_as_it_is() -> None:
    state = {"schema": 3, "anything": [1]}
    assert SCHEMA.migrate(state) is state


@pytest.mark.parametrize("version", [4, 0, None, "3", 1.5])
def test_others_are_refused_in_a_sentence(version: object) -> None:
    with pytest.raises(NewerSchemaError, match="expected toy schema 3 or older, got .*; update splatlearn to read it"):
        SCHEMA.migrate({"schema": version})
    with pytest.raises(NewerSchemaError, match="expected checkpoint schema 1 or older"):
        Schema(1).migrate({})
