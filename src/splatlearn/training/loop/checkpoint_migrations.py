"""What `training.json` of older checkpoints becomes, one pure function for each step of the schema."""

from __future__ import annotations

from splatlearn.runs.schema import Schema, State


def from_1(state: State) -> State:
    """Schema 1 counted samples, knew neither versions nor checksums, and was always written by one process."""
    kept = {key: value for key, value in state.items() if key not in {"schema", "samples"}}
    per_step = state["samples"] // state["step"] if state["step"] else 0
    return {"schema": 2, "splatlearn": "0.1.0", **kept, "images_per_step": per_step, "images_per_pass": 0, "files": {}}


SCHEMA = Schema(2, {1: from_1})
"""The layout of a checkpoint folder."""
