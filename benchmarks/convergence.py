"""Options of a reconstruction at equal cost: the same number of rendered pixels, and the same seconds.

    python -m benchmarks.convergence CAPTURE... [--arms fast views-2 stride-2] [--seeds 0 1 2] [--steps 1000]
        [--minutes 35] --json-file FILE

The arms are those of `ARMS`. With equal "pixels" an arm makes as many steps as render the pixels of the first arm, with
equal "steps" as many as that, divided by the photographs of a step. Where that takes another time by more than a
twentieth, "seconds" runs it once more with as many steps as take that time: of its steps, or with `--clock cpu` of the
processor in the whole run, for machines that do other work too. Times are those of the first seed, and the others make
the same numbers of steps: a picture's quality after a number of steps depends on no clock, so that the first seed needs
an idle machine, and the others do not.
Each run is a process of its own, and is stored as soon as it is done: the same command goes on with what is missing,
and begins nothing after `--minutes`. `benchmarks.convergence_page` writes the tables of
`docs/experiments/convergence.md`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from benchmarks.common import table
from benchmarks.reconstruct import run_apart
from splatlearn.core.disk.atomic import write_whole
from splatlearn.reconstruction.recipes.presets import Preset, preset_values
from splatlearn.reconstruction.running.views import downscale_at
from splatlearn.runs.folder import environment

Clock = Literal["wall", "cpu"]
Budget = Literal["pixels", "steps", "seconds"]
NEAR = 0.05
"""Share by which times may differ and still count as equal."""
SAMPLES = 10_000
"""Steps over which the pixels of a step are averaged."""


@dataclass(frozen=True)
class Arm:
    """What is compared: options of `splatlearn reconstruct`, and what they are in words."""

    name: str
    said: str
    options: dict[str, Any] = field(default_factory=dict)
    preset: Preset = "fast"


def _views(count: int, factor: float) -> dict[str, Any]:
    """Options of several views in a step, with the rates of `fast` times a factor."""
    values = preset_values("fast")
    return {
        "views_per_step": count,
        "rate": factor * values.rate,
        "position_rate": factor * values.position_rate,
    }


ARMS = {
    arm.name: arm
    for arm in (
        Arm("fast", "the preset `fast`"),
        Arm("views-2", "2 photographs a step", {"views_per_step": 2}),
        Arm("views-2-rates", "2 photographs a step, rates × √2", _views(2, 2**0.5)),
        Arm("views-4-rates", "4 photographs a step, rates × 2", _views(4, 2.0)),
        Arm("cross-rays-2", "2 photographs a step, rates × √2, cross rays", {**_views(2, 2**0.5), "cross_rays": True}),
        Arm("cross-rays-4", "4 photographs a step, rates × 2, cross rays", {**_views(4, 2.0), "cross_rays": True}),
        Arm("stride-2", "every second pixel each way", {"stride": 2}),
        Arm("anneal", "rates fall in the last tenth", {"anneal": 0.1}),
        Arm("anneal-long", "rates fall in the last third", {"anneal": 0.33}),
        Arm("budget-early", "budget of Gaussians, exponent −1", {"budget_exponent": -1.0}),
        Arm("budget-log", "budget of Gaussians, exponent 0", {"budget_exponent": 0.0}),
        Arm("budget-even", "budget of Gaussians, exponent 1", {"budget_exponent": 1.0}),
        Arm(
            "budget-adapts", "budget of Gaussians, exponent 0, changed by the loss",
            {"budget_exponent": 0.0, "budget_adapts": True},
        ),
        Arm("colors", "growth by colours in a fifth of the edits", {"color_growth": 0.2}),
        Arm("prune", "half of the Gaussians pruned by sensitivity", {"prune": 0.5}),
        Arm("mcmc", "the strategy `mcmc`", {"strategy": "mcmc"}),
        Arm("absgrad", "the strategy `absgrad`", {"strategy": "absgrad"}),
        Arm("default", "the preset `default`", {}, "default"),
        Arm("default-clone", "the preset `default` with the strategy `default`", {"strategy": "default"}, "default"),
    )
}  # fmt: skip
FIRST = ("fast", "views-2-rates", "stride-2", "budget-log", "mcmc")
"""Arms that are run where none are named."""


@dataclass(frozen=True)
class Options:
    """What is compared, and on what."""

    captures: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of captures."""
    json_file: Path
    """File for all runs; those in it are not repeated."""
    arms: tuple[str, ...] = FIRST
    """Names of arms; the first is the one that the others are compared with."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Runs of each arm; those of the first one are timed."""
    steps: int | None = None
    """Steps of the first arm. Default: those of its preset."""
    minutes: float = 35.0
    """Begin no run after this time."""
    budgets: tuple[Budget, ...] = ("pixels", "seconds")
    """What is equal. "seconds" needs another one before it, whose time is known then."""
    clock: Clock = "wall"
    """What seconds are: of the wall clock, or of the processor."""


def main(options: Options) -> None:
    """Run what is missing, store it, and print a table."""
    content = _stored(options)
    end = time.perf_counter() + 60 * options.minutes
    for seed in options.seeds:
        for capture in options.captures:
            for name in options.arms:
                for budget in options.budgets:
                    if time.perf_counter() < end:
                        _add(content, options, capture, ARMS[name], seed, budget)
    print(shown(content))


def pixels_of(preset: Preset, options: dict[str, Any]) -> float:
    """Whole photographs that a step renders the pixels of, in the mean over all steps of a run."""
    coarse = options.get("coarse", preset_values(preset).coarse)
    stride, views = options.get("stride", 1), options.get("views_per_step", 1)
    shares = (downscale_at(step, SAMPLES, coarse) for step in range(SAMPLES))
    return views * sum(1 / (scale if scale > 1 else stride) ** 2 for scale in shares) / SAMPLES


def equal_steps(arm: Arm, base: Arm, steps: int) -> int:
    """Steps of an arm that render as many pixels as `steps` of another one."""
    return max(1, round(steps * pixels_of(base.preset, base.options) / pixels_of(arm.preset, arm.options)))


def _add(content: dict[str, Any], options: Options, capture: str, arm: Arm, seed: int, budget: Budget) -> None:
    """Run an arm once, unless it is stored or equal to the other budget's."""
    base = ARMS[options.arms[0]]
    whole = options.steps or preset_values(base.preset).steps
    runs: list[dict[str, Any]] = content["runs"]
    here = Path(capture).name

    def found(name: str, seed: int, *kinds: Budget) -> dict[str, Any] | None:
        wanted = [(here, name, seed, kind, whole) for kind in kinds]
        return next((each for each in runs if tuple(each[key] for key in KEYS) in wanted), None)

    if budget == "steps":
        steps = max(1, round(whole / arm.options.get("views_per_step", 1)))
    else:
        steps = equal_steps(arm, base, whole)
    if budget == "seconds":
        timed = options.seeds[0]
        first, own = (found(each.name, timed, "pixels", "steps") for each in (base, arm))
        if first is None or own is None or abs(own["clock_seconds"] / first["clock_seconds"] - 1) <= NEAR:
            return
        steps = max(1, round(own["steps"] * first["clock_seconds"] / own["clock_seconds"]))
    if found(arm.name, seed, budget) is not None:
        return
    # Scores on the way would count in the time of the processor.
    quiet = {"evaluate_every": steps} if options.clock == "cpu" else {}
    run = run_apart(capture, arm.preset, {**quiet, **arm.options, "steps": steps, "seed": seed}, ())
    spent = run["seconds"] if options.clock == "wall" else run["cpu"]
    more = {"arm": arm.name, "budget": budget, "of_steps": whole, "options": arm.options, "clock_seconds": spent}
    runs.append({**run, **more, "photographs": steps * pixels_of(arm.preset, arm.options)})
    write_whole(options.json_file, json.dumps(content, indent=1) + "\n")
    print(f"{here} {arm.name} seed {seed}, equal {budget}: {run['psnr']:.2f} dB in {spent:.0f} s", flush=True)


KEYS = ("capture", "arm", "seed", "budget", "of_steps")
"""What tells runs apart."""


def _stored(options: Options) -> dict[str, Any]:
    """What is in the file, or a new content; raises ValueError for runs under another clock."""
    arms = {name: arm.said for name, arm in ARMS.items()}
    if not options.json_file.exists():
        return {"environment": environment(), "clock": options.clock, "base": options.arms[0], "said": arms, "runs": []}
    content = json.loads(options.json_file.read_text(encoding="utf-8"))
    for name, value in (("clock", options.clock), ("base", options.arms[0])):
        if content[name] != value:
            raise ValueError(
                f"{name}: expected {content[name]} as in {options.json_file}, got {value}; take another file"
            )
    return {**content, "said": content["said"] | arms}


def shown(content: dict[str, Any]) -> str:
    """All runs as a table for people."""
    columns = ("capture", "arm", "seed", "equal", "steps", "photographs", "s", "CPU s", "Gaussians", "dB", "waited")
    rows = [
        (
            run["capture"], run["arm"], str(run["seed"]), run["budget"], str(run["steps"]), f"{run['photographs']:.0f}",
            f"{run['seconds']:.1f}", f"{run['cpu']:.1f}", f"{run['gaussians']:,}", f"{run['psnr']:.2f}",
            f"{100 * run['waited']:.1f} %",
        )
        for run in content["runs"]
    ]  # fmt: skip
    return table(columns, rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
