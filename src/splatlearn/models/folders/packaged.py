"""Weights that come with the package, found by name without a network."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "weights"
"""A folder of a model for each name."""
DEFAULT = "gmae-tiny"
"""The model of commands that are given none."""


def packaged_models() -> dict[str, Path]:
    """The folders of the models in the package, by name."""
    found = sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []
    return {folder.name: folder for folder in found if (folder / "config.json").is_file()}
