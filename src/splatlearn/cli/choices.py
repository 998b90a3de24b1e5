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
    """resize: the whole image, resized to the model's size; windows: overlapping windows, blended."""
    window: int | None = None
    """Height of a window in pixels of the image. Default: the largest that fits."""
    overlap: float = 0.5
    """Smallest fraction of a window that its neighbour also covers."""
    fit_steps: int = 0
    """Number of gradient steps that fit the Gaussians to the image, at its own size, before the read-out."""
    batch_size: int = 8
    """Largest number of images of equal size that are read in one batch."""
    device: str = "auto"
    """The device: auto, cpu, cuda, cuda:1 or mps."""


@dataclass(frozen=True)
class BenchmarkInput:
    """Data and scoring of a benchmark."""

    data: str
    """For bsds500, a folder with images/test and groundTruth/test. For figure-ground, a folder with images and masks,
    or a folder of such folders."""
    out: str | None = None
    """Folder for benchmark-NAME.json. Default: RUN."""
    overwrite: bool = False
    """Replace the scores that an earlier call wrote to the folder; in RUN, they are always replaced."""
    limit: int | None = None
    """Number of images to use from each folder, from the first on. Default: all."""
    processes: int = 2
    """Number of processes that score, in addition to the process of the model; 1: one process does both."""
    thresholds: int = THRESHOLDS
    """Number of thresholds on the strength of edges; the official benchmark uses 99."""
    baselines: Literal["auto", "yes", "no"] = "auto"
    """Also score methods that do not learn. auto: only for figure-ground, where they cost little."""
    every: bool = False
    """Score every read-out of edges, instead of only the default and the paper's."""

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("processes", self.processes), ("thresholds", self.thresholds)):
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")


@dataclass(frozen=True)
class Machine:
    """Where it is computed."""

    device: str = "auto"
    """The device: auto, cpu, cuda, cuda:1 or mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 if the device supports it natively, otherwise fp32."""
    batch_size: int = 64
    """Number of images in one forward pass."""
    workers: int | None = None
    """Number of threads that decode and crop. Default: 1 on a CPU; with a GPU, the number of cores, at most 16."""
    max_unreadable: float = 0.05
    """Largest fraction of unreadable images, which are left out and named; above it, the evaluation stops."""


Read = Annotated[Reading, tyro.conf.arg(name="")]
Run = tyro.conf.Positional[str | None]
Images = tyro.conf.Positional[tuple[str, ...]]
