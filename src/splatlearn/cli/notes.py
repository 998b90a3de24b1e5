"""What commands say on stderr beside their results: what they leave out, and options that change nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from splatlearn.images.left_out import LeftOut


def note(text: str) -> None:
    """Print a sentence for the person at the terminal."""
    print(f"splatlearn: {text}", file=sys.stderr)


def note_left_out(where: str | Path, left_out: LeftOut) -> None:
    """Say what a set of images leaves out, if it leaves out anything."""
    if left_out:
        note(f"left out of {where}: {left_out}")


def note_unused(options: Mapping[str, bool], why: str) -> None:
    """Say which options have no effect: those that are given (True), for the same reason."""
    given = [f"--{name.replace('_', '-')}" for name, is_given in options.items() if is_given]
    if given:
        note(f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect {why}")


def changed(options: Any, *names: str) -> dict[str, bool]:
    """Which fields of a dataclass are not at their defaults, for `note_unused`."""
    defaults = {field.name: field.default for field in fields(options)}
    return {name: getattr(options, name) != defaults[name] for name in names}
