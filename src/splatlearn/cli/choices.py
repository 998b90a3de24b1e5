"""Options that several commands share, apart from what they compute with: the help needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from splatlearn.core.errors import InputError
from splatlearn.evaluation.choices import THRESHOLDS
from splatlearn.zero_shot.choices import Sizing

MAX_SIZE = 1024
"""Longer side at which larger photographs are read: there is nothing finer in a few hundred Gaussians."""

ModelFormat = Literal["timm", "hf", "hf-mae", "onnx", "onnx-gaussians", "hub"]


@dataclass(frozen=True)
class Reading:
    """How images are shown to the model."""

    sizing: Sizing = "resize"
    """resize: the whole image at the model's size; windows: overlapping windows, blended."""
    window: int | None = None
    """Height of a window in pixels of the image. Default: the largest that fits."""
    overlap: float = 0.5
    """Smallest share of a window that its neighbour covers too."""
    fit_steps: int = 0
    """Gradient steps through the renderer before the read-out, at the image's own size."""
    batch_size: int = 8
    """Images of equal size that are read together."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class BenchmarkInput:
    """What is scored, on what, and how."""

    data: str
    """BSDS500 with images/test and groundTruth/test; or a folder with images and masks, or of such folders."""
    out: str | None = None
    """Folder for benchmark-NAME.json. Default: RUN."""
    overwrite: bool = False
    """Replace the scores that an earlier call wrote into the folder; in RUN they always are."""
    limit: int | None = None
    """The first images alone, of each folder. Default: all."""
    processes: int = 2
    """That score, beside the one that runs the model; 1 does both."""
    thresholds: int = THRESHOLDS
    """Of the edges' strengths; the benchmark has 99."""
    baselines: Literal["auto", "yes", "no"] = "auto"
    """Score methods without learning too. auto: of figures, where they cost little."""
    every: bool = False
    """Score every read-out of edges, not the default and the paper's alone."""

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("processes", self.processes), ("thresholds", self.thresholds)):
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")


@dataclass(frozen=True)
class Machine:
    """Where it is computed."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto takes bf16 where the device multiplies it natively, else fp32."""
    batch_size: int = 64
    """Images of one forward pass."""
    workers: int | None = None
    """Threads that decode and crop. Default: one on a CPU run, as many as cores (at most 16) beside a GPU."""
    max_unreadable: float = 0.05
    """Unreadable images are left out and named; above this share it stops."""


Read = Annotated[Reading, tyro.conf.arg(name="")]
Run = tyro.conf.Positional[str | None]
Images = tyro.conf.Positional[tuple[str, ...]]
