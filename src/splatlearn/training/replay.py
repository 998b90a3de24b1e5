"""Run a step again that was skipped for a non-finite loss or gradient, and say where the trouble begins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from splatlearn.core.device import choose_device, choose_precision
from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import InputError
from splatlearn.core.typed import read_as, shown
from splatlearn.data.batch import Batch
from splatlearn.models import GMAE, MAE, load_classifier, load_model
from splatlearn.training.checkpoint import open_tensors
from splatlearn.training.checkpoint_files import RECIPE
from splatlearn.training.cost import Cost
from splatlearn.training.finetune_cost import FinetuneCost
from splatlearn.training.finetune_data import LabelledBatch
from splatlearn.training.finetune_recipe import FinetuneRecipe
from splatlearn.training.guard import finite_or_nan
from splatlearn.training.nonfinite import DESCRIPTION, NETWORKS, SCHEMA
from splatlearn.training.pretraining_cost import PretrainingCost
from splatlearn.training.recipe import Recipe
from splatlearn.training.stored_recipe import check_range
from splatlearn.training.tensor_files import TensorFiles

BATCHES = {"Batch": Batch, "LabelledBatch": LabelledBatch}


class ReplayError(InputError):
    """A folder does not hold a step that can be run again."""


@dataclass(frozen=True)
class _Step:
    """What is read of a `step.json`."""

    kind: Literal["Recipe", "FinetuneRecipe"]
    step: int
    done: float
    epoch: int
    place: int
    passes: int
    processes: int
    precision: Literal["fp32", "bf16"]
    batch: Literal["Batch", "LabelledBatch"]
    measured: dict[str, float | Literal["nan", "inf", "-inf"]]

    def __post_init__(self) -> None:
        whole = {"step": self.step, "passes": self.passes, "processes": self.processes}
        check_range("a number above 0", lambda value: value > 0, **whole)
        check_range("a number ≥ 0", lambda value: value >= 0, epoch=self.epoch, place=self.place)
        check_range("a number between 0 and 1", lambda value: 0 <= value <= 1, done=self.done)


@dataclass(frozen=True)
class Replayed:
    """What a step gave when it was run again.

    `loss` and `grad_norm` now, `before` what the run measured. `module` is the first module whose output was not
    finite, `parameters` the names of those whose gradient is not; None and empty where all is finite.
    """

    step: int
    loss: float
    grad_norm: float
    before: dict[str, float]
    module: str | None
    parameters: list[str]

    @property
    def finite(self) -> bool:
        """Whether nothing was wrong this time."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def replay(folder: str | Path, device: str = "auto", precision: str | None = None) -> Replayed:
    """Run the step in a folder `RUN/nonfinite/step-…` again, in one process; the run is left alone.

    `precision`: fp32 or bf16; the run's own by default. Raises ReplayError for a folder without such a step.
    """
    folder = Path(folder)
    told = _description(folder)
    where = choose_device(device)
    model, cost = _model_and_cost(folder, told, where, choose_precision(precision or told.precision, where))
    model.train()
    cost.at(told.done, told.step - 1)
    losses: list[Tensor] = []
    passes = list(_passes(folder, told, cost))
    with _first_bad_module(model) as bad:
        for place, batch in passes:
            loss = cost(model, batch, told.epoch, place).loss
            (finite_or_nan(loss) / len(passes)).backward()
            losses.append(loss.detach())
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return Replayed(
        step=told.step,
        loss=float(torch.stack(losses).mean()),
        grad_norm=float(torch.nn.utils.get_total_norm(list(gradients.values()))),
        before={name: float(value) for name, value in told.measured.items()},
        module=bad[0] if bad else None,
        parameters=[name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient).all())],
    )


def _description(folder: Path) -> _Step:
    path = folder / DESCRIPTION
    try:
        version = read_object(path)["schema"]
        if type(version) is int and version == SCHEMA:
            return read_as(_Step, path, extra=True)
    except (OSError, ValueError, KeyError) as error:
        raise ReplayError(
            f"{folder}: expected a step that a run saved under nonfinite/, got a folder without a readable "
            f"{DESCRIPTION} ({error})"
        ) from error
    raise ReplayError(f"{path}: expected schema {SCHEMA}, got {shown(version)}; update splatlearn to run it again")


def _model_and_cost(folder: Path, told: _Step, device: torch.device, precision: str) -> tuple[nn.Module, Cost]:
    if told.kind == FinetuneRecipe.__name__:
        classifier = load_classifier(folder, device)
        recipe = FinetuneRecipe.read(folder / RECIPE)
        assert recipe.optimizer.drop_path is not None
        classifier.encoder.set_drop_path(recipe.optimizer.drop_path)
        return classifier, FinetuneCost(recipe, classifier, device, precision)
    model: MAE | GMAE = load_model(folder, device)
    cost = PretrainingCost(Recipe.read(folder / RECIPE), model, device, precision)
    if cost.networks():
        cost.restore(open_tensors(folder, NETWORKS))
    return model, cost


def _passes(folder: Path, told: _Step, cost: Cost) -> Iterator[tuple[int, Any]]:
    """The batches of the step's forward passes and their places; those of several processes joined where they were."""
    kind, processes = BATCHES[told.batch], told.processes
    for number in range(told.passes):
        place = told.place * told.passes + number
        batches = [_batch(folder, kind, f"batch-{rank:05d}-{number:05d}") for rank in range(processes)]
        if cost.joins_processes:
            joined = {name: torch.cat([each[name] for each in batches]) for name in batches[0]}
            yield place, kind(**joined)
        else:
            for rank, batch in enumerate(batches):
                yield place * processes + rank, kind(**batch)


def _batch(folder: Path, kind: type, name: str) -> dict[str, Tensor]:
    try:
        tensors = TensorFiles(folder, name).all()
    except (OSError, ValueError, SafetensorError) as error:
        raise ReplayError(f"{folder}: expected the batch {name} of the step, got {error}") from error
    known = {field.name for field in dataclasses.fields(kind)}
    return {key: value for key, value in tensors.items() if key in known}


@contextmanager
def _first_bad_module(model: nn.Module) -> Iterator[list[str]]:
    """Inside, the names of modules whose output is not finite are listed, innermost and first ones first."""
    bad: list[str] = []

    def watch(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
            bad.append(name)

    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: watch(name, output))
        for name, module in model.named_modules()
        if name
    ]
    try:
        yield bad
    finally:
        for hook in hooks:
            hook.remove()
