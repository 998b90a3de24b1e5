"""Weights of this library's own models, which are not imported but loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import InputError
from splatlearn.models.exchange.folders import CONFIG_NAME


def refuse_own(names: Iterable[str], source: str) -> None:
    """Raise InputError, saying how to load them, for weights that have the names of this library's models."""
    known = set(names)
    kind = _kind(known)
    if kind is None:
        return
    path = Path(source)
    if path.is_file() and "schema_version" in read_object(path.parent / CONFIG_NAME):
        raise InputError(
            f"{source}: expected another project's weights, got those of a splatlearn model folder, which needs no "
            f"import; give {path.parent} itself to the other commands and to splatlearn.load_model"
        )
    raise InputError(
        f"{source}: expected another project's weights, got the state dict of a splatlearn {kind}, which does not say "
        "the configuration; build the same model, call load_state_dict and then "
        'splatlearn.save_model(model, "FOLDER"): every command and splatlearn.load_model read that folder'
    )


def _kind(names: set[str]) -> str | None:
    """Which model of ours has weights of these names; others store a table of positions, which ours compute."""
    if {"encoder.cls_token", "encoder.patch_embed.proj.weight"} <= names and "encoder.pos_embed" not in names:
        if "query_token" in names:
            return "GMAE"
        return "MAE" if "decoder.embed.weight" in names else "classifier"
    if {"cls_token", "patch_embed.proj.weight"} <= names and "pos_embed" not in names:
        return "encoder"
    return None
