"""Mutual information between and within masks: do the bounds hold, what do the terms cost, and what are they worth?

python -m benchmarks.mutual_information bounds --json-file benchmarks/results/mutual_bounds.json
python -m benchmarks.mutual_information speed
python -m benchmarks.mutual_information compare --out runs/mutual --data cifar10 --json-file FILE
python -m benchmarks.mutual_information compare --out runs/mutual --arms mi \\
    --maximize-weights 0.001 0.003 0.01 0.03 0.1 --minimize-weights 1e-5 3e-5 1e-4 3e-4 1e-3
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable
from pathlib import Path

import torch
import tyro

from benchmarks.common import PAPER_LIKE, Task, interleave, median
from benchmarks.mutual_bounds import HEAD, BoundOptions, bound_rows, line
from benchmarks.mutual_compare import ARMS, MASKS, CompareOptions, compare, summary
from splatlearn.models import MAE, ModelOptions, create_model, join_masks, model_config, orthogonal_masks
from splatlearn.objectives import WeightedSum
from splatlearn.runs.folder import environment
from splatlearn.training import DataOptions, ObjectiveOptions, Recipe, RunOptions
from splatlearn.training.loop.parameter_groups import parameter_groups
from splatlearn.training.pretraining.cost import reconstruction_term
from splatlearn.training.pretraining.mutual_information import MutualInformation


def bounds(options: BoundOptions, json_file: Path | None = None) -> None:
    """Compare the bounds with mutual information in closed form, made of true densities and of trained networks."""
    rows = []
    print(HEAD)
    for row in bound_rows(options):
        rows.append(row)
        print(line(row), flush=True)
    broken = [row for row in rows if "NOT" in row.verdict or "WRONG" in row.verdict]
    print(f"{len(rows) - len(broken)} of {len(rows)} within the stated tolerances")
    _write(
        json_file,
        {
            "options": dataclasses.asdict(options),
            "rows": [dataclasses.asdict(row) for row in rows],
            "broken": len(broken),
        },
    )


def speed(
    model: str = "vit_base_patch16_224",
    kinds: tuple[str, ...] = ("mae", "gmae"),
    arms: tuple[str, ...] = ("multi", "max", "min", "mi", "mi-projector", "mi-leave-one-out", "mi-mine"),
    batch: int = 8,
    rounds: int = 7,
    json_file: Path | None = None,
) -> None:
    """Time a step with the terms beside one with as many masks and none; medians of times and of ratios in a round.

    Args:
        model: Name of the model without its kind.
        kinds: mae, gmae or both.
        arms: Which settings.
        batch: Images of a step.
        rounds: Timings of each, in turn.
        json_file: Where to write the figures.
    """
    results = {}
    for kind in kinds:
        tasks = [Task(arm, step_of(f"{kind}_{model}", arm, batch), batch, rounds) for arm in arms]
        timings = interleave(tasks)
        control = timings[arms[0]]
        # Ratios within a round: the clock of a machine moves less in one than between them.
        ratios = {arm: [one / other for one, other in zip(timings[arm], control, strict=True)] for arm in arms}
        results[kind] = {"milliseconds_per_image": timings, "ratios": {arm: median(ratios[arm]) for arm in arms}}
        for arm in arms:
            print(
                f"{kind:5} {arm:18} {median(timings[arm]):8.2f} ms/image  {median(ratios[arm]):.3f} of {arms[0]}"
                f" ({min(ratios[arm]):.3f} to {max(ratios[arm]):.3f})"
            )
    facts = {"model": model, "batch": batch, "masks": MASKS, "threads": torch.get_num_threads()}
    _write(json_file, {**facts, "results": results})


def step_of(name: str, arm: str, batch: int) -> Callable[[], None]:
    """A training step of an arm, as the loop takes it, on noise."""
    kind = name.split("_")[0]
    options = ModelOptions()
    if kind == "gmae":
        depth = model_config(name.replace("gmae_", "mae_", 1)).decoder.depth
        options = ModelOptions(decoder_depth=depth, gaussians=256, gaussians_per_query=1, **PAPER_LIKE)
    recipe = Recipe(
        method="mi-mae" if kind == "mae" else "mi-gmae",
        model=name,
        data=DataOptions(data="noise"),
        run=RunOptions(out="none"),
        mutual=ARMS[arm],
        options=options,
        objective=ObjectiveOptions(error="squared", visible_weight=0.0),
    ).resolved()
    generator = torch.Generator().manual_seed(0)
    model = create_model(name, seed=0, options=options)
    grid = (model.image_size[0] // model.patch_size, model.image_size[1] // model.patch_size)
    mutual = MutualInformation(recipe.mutual, model, 0, torch.device("cpu"))
    objective = WeightedSum({**reconstruction_term(recipe, model.patch_size), **mutual.terms})
    trained = torch.nn.ModuleList([model, mutual.projector])
    optimizer = torch.optim.AdamW(parameter_groups(trained, 0.05), lr=1e-5, fused=True)
    images = torch.rand(batch, 3, *model.image_size, generator=generator).repeat(MASKS, 1, 1, 1)

    # As the training loop asks: the error is that of the hidden patches.
    asked = {"visible": False} if isinstance(model, MAE) else {}

    def step() -> None:
        mask = join_masks(orthogonal_masks(batch, grid, MASKS, generator, 0.75))
        reconstruction = model(images, mask, **asked)
        if mutual.estimator is not None:
            mutual.estimator.learn(reconstruction, images)
        objective(reconstruction, images).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def comparison(options: CompareOptions, json_file: Path | None = None) -> None:
    """Pre-train and judge every arm at equal encoder passes; prints means over seeds."""
    found = []
    for facts in compare(options):
        found.append(facts)
        print(json.dumps(facts), flush=True)
    print(summary(found))
    _write(json_file, {"options": dataclasses.asdict(options), "runs": found})


def _write(file: Path | None, facts: dict) -> None:
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    stamp = {"date": datetime.date.today().isoformat(), "environment": environment()}
    file.write_text(json.dumps({**stamp, **facts}, indent=2, default=str) + "\n")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"bounds": bounds, "speed": speed, "compare": comparison}, config=(tyro.conf.OmitArgPrefixes,)
    )
