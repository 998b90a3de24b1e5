"""Folders for files that can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """Return a folder of the cache: below SPLATLEARN_CACHE if it is set, otherwise below the user's own cache."""
    given = os.environ.get("SPLATLEARN_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return (Path(given) if given else Path(home) / "splatlearn") / name
