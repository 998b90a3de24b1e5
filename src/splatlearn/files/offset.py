"""What the positions of a splat file are relative to, for scenes far from the origin of their world."""

from __future__ import annotations

Offset = tuple[float, float, float]
NO_OFFSET: Offset = (0.0, 0.0, 0.0)


def shown_offset(offset: Offset) -> str:
    """An offset as in "(500000, 4000000, 300)"."""
    return f"({', '.join(f'{each:.17g}' for each in offset)})"
