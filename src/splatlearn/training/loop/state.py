"""Weights and moments as tensors by name, and back into models and optimisers, whole or shared out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from splatlearn.core.checks import check_stored
from splatlearn.core.errors import FormatError
from splatlearn.models.folders.weight_shapes import check_shapes
from splatlearn.runs.checkpoint_store import CheckpointError
from splatlearn.runs.processes import local, whole
from splatlearn.runs.tensor_files import TensorFiles


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors named `<entry>.<parameter name>`."""
    return {
        f"{entry}.{name}": value
        for name, parameter in model.named_parameters()
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model, put together on the CPU; all processes must ask for it."""
    return {name: whole(value).detach().cpu() for name, value in model.state_dict().items()}


@torch.no_grad()
def restore_weights(model: nn.Module, files: TensorFiles, prefix: str = "") -> None:
    """Load stored weights into a model.

    Raises CheckpointError naming what is missing, unexpected, of other shape or not finite.
    """
    wanted = model.state_dict()
    found = {key.removeprefix(prefix): shape for key, shape in files.shapes.items() if key.startswith(prefix)}
    try:
        check_shapes({name: tuple(value.shape) for name, value in wanted.items()}, found)
    except FormatError as error:
        raise CheckpointError(f"{files.folder} is a checkpoint of another model: {error}") from error
    for name, value in wanted.items():
        stored = files.like(prefix + name, value)
        try:
            check_stored(prefix + name, stored)
        except FormatError as error:
            raise CheckpointError(f"{files.folder}: {files.name}: {error}") from error
        local(value).copy_(stored)


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, files: TensorFiles, prefix: str = "") -> None:
    """Restore the state that `optimizer_tensors` returned; raises CheckpointError for tensors of another model."""
    parameters = dict(model.named_parameters())
    for key in files.shapes:
        if not key.startswith(prefix):
            continue
        entry, _, name = key.removeprefix(prefix).partition(".")
        if name not in parameters:
            raise CheckpointError(
                f"{files.folder}: {files.name}: expected moments of this model's parameters, got {name!r}"
            )
        parameter = parameters[name]
        if files.shapes[key] not in ((), tuple(parameter.shape)):
            raise CheckpointError(
                f"{files.folder}: {files.name}: expected moments of this model's parameters, got "
                f"{list(files.shapes[key])} for {name}, which has {list(parameter.shape)}"
            )
        # The step counter of fused AdamW lies on the parameter's device in float32, the moments in its dtype.
        optimizer.state[parameter][entry] = _moment(files, key, parameter)


def _moment(files: TensorFiles, key: str, parameter: Tensor) -> Tensor:
    if not isinstance(parameter, DTensor) or files.shapes[key] != tuple(parameter.shape):
        return files.whole(key).to(parameter.device)
    rows = files.like(key, parameter).to(parameter.device)
    mesh, shape = parameter.device_mesh, parameter.shape
    return DTensor.from_local(rows, mesh, parameter.placements, shape=shape, stride=parameter.stride())
