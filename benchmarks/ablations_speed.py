"""What a training step of each arm of the study costs, in turns, beside that of the MAE twin.

python -m benchmarks.ablations_speed --factors tuned paper --encoder micro [--rounds 15] [--json-file FILE]
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
import tyro

from benchmarks.ablations import Options, arms, base_recipe
from benchmarks.common import Task, interleave, median
from splatlearn.core.disk.atomic import write_whole
from splatlearn.data.loading.batch import Batch
from splatlearn.runs.folder import environment
from splatlearn.training import Recipe
from splatlearn.training.loop.parameter_groups import parameter_groups
from splatlearn.training.pretraining.cost import PretrainingCost
from splatlearn.training.pretraining.starting import new_model

TWIN = "mae normalised pixels"


def step_of(recipe: Recipe) -> tuple[Callable[[], None], int]:
    """A training step of a recipe on noise, and how many views it has."""
    model, device = new_model(recipe), torch.device("cpu")
    cost = PretrainingCost(recipe, model, device, "fp32")
    cost.at(1.0, 0)
    trained = torch.nn.ModuleList([model, cost.mutual.projector])
    options = recipe.optimizer
    groups = parameter_groups(trained, options.weight_decay, bool(options.decay_tokens))
    optimizer = torch.optim.AdamW(groups, lr=1e-5, fused=True)
    generator = torch.Generator().manual_seed(0)
    count = options.batch_size
    pixels = torch.randint(256, (count, 3, *model.image_size), dtype=torch.uint8, generator=generator)
    batch = Batch(pixels, torch.rand(count, cost.patches, generator=generator), torch.arange(count))

    def step() -> None:
        cost(model, batch, 0, 0).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), options.clip_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad()

    return step, count * (recipe.mutual.masks or 1)


def main(
    factors: tuple[str, ...] = ("tuned", "paper"),
    encoder: str = "micro",
    rounds: int = 15,
    json_file: Path | None = None,
) -> None:
    """Print medians of a step's time and, round by round, of its share of the twin's.

    Args:
        factors: Whose levels are timed, beside the base and the twin.
        encoder: Of every arm.
        rounds: Timings of each.
        json_file: Where the figures go.
    """
    given = Options(factors=tuple(dict.fromkeys(("mae", *factors))), encoder=encoder)  # pyright: ignore[reportArgumentType]
    made = {name: change(base_recipe(given, Path("none"), 0)).resolved() for name, change in arms(given).items()}
    timings = interleave([Task(name, *step_of(recipe), rounds) for name, recipe in made.items()])
    shares = {
        name: median([one / other for one, other in zip(each, timings[TWIN], strict=True)])
        for name, each in timings.items()
    }
    for name, each in timings.items():
        print(f"{name:24} {median(each):6.2f} ms a view  {shares[name]:.2f} of the MAE twin's")
    if json_file is not None:
        facts = {"milliseconds_per_view": timings, "shares": shares, "environment": environment()}
        options = {**dataclasses.asdict(given), "out": None}
        write_whole(json_file, json.dumps({"options": options, **facts}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
