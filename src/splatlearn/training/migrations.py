"""What the files of older runs become, by pure functions: `training.json` of checkpoints, one function for each step of
the schema, and `recipe.json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splatlearn.core.errors import FormatError
from splatlearn.core.typed import shown

SCHEMA = 2
"""Version of the layout of a checkpoint folder."""

State = dict[str, Any]


class NewerSchemaError(FormatError):
    """A checkpoint was written by a newer version."""


def migrate(state: State) -> State:
    """The state of a checkpoint of any older schema as this version writes it; the argument is left alone.

    Raises NewerSchemaError for a schema that is not known here.
    """
    version = state.get("schema")
    while version != SCHEMA:
        if version not in MIGRATIONS:
            raise NewerSchemaError(
                f"expected checkpoint schema {SCHEMA} or older, got {shown(version)}; update splatlearn to read it"
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


NEW_OPTIONS = {"decoder_width": "decoder_embed_dim", "decoder_heads": "decoder_num_heads", "overlap": "initial_scale"}
"""Old to new names of options about the model."""
NEW_DATA = {"window": "shuffle_window"}
"""The same of options about the data."""
OLD_DECODERS = {"micro": 2, "tiny": 4, "small": 4}
"""Blocks of a GMAE's decoder in the default preset, before it had one."""
OLD_GAUSSIANS = {
    "gaussians": 256,
    "gaussians_per_query": 1,
    "color": "bounded",
    "background": "white",
    "initial_scale": 0.5,
}
"""Of the default preset, when it shared these with the paper's."""


def migrate_recipe(values: State) -> State:
    """The values of any older `recipe.json` as this version reads them; the argument is left alone.

    Recipes once left a GMAE's options to the preset of their time; now they name all of them. What was not known yet
    about errors is what there was: squared ones, of hidden pixels. Tokens had no weight decay, and all gradients were
    clipped at 2.
    """
    objective, options, optimizer = (values.get(name, {}) for name in ("objective", "options", "optimizer"))
    if not all(isinstance(each, dict) for each in (objective, options, optimizer)):
        return values
    options = {NEW_OPTIONS.get(key, key): value for key, value in options.items()}
    data = values.get("data")
    if isinstance(data, dict):
        values = {**values, "data": {NEW_DATA.get(key, key): value for key, value in data.items()}}
    migrated = {
        **values,
        **({"options": options} if "options" in values else {}),
        "objective": {"visible_weight": 0.0, "error": "squared", **objective},
        "optimizer": {"decay_tokens": False, "clip_norm": 2.0, **optimizer},
    }
    name = str(values.get("model") or "")
    if not name.startswith("gmae_vit_") or values.get("preset") == "paper":
        return migrated
    given = {key: value for key, value in options.items() if value is not None}
    old = {**OLD_GAUSSIANS, "decoder_depth": OLD_DECODERS.get(name.split("_")[2])}
    return {**migrated, "options": {**options, **old, **given}}
