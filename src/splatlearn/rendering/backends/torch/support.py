"""Whether the specification can be used: always."""

from __future__ import annotations

from torch import Tensor


def status() -> str:
    """Return "ok": this backend needs nothing but PyTorch."""
    return "ok"


def refusal(means2d: Tensor, channels: int) -> str | None:
    """Return why the backend cannot take these inputs, or None."""
    return None
