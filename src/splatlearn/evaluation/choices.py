"""Choices and defaults of options of evaluations, apart from the code that computes with them."""

from __future__ import annotations

from typing import Literal

Pooling = Literal["cls", "mean"]

POOLING: Pooling = "mean"
NEIGHBOURS = 20
TEMPERATURE = 0.07
SHARES = (0.01, 0.1)
DRAWS = 5
THRESHOLDS = 99
