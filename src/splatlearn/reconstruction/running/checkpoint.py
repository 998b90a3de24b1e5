"""Checkpoints of a reconstruction: the fit's tensors, and what else a run needs to go on with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from splatlearn.core.errors import FormatError
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.core.typed import build
from splatlearn.runs import checkpoints
from splatlearn.runs.checkpoint_store import Retention
from splatlearn.runs.processes import Processes
from splatlearn.runs.schema import Schema

SCHEMA = Schema(1, what="checkpoint of a scene")
FRAME_NUMBERS = 13
FIT = "fit"
"""Name of the tensors of `SceneFit.state_dict`."""


@dataclass(frozen=True)
class SceneProgress:
    """How far a run is.

    - `step`: steps that were done; `seconds`: that they took, evaluations and checkpoints left out.
    - `start`, `cap`: the first and the largest number of Gaussians, which growth follows from. Another machine, or less
      free memory, changes nothing of a run that goes on.
    - `frame`: of the fit: the scale, rotation and translation from the capture's world, 13 numbers row by row. Cameras
      that are added later do not move the Gaussians.
    - `unreadable`: reasons by names of photographs; `skipped`, `removed`: steps without an update, and Gaussians that
      were removed since they were not finite.
    """

    step: int
    start: int
    cap: int
    frame: tuple[float, ...]
    seconds: float = 0.0
    unreadable: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    removed: int = 0

    @property
    def to_unit(self) -> Similarity:
        """The map from the capture's world into the frame of the fit."""
        turn = np.array(self.frame[1:10], dtype=np.float64).reshape(3, 3)
        return Similarity(self.frame[0], turn, np.array(self.frame[10:], dtype=np.float64))


def frame_of(similarity: Similarity) -> tuple[float, ...]:
    """The numbers of a similarity, as `SceneProgress` stores them."""
    return (similarity.scale, *similarity.rotation.flatten().tolist(), *similarity.translation.tolist())


def save_scene(
    run: Path, tensors: Mapping[str, Tensor], recipe: str, progress: SceneProgress, keep: int, processes: Processes
) -> Path:
    """Write a checkpoint; raises CheckpointError where the folder cannot be written."""
    contents = checkpoints.Contents({FIT: tensors}, recipe)
    return checkpoints.save(run, contents, asdict(progress), SCHEMA, Retention(keep), processes)


def newest_scene(run: Path) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest checkpoint that is whole, and what is wrong with newer ones; see `newest_whole`."""
    return checkpoints.newest_whole(run, lambda folder: checkpoints.read_state(folder, SCHEMA), (FIT,))


def read_scene(folder: Path) -> tuple[SceneProgress, dict[str, Tensor]]:
    """Return the progress and the tensors of a checkpoint; raises CheckpointError for one that cannot be read."""
    state, _ = checkpoints.read_state(folder, SCHEMA)
    try:
        progress = build(SceneProgress, state, extra=True)
        if len(progress.frame) != FRAME_NUMBERS:
            raise FormatError(f"frame: expected {FRAME_NUMBERS} numbers, got {len(progress.frame)}")
    except ValueError as error:
        raise checkpoints.CheckpointError(f"{folder}: {error}") from error
    return progress, checkpoints.open_tensors(folder, FIT).all()
