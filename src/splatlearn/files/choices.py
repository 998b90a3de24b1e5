"""The names of the formats of splat files, apart from what reads and writes them."""

from __future__ import annotations

from typing import Literal

SplatFormat = Literal["ply", "compressed-ply", "spz", "sog", "splat", "gltf", "sl3", "tensors"]
"""Formats that are read and written."""
FileFormat = Literal["ply", "compressed-ply", "spz", "sog", "splat", "gltf", "sl3"]
"""Those of them that have a name for a file of their own."""
StoredFormat = SplatFormat | Literal["ksplat", "rad"]
"""Formats that are read."""

SPLAT_ENDINGS = (
    ".ply",
    ".spz",
    ".sog",
    "meta.json",
    ".splat",
    ".ksplat",
    ".rad",
    ".glb",
    ".gltf",
    ".sl3",
    "splats.json",
)
"""What names of splat files end in."""
