"""Depth maps by the names that a capture's files call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from splatlearn.captures.capture import View
from splatlearn.captures.described import Entry
from splatlearn.captures.finding.names import listed
from splatlearn.captures.finding.photographs import PictureIndex


def with_depths(entries: Sequence[Entry], views: Sequence[View], folder: Path) -> tuple[list[View], list[str]]:
    """Return views with the paths of the depth maps that their entries name, and sentences about what is missing.

    `folder`: below which maps lie.
    """
    if not any(entry.depth for entry in entries):
        return [*views], []
    index = PictureIndex(folder)
    found: list[View] = []
    lost: list[str] = []
    for entry, view in zip(entries, views, strict=True):
        name = None if entry.depth is None else index.find(entry.depth)
        if entry.depth is not None and name is None:
            lost.append(entry.depth)
        path = None if name is None else folder / name
        found.append(replace(view, depth_path=path, depth_unit=entry.depth_unit))
    return found, [f"Depth maps that frames name are not there ({len(lost):,}): {listed(lost)}."] if lost else []
