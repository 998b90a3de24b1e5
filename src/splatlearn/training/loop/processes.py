"""How the processes that train one model are joined, share the model out, and report to trackers."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate.state import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, filter_trackers, get_available_trackers
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from splatlearn.core.errors import InputError
from splatlearn.runs.processes import Processes
from splatlearn.training.training_recipe import Parallel


def join_processes(device: torch.device) -> Processes:
    """Return the processes that torchrun (or whoever set RANK and WORLD_SIZE) started, or this one alone.

    `device` is the kind to compute on; with several processes, each has a device of its own of that kind.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    # Accelerate keeps the device of the first run in this process, so that its own is not used here.
    state = PartialState(cpu=device.type == "cpu")
    count = state.num_processes
    if count == 1:
        return Processes(device)
    if device.type == "cuda":
        device = torch.device("cuda", state.local_process_index)
        torch.cuda.set_device(device)
    return Processes(device, state.process_index, count, dist.new_group(backend="gloo"))


def part() -> None:
    """Destroy the process group if one was initialised."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def distribute(model: nn.Module, processes: Processes, parallel: Parallel) -> nn.Module:
    """The model on its device, its gradients averaged over processes: whole in each (ddp) or shared out (fsdp).

    With fsdp every transformer block is a unit of its own, gathered when it computes; one process alone has nothing to
    share out.
    """
    model = model.to(processes.device)
    if processes.count == 1:
        return model
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


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model that was passed to `distribute`."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def share_out(network: nn.Module, like: nn.Module) -> None:
    """Shard a network that learns with a model if the model is sharded."""
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


def check_trackers(names: Sequence[str]) -> None:
    """Raise InputError for a tracker that accelerate does not know, and for one whose package is not installed."""
    known = sorted(LOGGER_TYPE_TO_CLASS)
    for name in names:
        if name != "all" and name not in known:
            raise InputError(f"trackers: expected none, all or some of {', '.join(known)}, got {name!r}")
        if name != "all" and name not in map(str, get_available_trackers()):
            raise InputError(f"trackers: {name} is not installed; pip install {name}, or choose --trackers none")


class AccelerateTrackers:
    """Trackers of accelerate by name, as a `Logbook` uses them; their files lie in `folder`."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self._names, self._folder = names, folder
        self._trackers: list[GeneralTracker] = []

    def start(self, project: str, step: int) -> None:
        """Open the trackers at a step; of steps that are done again the later ones count."""
        for name in map(str, filter_trackers([*self._names], self._folder)):
            kind = LOGGER_TYPE_TO_CLASS[name]
            place = [str(self._folder)] if kind.requires_logging_directory else []
            tracker = kind(project, *place, **({"purge_step": step + 1} if name == "tensorboard" else {}))
            tracker.start()
            self._trackers.append(tracker)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Write the numbers of a step."""
        for tracker in self._trackers:
            tracker.log(dict(numbers), step=step)

    def finish(self) -> None:
        """Close the trackers."""
        for tracker in self._trackers:
            tracker.finish()
