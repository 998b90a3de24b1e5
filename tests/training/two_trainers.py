"""One of two processes that train together; started with the name of a scenario and a folder.

RANK, WORLD_SIZE and the rest are in the environment, as torchrun puts them there. Prints "ok" when all is done.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from splatlearn.models import presets
from splatlearn.training import MutualInformationOptions, ObjectiveOptions, Recipe, RunResult, pretrain
from splatlearn.training.loop import engine
from splatlearn.training.pretraining.recipe import OptimizerOptions
from training.small_run import pictures, small_recipe

SMALL = (24, 2, 3)
"""Width, depth and heads of an encoder whose steps take milliseconds."""
RANK = int(os.environ.get("RANK", "0"))


def recipe(out: Path, method: str, batch_size: int, accumulate: int = 1, minimize: float = 0.0, **run) -> Recipe:
    """A run of nine steps."""
    small = small_recipe(out, method.removeprefix("mi-"), **run)
    optimizer = OptimizerOptions(epochs=3, batch_size=batch_size, base_learning_rate=2e-2, accumulate=accumulate)
    if method.startswith("mi-"):
        mutual = MutualInformationOptions(
            projector=8, estimator_width=16, maximize_weight=0.1, minimize_weight=minimize
        )
        small = dataclasses.replace(small, mutual=mutual, objective=ObjectiveOptions(0.75, normalize_targets=False))
    return dataclasses.replace(small, method=method, optimizer=optimizer)  # type: ignore[arg-type]


def curves(folder: Path) -> None:
    """Every way to share a run, whole or up to a stop; the test compares them with runs of one process."""
    for method in ("gmae", "mi-gmae"):
        for parallel in ("ddp", "fsdp"):
            train(recipe(folder / f"{method}-{parallel}", method, 4, parallel=parallel))
            train(recipe(folder / f"{method}-{parallel}-stopped", method, 4, parallel=parallel, stop_after=4))
        # One process began it with batches of 8.
        train(recipe(folder / f"{method}-alone-stopped", method, 8, resume=True))
    train(recipe(folder / "mi-gmae-default", "mi-gmae", 4, minimize=0.01))
    train(recipe(folder / "gmae-fsdp-twice", "gmae", 4, parallel="fsdp", stop_after=4))
    train(recipe(folder / "gmae-fsdp-twice", "gmae", 4, parallel="fsdp", resume=True))
    once, twice = (shared_gradients(folder / f"passes-{count}", 4 // count, count) for count in (1, 2))
    assert once == twice > 0, (once, twice)
    stops_together(folder / "asked")


def train(asked: Recipe) -> RunResult:
    return pretrain(asked, pictures())


def shared_gradients(out: Path, batch_size: int, accumulate: int) -> int:
    """How often gradients go round in four steps."""
    calls = 0

    # DDP looks at annotations, and does not understand them as text.
    def count(state, bucket):
        nonlocal calls
        calls += 1
        return allreduce_hook(state, bucket)

    distribute = engine.distribute

    def counted(*arguments) -> nn.Module:
        model = distribute(*arguments)
        assert isinstance(model, nn.parallel.DistributedDataParallel)
        model.register_comm_hook(None, count)
        return model

    engine.distribute = counted
    try:
        train(recipe(out, "gmae", batch_size, accumulate, stop_after=4))
    finally:
        engine.distribute = distribute
    return calls


def at_step(number: int, action: Callable[[], None]) -> None:
    """Do something in the second process when it begins a step."""
    step = engine.TrainingLoop._train_step

    def hooked(self: engine.TrainingLoop, *arguments) -> None:
        if RANK == 1 and self.step == number:
            action()
        step(self, *arguments)

    engine.TrainingLoop._train_step = hooked  # pyright: ignore[reportAttributeAccessIssue]


def stops_together(out: Path) -> None:
    """A signal to one process stops all at the same step."""
    step = engine.TrainingLoop._train_step
    at_step(2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    result = train(recipe(out, "gmae", 4))
    engine.TrainingLoop._train_step = step
    everyone: list = [None, None]
    dist.all_gather_object(everyone, (result.steps, result.requeue, result.interrupted))
    assert everyone[0] == everyone[1] and everyone[0][1:] == (True, True), everyone
    assert 3 <= result.steps <= 5


def dies(folder: Path) -> None:
    """The second process raises in its third step."""

    def die() -> None:
        (folder / "death").write_text(str(time.time()))
        raise RuntimeError("this process dies")

    at_step(2, die)
    train(recipe(folder / "run", "gmae", 4))


if __name__ == "__main__":
    presets.ENCODERS["tiny"] = SMALL
    {"curves": curves, "dies": dies}[sys.argv[1]](Path(sys.argv[2]))
    dist.destroy_process_group()
    print("ok")
