"""The words that options of the read-outs take, apart from what computes with them."""

from __future__ import annotations

from typing import Literal

Sizing = Literal["resize", "windows"]
Rule = Literal["count", "visible", "clusters"]
EdgeMethod = Literal["soft", "index"]
Cue = Literal["layers", "depth", "color", "tokens"]
FigureMethod = Literal["mixtures", "groups", "order", "depth"]
Side = Literal["border", "near"]

SIGMA = 2.0
"""Smoothing before the gradient of edges, pixels."""
