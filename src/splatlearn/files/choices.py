"""The names of the formats of splat files, apart from what reads and writes them."""

from __future__ import annotations

from typing import Literal

SplatFormat = Literal["ply", "compressed-ply", "spz", "sog"]

SPLAT_ENDINGS = (".ply", ".spz", ".sog", "meta.json", ".splat", ".ksplat")
"""What names of splat files end in, those included that `read_splats` only knows by name."""
