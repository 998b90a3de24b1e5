"""Processor time of a training step of splat-mae, beside that of its transformer alone.

    python -m benchmarks.splat_step [--model splat-mae_vit_tiny] [--json-file FILE]

The transformer alone: the encoder's and the decoder's blocks on tokens of the same number, the last layer, the backward
pass and the optimiser's step. The rest of a step is grouping, embedding of groups, and the loss. Each part is
timed on one thread, several times in a row as in training; the least time counts, since other programs only add to it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro

from benchmarks.common import table
from splatlearn.data.splat_sets.dataset import SplatBatch
from splatlearn.models import SplatMAE, create_splat_model
from splatlearn.objectives.splat_sets import attribute_errors
from splatlearn.runs.folder import environment
from splatlearn.training import DataOptions, Recipe, RunOptions, SplatTraining
from splatlearn.training.splats.cost import SplatCost


@dataclass(frozen=True)
class Options:
    """What is timed."""

    model: str = "splat-mae_vit_tiny"
    """The model."""
    draw: int = 1024
    """Gaussians of a set."""
    groups: int = 64
    """Groups of a set."""
    group_size: int = 32
    """Gaussians of a group."""
    batch_size: int = 32
    """Sets in a step."""
    repeats: int = 5
    """Times that each is timed."""
    json_file: Path | None = None
    """File for all numbers."""


def random_batch(options: Options) -> SplatBatch:
    """Sets on a sphere with random attributes."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(options.batch_size, options.draw, *shape, generator=generator)

    parts = [F.normalize(uniform(3) - 0.5, dim=-1), uniform(1), 0.02 + 0.05 * uniform(3),
             F.normalize(uniform(4) - 0.5, dim=-1), uniform(3)]  # fmt: skip
    noise = torch.rand(options.batch_size, options.groups, generator=generator)
    numbers = torch.arange(options.batch_size)
    return SplatBatch(torch.cat(parts, dim=-1), noise, torch.zeros_like(numbers), numbers)


def timed(options: Options) -> dict[str, float]:
    """Least milliseconds of each part."""
    sizes: dict[str, Any] = {"draw": options.draw, "groups": options.groups, "group_size": options.group_size}
    recipe = Recipe(
        method="splat-mae",
        model=options.model,
        data=DataOptions(data="memory"),
        run=RunOptions(out="none", device="cpu", precision="fp32"),
        splats=SplatTraining(**sizes),
    ).resolved()
    model = create_splat_model(options.model, seed=0, options=recipe.splats.model_options())
    assert isinstance(model, SplatMAE)
    cost = SplatCost(recipe, model, torch.device("cpu"), "fp32")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    batch = random_batch(options)
    grouped = model.encoder.group(batch.sets)
    mask = cost.mask(grouped, batch.noise)
    output = model(grouped, mask)
    hidden = mask.hidden.shape[1]
    width = model.config.encoder.embed_dim
    embedded = torch.randn(options.batch_size, 1 + mask.visible.shape[1], width)

    def step() -> None:
        optimizer.zero_grad()
        cost(model, batch, 0, 0).loss.backward()
        optimizer.step()

    def transformer() -> None:
        optimizer.zero_grad()
        tokens = embedded.clone().requires_grad_()
        for block in model.encoder.blocks:
            tokens = block(tokens)
        tokens = model.decoder.embed(model.encoder.norm(tokens))
        tokens = torch.cat([tokens, model.decoder.mask_token.expand(len(tokens), hidden, -1)], dim=1)
        blocks = list(model.decoder.blocks)
        for index, block in enumerate(blocks):
            tokens = block(tokens, hidden if index == len(blocks) - 1 else None)
        model.head(model.decoder.norm(tokens)).sum().backward()
        optimizer.step()

    def grouping() -> None:
        model.encoder.group(batch.sets)

    def embedding() -> None:
        members = grouped.local(mask.visible, model.config.encoder.reach)
        model.encoder.group_embed(members, model.encoder._seen(grouped, mask)).sum().backward()

    def loss() -> None:
        predicted = output.predicted.detach().requires_grad_()
        torch.stack(list(attribute_errors(predicted, output.target).values())).sum().backward()

    parts: dict[str, Callable[[], None]] = {
        "step": step, "transformer alone": transformer, "grouping": grouping, "embedding": embedding, "loss": loss
    }  # fmt: skip
    return {name: least(part, options.repeats) for name, part in parts.items()}


def least(part: Callable[[], None], repeats: int) -> float:
    """Least processor time of a call in milliseconds, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        began = time.process_time()
        part()
        times.append(1e3 * (time.process_time() - began))
    return min(times[1:])


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    found = timed(options)
    whole = found["transformer alone"]
    print(
        table(
            ["part", "ms", "/ transformer"],
            [[name, f"{value:.0f}", f"{value / whole:.2f}"] for name, value in found.items()],
        )
    )
    if options.json_file is not None:
        told = {key: value for key, value in asdict(options).items() if key != "json_file"}
        machine = {key: value for key, value in environment().items() if key != "command"}
        text = json.dumps({"options": told, "milliseconds": found, "environment": machine}, indent=1)
        options.json_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
