"""The options of probes during pre-training."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.core.errors import InputError
from splatlearn.evaluation.choices import Pooling


@dataclass(frozen=True)
class ProbeOptions:
    """Probes that measure during training how well the features predict labels; the model never learns from these
    labels."""

    probe_every: int = 0
    """Number of epochs between probes (kNN and linear; scores go to the log and the progress bar). 0: no probes. The
    last epoch is always probed."""
    probe_data: str | None = None
    """Labelled images: class folders, a parquet file or a Hub name. Default: the training data, which must then have
    labels."""
    probe_images: int = 2000
    """Largest number of images that the probes are trained on, and largest number that they are tested on."""
    probe_pooling: Pooling = "mean"
    """Feature of an image: the mean of its patch tokens (mean) or the class token (cls)."""

    def __post_init__(self) -> None:
        if self.probe_every < 0:
            raise InputError(f"probe_every: expected a number of epochs ≥ 0, got {self.probe_every}")
        if self.probe_images < 2:
            raise InputError(f"probe_images: expected at least 2 images, got {self.probe_images}")

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether a probe is due after `epoch` of `epochs` epochs."""
        return self.probe_every > 0 and (epoch % self.probe_every == 0 or epoch == epochs)
