"""What `training.json` of older checkpoints becomes: pure functions, one for each step of the schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCHEMA = 2
"""Version of the layout of a checkpoint folder."""

State = dict[str, Any]


class NewerSchemaError(ValueError):
    """A checkpoint was written by a newer version."""


def migrate(state: State) -> State:
    """The state of a checkpoint of any older schema as this version writes it; the argument is left alone.

    Raises NewerSchemaError for a schema that is not known here.
    """
    version = state.get("schema")
    while version != SCHEMA:
        if version not in MIGRATIONS:
            raise NewerSchemaError(
                f"expected checkpoint schema {SCHEMA} or older, got {version}; update splatlearn to read it"
            )
        state = MIGRATIONS[version](state)
        version = state["schema"]
    return state


def from_1(state: State) -> State:
    """Schema 1 counted samples, knew neither versions nor checksums, and was always written by one process."""
    kept = {key: value for key, value in state.items() if key not in {"schema", "samples"}}
    per_step = state["samples"] // state["step"] if state["step"] else 0
    return {"schema": 2, "splatlearn": "0.1.0", **kept, "images_per_step": per_step, "images_per_pass": 0, "files": {}}


MIGRATIONS: dict[Any, Callable[[State], State]] = {1: from_1}
"""From a schema to the next."""
