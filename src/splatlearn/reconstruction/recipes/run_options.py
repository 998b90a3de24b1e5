"""Options of a reconstruction: where it runs, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.core.memory import bytes_in
from splatlearn.runs.recipe import check_range


@dataclass(frozen=True)
class SceneRunOptions:
    """Where the reconstruction runs and what it writes."""

    out: str
    """Folder of the run."""
    seed: int = 0
    """Seed of the order of photographs and all other randomness."""
    device: str = "auto"
    """The device: auto, cpu, cuda or cuda:1."""
    evaluate_every: int | None = None
    """Number of steps between renderings of held-out photographs. Default: a tenth of the steps."""
    evaluate_views: int = 8
    """Largest number of held-out photographs for scores during the run; at its end all are used."""
    checkpoint_every: int = 1000
    """Number of steps between checkpoints; the last step always has one."""
    keep_checkpoints: int = 2
    """Number of the newest checkpoints to keep."""
    log_every: int = 10
    """Number of steps between writes of the log, which has one line per step."""
    target_size: str | None = None
    """Largest size of a compressed copy of the scene, scene.sl3, such as 5MB, which is written at the end. Its pictures
    from the cameras of fitted photographs decide what is rounded and left out. Default: no such file."""
    resume: bool = False
    """Resume from the run's newest checkpoint."""
    allow_other_data: bool = False
    """Resume even if the photographs or cameras differ from those that the run began with."""
    stop_after: int | None = None
    """Stop with a checkpoint after this total number of steps; --resume continues the run. Default: the last step."""
    max_skipped: int = 10
    """Stop after this number of consecutive steps whose loss is not finite. Each such step is skipped."""

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_range(
            "a number above 0", lambda value: value > 0,
            evaluate_every=self.evaluate_every, evaluate_views=self.evaluate_views,
            checkpoint_every=self.checkpoint_every, keep_checkpoints=self.keep_checkpoints, log_every=self.log_every,
            max_skipped=self.max_skipped,
        )  # fmt: skip
        check_range("a number ≥ 0", lambda value: value >= 0, seed=self.seed, stop_after=self.stop_after)
        if self.target_size is not None:
            bytes_in(self.target_size, "target_size")
        check_range("a number below 2^64", lambda value: value < 2**64, seed=self.seed)
