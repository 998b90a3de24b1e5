"""The names of objectives that recipes choose from."""

from __future__ import annotations

from typing import Literal

EstimatorName = Literal["club", "leave-one-out", "mine"]
