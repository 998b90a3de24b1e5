"""Migrations of `config.json` from older schemas: pure functions from one schema to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from splatlearn.core.errors import FormatError
from splatlearn.core.typed import shown

SCHEMA_VERSION = 2
"""Version of the layout of `config.json` that this version of splatlearn writes."""

Description = dict[str, Any]

NEW_NAMES_IN_2 = {"width": "embed_dim", "heads": "num_heads", "patch": "patch_size"}
"""Old to new names of the sizes of an encoder or decoder, which schema 2 renamed."""
NEW_GAUSSIANS_IN_2 = {"overlap": "initial_scale"}
"""The same of a GMAE's own configuration."""


def migrate(description: Description) -> Description:
    """Return a description of any older schema as this version writes it; the argument is not changed.

    Raises FormatError for a schema that this version does not know.
    """
    version = description.get("schema_version")
    while version != SCHEMA_VERSION or type(version) is not int:
        if type(version) is not int or version not in MIGRATIONS:
            writer = description.get("splatlearn_version", "of unknown version")
            raise FormatError(
                f"expected schema_version {SCHEMA_VERSION} or older, got {shown(version)}, written by splatlearn "
                f"{writer if isinstance(writer, str) and len(writer) < 40 else shown(writer)}; update splatlearn to "
                "read it"
            )
        description = MIGRATIONS[version](description)
        version = description["schema_version"]
    return description


def from_1(description: Description) -> Description:
    """Rename the sizes of encoder and decoder and the initial scale of Gaussians.

    Schema 1 called them `width`, `heads` and `patch`, and `overlap`.
    """
    config = description.get("config")
    if isinstance(config, Mapping):
        parts = {name: renamed(config[name], NEW_NAMES_IN_2) for name in ("encoder", "decoder") if name in config}
        config = renamed({**config, **parts}, NEW_GAUSSIANS_IN_2)
    return {**description, "schema_version": 2, "config": config}


def renamed(values: object, names: Mapping[str, str]) -> object:
    """Return a mapping with new names for some of its keys; other values are returned unchanged."""
    if not isinstance(values, Mapping):
        return values
    return {names.get(key, key): value for key, value in values.items()}


MIGRATIONS: dict[int, Callable[[Description], Description]] = {1: from_1}
"""Migrations by the schema that they start from."""
