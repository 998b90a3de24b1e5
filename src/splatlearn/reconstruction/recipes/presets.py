"""Presets of a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Preset = Literal["fast", "default", "quality", "paper"]


@dataclass(frozen=True)
class PresetValues:
    """The values of options that a preset has and that were not given; see `SceneOptions` and `CaptureOptions`."""

    steps: int
    max_gaussians: int
    max_size: int = 1600
    strategy: Any = "mcmc"
    degree: int = 3
    coarse: float = 0.3
    position_rate: float = 4e-4
    rate: float = 1.5
    start_opacity: float = 0.5
    start_scale: float = 0.4
    anneal: float = 0.0
    budget_exponent: Any = "none"


PRESETS: dict[Preset, PresetValues] = {
    # The shorter a run, the larger its steps: `benchmarks/reconstruct.py` compares them.
    "fast": PresetValues(
        2_000,
        30_000,
        max_size=800,
        strategy="default",
        degree=2,
        position_rate=8e-4,
        rate=2.0,
        anneal=0.1,
        budget_exponent=0.0,
    ),
    "default": PresetValues(7_000, 100_000),
    "quality": PresetValues(15_000, 300_000, position_rate=1.6e-4, rate=1.0),
    # Kerbl et al. 2023, of the official code; its Gaussians have no limit.
    "paper": PresetValues(
        30_000,
        3_000_000,
        strategy="default",
        coarse=0.0,
        position_rate=1.6e-4,
        rate=1.0,
        start_opacity=0.1,
        start_scale=1.0,
    ),
}


def preset_values(name: Preset) -> PresetValues:
    """Return the values of a preset."""
    return PRESETS[name]
