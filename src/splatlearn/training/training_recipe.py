"""Options that every kind of training has: where it runs and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from splatlearn.core.errors import InputError
from splatlearn.runs.recipe import StoredRecipe, check_choices, check_range

Parallel = Literal["ddp", "fsdp"]
Precision = Literal["auto", "fp32", "bf16"]

FREE = {"run.out", "run.device", "run.precision", "run.checkpoint_every", "run.keep_checkpoints"}
FREE |= {"probe.probe_every", "probe.probe_data", "probe.probe_images", "probe.probe_pooling"}
FREE |= {"run.log_every", "run.trackers", "run.resume", "run.stop_after", "data.workers", "data.data"}
FREE |= {"data.validate_every", "run.keep_every", "run.max_skipped", "run.parallel", "run.allow_other_data"}
"""Fields by which runs may differ and still train alike."""

STEP = {"optimizer.batch_size", "optimizer.accumulate"}
"""Fields that say how the images of a step are shared; `step_shape` looks at them where a run goes on."""


class TrainingRecipe(StoredRecipe):
    """Base of the recipes of pre-training and fine-tuning, with the fields that the loop reads.

    `data` has `workers` and `max_unreadable`; `optimizer` has `epochs`, `batch_size`, `accumulate`,
    `base_learning_rate`, `warmup_epochs`, `min_learning_rate`, `betas` and `clip_norm`. Docstrings of these fields
    would become the help of the options of every recipe.
    """

    free = FREE
    judged = STEP

    run: RunOptions
    data: Any
    optimizer: Any


@dataclass(frozen=True)
class RunOptions:
    """Where training runs and what it writes."""

    out: str
    """Folder of the run."""
    seed: int = 0
    """Seed of the weights, the order of samples and all other randomness."""
    device: str = "auto"
    """The device: auto, cpu, cuda, cuda:1 or mps."""
    precision: Precision = "auto"
    """auto: bf16 if the device supports it natively, otherwise fp32."""
    checkpoint_every: int = 1000
    """Number of steps between checkpoints; the last step always has one."""
    keep_checkpoints: int = 3
    """Number of the newest checkpoints to keep."""
    keep_every: int = 0
    """Also keep every m-th checkpoint, in addition to the newest; 0: only the newest."""
    log_every: int = 10
    """Number of steps between writes of the log, which has one line per step."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Trackers that also receive the log: names of accelerate's trackers, or none."""
    resume: bool = False
    """Resume from the run's newest checkpoint."""
    allow_other_data: bool = False
    """Resume even if the images differ from those that the run began with."""
    stop_after: int | None = None
    """Stop with a checkpoint after this total number of steps; --resume continues the run. Default: the end of the
    schedule."""
    max_skipped: int = 10
    """Stop after this number of consecutive steps with a non-finite loss or gradient. Each such step is skipped and
    saved for replay."""
    parallel: Parallel = "ddp"
    """Training with several processes: each holds the whole model (ddp), or its parameters are sharded (fsdp)."""

    def __post_init__(self) -> None:
        if self.trackers == ("none",):
            object.__setattr__(self, "trackers", ())


def check_run(run: RunOptions) -> None:
    """Raise InputError naming the first of these options outside its range."""
    check_choices(precision=(run.precision, Precision), parallel=(run.parallel, Parallel))
    check_range(
        "a number above 0", lambda value: value > 0,
        checkpoint_every=run.checkpoint_every, keep_checkpoints=run.keep_checkpoints, log_every=run.log_every,
        max_skipped=run.max_skipped,
    )  # fmt: skip
    check_range(
        "a number ≥ 0", lambda value: value >= 0, seed=run.seed, keep_every=run.keep_every, stop_after=run.stop_after
    )
    check_range("a number below 2^64", lambda value: value < 2**64, seed=run.seed)


def check_betas(betas: tuple[float, float]) -> None:
    """Raise InputError unless both decay rates of Adam's moments lie in [0, 1)."""
    if not all(0 <= each < 1 for each in betas):
        raise InputError(f"betas: expected two numbers from 0 to below 1, got {betas}")


def check_crop_scale(scale: tuple[float, float] | None) -> None:
    """Raise InputError unless a range of shares of the area rises within (0, 1]; None is one."""
    if scale is not None and not 0 < scale[0] <= scale[1] <= 1:
        raise InputError(f"crop_scale: expected 0 < smallest ≤ largest ≤ 1, got {scale}")
