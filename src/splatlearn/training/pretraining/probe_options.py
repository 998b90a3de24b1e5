"""The options of probes during pre-training."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.core.errors import InputError
from splatlearn.evaluation.choices import Pooling


@dataclass(frozen=True)
class ProbeOptions:
    """How well labels can be read off the features while they are learned; the labels teach the model nothing."""

    probe_every: int = 0
    """Number of epochs between probes (kNN and linear, in the log and the bar); 0: none. The last epoch has one too."""
    probe_data: str | None = None
    """Labelled images: class folders, parquet or a Hub name. Default: the data of the run, which must have labels."""
    probe_images: int = 2000
    """Largest number of images to learn from, and of images to judge on."""
    probe_pooling: Pooling = "mean"
    """The mean of the patches' tokens (mean) or the class token (cls)."""

    def __post_init__(self) -> None:
        if self.probe_every < 0:
            raise InputError(f"probe_every: expected a number of epochs ≥ 0, got {self.probe_every}")
        if self.probe_images < 2:
            raise InputError(f"probe_images: expected at least 2 images, got {self.probe_images}")

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether a probe is due after `epoch` of `epochs` epochs."""
        return self.probe_every > 0 and (epoch % self.probe_every == 0 or epoch == epochs)
