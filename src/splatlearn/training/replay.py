"""Run a step again that was skipped for a non-finite loss or gradient, and say where the trouble begins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from splatlearn.core.checks import check_stored
from splatlearn.core.device import choose_device, choose_precision
from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import InputError, MissingError
from splatlearn.core.typed import read_as, shown
from splatlearn.data.loading.batch import Batch
from splatlearn.data.splat_sets.dataset import SplatBatch
from splatlearn.models import GMAE, MAE, Classifier, load_classifier, load_model, load_splat_model
from splatlearn.models.nn.sizes import ViTConfig
from splatlearn.models.splats.presets import SplatModel
from splatlearn.runs.checkpoint_store import RECIPE
from splatlearn.runs.checkpoints import open_tensors
from splatlearn.runs.folder import NONFINITE
from splatlearn.runs.recipe import check_range
from splatlearn.runs.tensor_files import TensorFiles
from splatlearn.training.finetuning.augment import OPERATIONS
from splatlearn.training.finetuning.cost import FinetuneCost, SplatFinetuneCost
from splatlearn.training.finetuning.data import LabelledBatch
from splatlearn.training.finetuning.recipe import FinetuneRecipe
from splatlearn.training.loop.cost import Cost
from splatlearn.training.loop.guard import finite_or_nan
from splatlearn.training.loop.nonfinite import DESCRIPTION, NETWORKS, SCHEMA
from splatlearn.training.pretraining.cost import PretrainingCost
from splatlearn.training.pretraining.recipe import Recipe
from splatlearn.training.splats.cost import SplatCost

SHAPES: dict[type, dict[str, tuple[torch.dtype, tuple[str, ...]]]] = {
    Batch: {
        "images": (torch.uint8, ("B", "3", "H", "W")),
        "noise": (torch.float32, ("B", "N")),
        "indices": (torch.int64, ("B",)),
    },
    SplatBatch: {
        "sets": (torch.float32, ("B", "K", "14")),
        "noise": (torch.float32, ("B", "N")),
        "labels": (torch.int64, ("B",)),
        "indices": (torch.int64, ("B",)),
    },
    LabelledBatch: {
        "images": (torch.uint8, ("B", "3", "H", "W")),
        "labels": (torch.int64, ("B",)),
        "operations": (torch.int64, ("B", "R")),
        "strengths": (torch.float32, ("B", "R")),
        "boxes": (torch.int64, ("B", "4")),
        "indices": (torch.int64, ("B",)),
    },
}
"""Dtypes and axes of the tensors of a batch; equal letters stand for equal sizes."""
BATCHES = {"Batch": Batch, "LabelledBatch": LabelledBatch, "SplatBatch": SplatBatch}


AnyModel = MAE | GMAE | Classifier | SplatModel


class ReplayError(InputError):
    """A folder does not hold a step that can be run again."""


class MissingStepError(ReplayError, MissingError):
    """There is no such folder, or no step in it."""


@dataclass(frozen=True)
class _Step:
    """The fields of `step.json` that a replay reads."""

    kind: Literal["Recipe", "FinetuneRecipe"]
    step: int
    done: float
    epoch: int
    place: int
    passes: int
    processes: int
    precision: Literal["fp32", "bf16"]
    batch: Literal["Batch", "LabelledBatch", "SplatBatch"]
    measured: dict[str, float | Literal["nan", "inf", "-inf"]]

    def __post_init__(self) -> None:
        whole = {"step": self.step, "passes": self.passes, "processes": self.processes}
        check_range("a number above 0", lambda value: value > 0, **whole)
        check_range("a number ≥ 0", lambda value: value >= 0, epoch=self.epoch, place=self.place)
        check_range("a number between 0 and 1", lambda value: 0 <= value <= 1, done=self.done)


@dataclass(frozen=True)
class Replayed:
    """The result of a step that was run again.

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
        """Whether loss and gradient were finite this time."""
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
    passes = list(_passes(folder, told, cost, _sizes(model)))
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
    if not folder.is_dir():
        raise MissingStepError(
            "folder: expected one that a run saved under nonfinite/, such as RUN/nonfinite/step-00000042, got "
            f"{folder}, which is {'a file' if folder.exists() else 'not there'}"
        )
    if not path.is_file():
        saved = sorted([*folder.glob("step-*"), *folder.glob(f"{NONFINITE}/step-*")])[:1]
        raise MissingStepError(
            f"{folder}: expected a step that a run saved under nonfinite/, got a folder without a {DESCRIPTION}"
            f"{f'; it has {saved[0]}' if saved else ''}"
        )
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


def _model_and_cost(folder: Path, told: _Step, device: torch.device, precision: str) -> tuple[AnyModel, Cost]:
    if told.kind == FinetuneRecipe.__name__:
        classifier = load_classifier(folder, device)
        recipe = FinetuneRecipe.read(folder / RECIPE)
        assert recipe.optimizer.drop_path is not None
        classifier.set_drop_path(recipe.optimizer.drop_path)
        of_images = isinstance(classifier.config.encoder, ViTConfig)
        return classifier, (FinetuneCost if of_images else SplatFinetuneCost)(recipe, classifier, device, precision)
    pretraining = Recipe.read(folder / RECIPE)
    if pretraining.learns_from_splats:
        splat_model = load_splat_model(folder, device)
        cost: Cost = SplatCost(pretraining, splat_model, device, precision)
        if cost.networks():
            cost.restore(open_tensors(folder, NETWORKS))
        return splat_model, cost
    model: MAE | GMAE = load_model(folder, device)
    cost = PretrainingCost(pretraining, model, device, precision)
    if cost.networks():
        cost.restore(open_tensors(folder, NETWORKS))
    return model, cost


def _sizes(model: AnyModel) -> dict[str, int]:
    """The sizes of samples and noise, by their letters in `SHAPES`, and the number of classes that the model is for."""
    encoder = model.config.encoder
    if not isinstance(encoder, ViTConfig):
        return {"K": encoder.draw, "N": encoder.groups, "C": 0}
    (height, width), grid = encoder.image_size, encoder.grid
    classes = len(model.config.classes) if isinstance(model, Classifier) else 0
    return {"H": height, "W": width, "N": grid[0] * grid[1], "C": classes}


def _passes(folder: Path, told: _Step, cost: Cost, sizes: dict[str, int]) -> Iterator[tuple[int, Any]]:
    """The batches of the step's forward passes and their places; those of several processes joined where they were."""
    kind, processes = BATCHES[told.batch], told.processes
    for number in range(told.passes):
        place = told.place * told.passes + number
        batches = [_batch(folder, kind, f"batch-{rank:05d}-{number:05d}", sizes) for rank in range(processes)]
        if cost.joins_processes:
            joined = {name: torch.cat([each[name] for each in batches]) for name in batches[0]}
            yield place, kind(**joined)
        else:
            for rank, batch in enumerate(batches):
                yield place * processes + rank, kind(**batch)


def _batch(folder: Path, kind: type, name: str, known: dict[str, int]) -> dict[str, Tensor]:
    """The tensors of a batch; raises ReplayError for others than the step's, FormatError for numbers not finite."""
    try:
        tensors = TensorFiles(folder, name).all()
    except (OSError, ValueError, SafetensorError) as error:
        raise ReplayError(f"{folder}: expected the batch {name} of the step, got {error}") from error
    sizes = dict(known)
    for key in SHAPES[kind]:
        _check(f"{folder}: {name}: {key}", tensors.get(key), *SHAPES[kind][key], sizes)
    # The places of classes and operations are looked up.
    classes = (0, sizes["C"] - 1) if kind is LabelledBatch else (-1, 2**31)
    for key, low, high in (("labels", *classes), ("operations", -1, len(OPERATIONS) - 1)):
        if key in SHAPES[kind] and not bool(((tensors[key] >= low) & (tensors[key] <= high)).all()):
            raise ReplayError(f"{folder}: {name}: {key}: expected numbers from {low} to {high}, got others")
    return {key: tensors[key] for key in SHAPES[kind]}


def _check(where: str, value: Tensor | None, dtype: torch.dtype, axes: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Compare a tensor with its dtype and axes; sizes of letters that are not known yet are those that it has."""
    kind = str(dtype).removeprefix("torch.")
    fits = value is not None and value.dtype == dtype and value.ndim == len(axes)
    if value is not None and fits:
        wanted = [
            int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
            for axis, size in zip(axes, value.shape, strict=True)
        ]
        fits = wanted == list(value.shape)
    if value is None or not fits:
        told = ", ".join(f"{axis}={sizes[axis]}" if axis in sizes else axis for axis in axes)
        got = "none" if value is None else f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        raise ReplayError(f"{where}: expected {kind} [{told}], got {got}; the file is damaged or of another run")
    if value.is_floating_point():
        check_stored(where, value)


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
