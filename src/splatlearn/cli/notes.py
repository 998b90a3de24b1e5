"""What commands say on stderr beside their results: what they leave out, and options that change nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from splatlearn.data.left_out import LeftOut


def note(text: str) -> None:
    """Print a sentence for the person at the terminal."""
    print(f"splatlearn: {text}", file=sys.stderr)


def note_left_out(where: str | Path, left_out: LeftOut) -> None:
    """Say what a set of images leaves out, if it leaves out anything."""
    if left_out:
        note(f"left out of {where}: {left_out}")
