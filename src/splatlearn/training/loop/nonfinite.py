"""Steps with a non-finite loss or gradient, saved as folders that can be run again.

`RUN/nonfinite/step-00000042/` holds the model as the step met it (`config.json`, `model.safetensors`), the networks of
the objective (`networks.safetensors`), every forward pass's batch of every process (`batch-PROCESS-PASS.safetensors`),
`recipe.json`, and `step.json`: what was measured, and what else the step depended on.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splatlearn.runs.checkpoint_store import RECIPE, place_folder
from splatlearn.runs.folder import NONFINITE, RunFolder
from splatlearn.runs.processes import Processes, whole
from splatlearn.runs.recipe import StoredRecipe
from splatlearn.runs.tensor_files import write_tensors
from splatlearn.training.loop.checkpoint import save_whole_model

DESCRIPTION = "step.json"
NETWORKS = "networks"
SCHEMA = 1
"""Version of what `step.json` holds."""
MOST = 5
"""Largest number of steps that a run saves."""


@dataclass(frozen=True, eq=False)
class TakenStep:
    """A step with everything that it was computed from.

    - `step`: its number from 0; `done`: the share of training before it; `epoch`, `place`: where it stands.
    - `networks`: those of the objective, before it; `parts`: what it measured.
    """

    step: int
    done: float
    epoch: int
    place: int
    batches: list[Any]
    networks: dict[str, Tensor]
    parts: dict[str, Tensor]


class Captures:
    """Saves steps that are not finite into a run's folder."""

    def __init__(self, run: RunFolder, recipe: StoredRecipe, precision: str, processes: Processes) -> None:
        self.run = run
        self.recipe = recipe
        self.precision = precision
        self.processes = processes

    def save(self, model: nn.Module, taken: TakenStep) -> str:
        """Save a step with the model that it met, and say so; every process must call it.

        A disk that takes no more loses the step, not the run.
        """
        measured = {name: float(value) for name, value in taken.parts.items()}
        said = f"step {taken.step + 1} was skipped: loss {measured['loss']:g}, gradient norm {measured['grad_norm']:g}"
        folder = self.run.path / NONFINITE
        if self.processes.first(lambda: len(list(folder.glob("step-*")))) >= MOST:
            return f"{said}; {MOST} such steps are saved already"
        target = folder / f"step-{taken.step + 1:08d}"
        networks = {name: whole(value) for name, value in taken.networks.items()}

        def write(beside: Path) -> list[Path]:
            for number, batch in enumerate(taken.batches):
                write_tensors(beside, f"batch-{self.processes.rank:05d}-{number:05d}", batch_tensors(batch))
            if self.processes.main:
                save_whole_model(model, beside)
                write_tensors(beside, NETWORKS, networks)
            return sorted(beside.glob(f"batch-{self.processes.rank:05d}-*"))

        def finish(beside: Path, files: dict[str, str]) -> list[Path]:
            (beside / RECIPE).write_text(self.recipe.to_json(), encoding="utf-8")
            (beside / DESCRIPTION).write_text(json.dumps(self._description(taken, measured), indent=2))
            return [each for each in beside.iterdir() if each.name not in files]

        try:
            place_folder(target, write, finish, self.processes)
        except OSError as refusal:
            return f"{said}; it could not be saved: {refusal}"
        return f"{said}; splatlearn replay {target}"

    def _description(self, taken: TakenStep, measured: dict[str, float]) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "splatlearn": importlib.metadata.version("splatlearn"),
            "kind": type(self.recipe).__name__,
            "step": taken.step + 1,
            "done": taken.done,
            "epoch": taken.epoch,
            "place": taken.place,
            "passes": len(taken.batches),
            "processes": self.processes.count,
            "precision": self.precision,
            "device": self.processes.device.type,
            "batch": type(taken.batches[0]).__name__,
            # JSON has no NaN.
            "measured": {name: value if math.isfinite(value) else str(value) for name, value in measured.items()},
        }


def batch_tensors(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch by name of their field."""
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
