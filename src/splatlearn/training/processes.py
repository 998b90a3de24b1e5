"""The processes that train one model: which this is, what they agree on, and how they share the model."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from splatlearn.core.errors import InputError
from splatlearn.training.recipe import Parallel

Result = TypeVar("Result")


class Processes:
    """The training processes that torchrun (or whoever set RANK and WORLD_SIZE) started, or this one alone.

    - `device`: the kind to compute on; `self.device` is this process's own.

    `rank` is this process's number of `count`. What they tell each other about the run goes over the CPU, beside the
    gradients, so that it waits for no device.
    """

    def __init__(self, device: torch.device) -> None:
        known = PartialState._shared_state.get("device")
        if known is not None and known.type != device.type:
            # A process that ran on another device before: accelerate keeps the first one unless told.
            AcceleratorState._reset_state(reset_partial_state=True)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        state = PartialState(cpu=device.type == "cpu")
        self.rank, self.count = state.process_index, state.num_processes
        self.device = cast("torch.device", state.device) if self.count > 1 else device
        self.control: Any = dist.new_group(backend="gloo") if self.count > 1 else None

    @property
    def main(self) -> bool:
        """Whether this is the process that writes, draws and speaks."""
        return self.rank == 0

    def first(self, action: Callable[[], Result]) -> Result:
        """What the action returns on the main process, on all of them; what it raises there is raised on all."""
        if self.count == 1:
            return action()
        told: list[Any] = [None, None]
        if self.main:
            try:
                told[0] = action()
            except Exception as error:
                told[1] = error
        dist.broadcast_object_list(told, src=0, group=self.control)
        if told[1] is not None:
            raise told[1]
        return told[0]

    def gather(self, value: Result) -> list[Result]:
        """The values of all processes, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self.control)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor on the CPU over all processes."""
        if self.count == 1:
            return values
        total = values.clone()
        dist.all_reduce(total, group=self.control)
        return total / self.count

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.count > 1:
            dist.barrier(group=self.control)


def part() -> None:
    """End what the processes share, when they have nothing left to do."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def distribute(model: nn.Module, accelerator: Accelerator, processes: Processes, parallel: Parallel) -> nn.Module:
    """The model on its device, its gradients averaged over processes: whole in each (ddp) or shared out (fsdp).

    With fsdp every transformer block is a unit of its own, gathered when it computes; one process alone has nothing to
    share out.
    """
    if processes.count == 1:
        return accelerator.prepare(model)
    model = model.to(processes.device)
    if parallel == "ddp":
        # The models' buffers are constants, alike in all processes from the start.
        news = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        still: dict[str, Any] = {"forward_sync_buffers" if news else "broadcast_buffers": False}
        devices = [processes.device] if processes.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True, **still)
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for module in list(model.modules()):
        if isinstance(module, nn.ModuleList):
            for block in module:
                fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def share_out(network: nn.Module, like: nn.Module) -> None:
    """Treat a network that learns with a model as that is treated: shared out if it is, else left whole."""
    if isinstance(like, FSDPModule) and any(True for _ in network.parameters()):
        fully_shard(network, mesh=init_device_mesh(next(like.parameters()).device.type, (dist.get_world_size(),)))


def is_sharded(model: nn.Module) -> bool:
    """Whether the model is shared out over processes."""
    return isinstance(model, FSDPModule)


@contextlib.contextmanager
def gradients_stay(model: nn.Module, stay: bool) -> Iterator[None]:
    """Inside, a backward pass leaves its gradients in this process if they are to stay, and shares them if not."""
    if not stay or not isinstance(model, FSDPModule | DistributedDataParallel):
        yield
    elif isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)
    else:
        with model.no_sync():
            yield


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be shared out over processes, put together; all processes must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def check_trackers(names: Sequence[str]) -> None:
    """Raise InputError for a tracker that accelerate does not know, and for one whose package is not installed."""
    known = sorted(LOGGER_TYPE_TO_CLASS)
    for name in names:
        if name != "all" and name not in known:
            raise InputError(f"trackers: expected none, all or some of {', '.join(known)}, got {name!r}")
        if name != "all" and name not in map(str, get_available_trackers()):
            raise InputError(f"trackers: {name} is not installed; pip install {name}, or choose --trackers none")


def make_accelerator(device: torch.device, trackers: Sequence[str], folder: Path) -> Accelerator:
    """An Accelerator on the device; precision stays with the loop, since accelerate fixes it once per process."""
    return Accelerator(cpu=device.type == "cpu", log_with=[*trackers] or None, project_dir=str(folder))
