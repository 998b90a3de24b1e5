"""A long job that is neither a model nor a scene: a few named tensors, a recipe of three numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.runs.checkpoint_store import Retention
from splatlearn.runs.checkpoints import Contents, read_state, save
from splatlearn.runs.processes import Processes
from splatlearn.runs.recipe import StoredRecipe
from splatlearn.runs.schema import Schema

ALONE = Processes(torch.device("cpu"))
KEEP_ALL = Retention(9)
NAMES = ("scene", "moments")
"""Files of tensors of a toy checkpoint."""


@dataclass(frozen=True)
class ToyPlace:
    """Where a toy runs."""

    out: str
    resume: bool = False
    allow_other_data: bool = False
    stop_after: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Toy(StoredRecipe):
    """The recipe of a toy."""

    free = frozenset({"run.out", "run.resume", "run.allow_other_data", "run.stop_after", "run.device"})
    judged = frozenset({"batch"})
    other_data = "start another toy instead of {run}"

    run: ToyPlace
    rate: float = 0.5
    batch: int = 4
    names: tuple[str, ...] = field(default=("a", "b"))

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise InputError(f"rate: expected a number above 0, got {self.rate}")


def from_1(state: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 had no counter of what was seen."""
    return {"files": {}, **state, "schema": 2, "seen": state["step"] * 10}


def from_2(state: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 called them seen."""
    kept = {key: value for key, value in state.items() if key != "seen"}
    return {**kept, "schema": 3, "samples": state["seen"]}


SCHEMA = Schema(3, {1: from_1, 2: from_2}, "toy")


def toy_tensors(step: int) -> dict[str, dict[str, Tensor]]:
    """The tensors of a toy after a step, of several types and shapes."""
    generator = torch.Generator().manual_seed(step)
    means = torch.randn(5, 3, generator=generator)
    return {
        "scene": {"means": means, "ids": torch.arange(5), "half": means.bfloat16(), "empty": torch.zeros(0, 3)},
        "moments": {"exp_avg.means": means * 2, "step": torch.tensor(float(step))},
    }


def saved(run: Path, *steps: int, keep: Retention = KEEP_ALL) -> Path:
    """Checkpoints of these steps; returns the folder of the last."""
    folder = run
    for step in steps:
        contents = Contents(toy_tensors(step), '{"rate": 0.5}', write=lambda made: _write_note(made, "of the toy"))
        folder = save(run, contents, {"step": step, "samples": 10 * step}, SCHEMA, keep, ALONE)
    return folder


def read_toy(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The state of a toy and the checksums of its files."""
    return read_state(folder, SCHEMA)


def _write_note(folder: Path, text: str) -> None:
    (folder / "notes.json").write_text(f'"{text}"')
