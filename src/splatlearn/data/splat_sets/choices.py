"""The choices about splat sets as samples that options name."""

from typing import Literal

Turn = Literal["none", "up", "any"]
"""How sets are turned at random: not at all, about the vertical axis (y), or any way."""
