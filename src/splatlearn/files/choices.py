"""The names of the formats of splat files, apart from what reads and writes them."""

from __future__ import annotations

from typing import Literal

SplatFormat = Literal["ply", "compressed-ply", "spz", "sog"]
