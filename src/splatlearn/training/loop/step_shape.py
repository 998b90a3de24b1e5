"""How many images a step has, and how the processes share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from splatlearn.core.disk.atomic import read_object
from splatlearn.runs.checkpoint_store import RECIPE
from splatlearn.runs.folder import RunFolderError
from splatlearn.training.loop.checkpoint import Progress


@dataclass(frozen=True)
class StepShape:
    """Images of one forward pass in one process, forward passes of a step, and processes."""

    batch_size: int
    accumulate: int
    processes: int

    @property
    def images_per_pass(self) -> int:
        """Images of one forward pass in all processes."""
        return self.batch_size * self.processes

    @property
    def images_per_step(self) -> int:
        """Images whose gradients make one step of the optimiser."""
        return self.images_per_pass * self.accumulate


def step_shape(given: StepShape, out: Path, progress: Progress | None, compares: bool) -> StepShape:
    """How a run's steps are shared; a resumed run's steps stay as large as they were, whatever the number of processes.

    - `given`: by the recipe and the number of processes.
    - `out`: the run's folder; `progress` that of the checkpoint to go on from, None for a new run.
    - `compares`: whether the loss compares the images of a forward pass, whose number must then stay too.

    With other processes than before, `batch_size` is chosen anew. Raises RunFolderError where that cannot be done, or
    where the recipe asks for steps of another size.
    """
    if progress is None or not progress.images_per_step:
        return given
    stored, asked = _stored(out), (given.batch_size, given.accumulate)
    per_pass = progress.images_per_pass or (stored or asked)[0]
    same_pass = given.images_per_pass == per_pass
    if given.images_per_step == progress.images_per_step and (same_pass or not compares):
        return given
    accumulate = progress.images_per_step // per_pass
    if stored == asked and per_pass % given.processes == 0:
        return StepShape(per_pass // given.processes, accumulate, given.processes)
    raise RunFolderError(
        f"batch_size, accumulate: expected steps of {progress.images_per_step} images, {per_pass} in each of "
        f"{accumulate} forward passes over all processes, as the run in {out} began with, got {given.batch_size} × "
        f"{given.accumulate} in {given.processes} processes; leave both options out, with a number of processes that "
        f"divides {per_pass}"
    )


def _stored(out: Path) -> tuple[int, int] | None:
    """The values of batch_size and accumulate in the run's recipe."""
    try:
        optimizer = read_object(out / RECIPE)["optimizer"]
        sizes = optimizer["batch_size"], optimizer["accumulate"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return sizes if all(type(each) is int for each in sizes) else None
