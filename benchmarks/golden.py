"""The first losses of tiny runs, kept in the repository so that a change of training does not go unseen.

python -m benchmarks.golden            # compare, and fail where they differ
python -m benchmarks.golden --write    # keep the new ones, after a change that was meant to change them
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Literal

import tyro

from splatlearn.core.disk.atomic import write_whole
from splatlearn.data import photo_crops, sample_photos
from splatlearn.models import ModelOptions
from splatlearn.training import DataOptions, OptimizerOptions, Recipe, RunOptions, pretrain

Method = Literal["mae", "gmae", "mi-mae", "mi-gmae"]

METHODS: tuple[Method, ...] = ("mae", "gmae", "mi-mae", "mi-gmae")
FILE = Path(__file__).parents[1] / "tests" / "golden" / "losses.json"
STEPS, BATCH = 20, 8
TOLERANCE = 2e-3
"""Largest relative difference of a loss: processors add in different orders, and 20 steps let that grow. Measured
with the baseline, AVX2 and AVX-512 sets forced, on one and two threads: up to 2.3e-7."""


def curve(method: Method, folder: Path) -> list[float]:
    """The losses of the first steps of a run with the method's own recipe on the sample photographs."""
    crops = photo_crops(sample_photos(), 32)
    recipe = Recipe(
        method=method,
        model=f"{method.removeprefix('mi-')}_vit_micro_patch8_32",
        options=ModelOptions(gaussians=32 if method.endswith("gmae") else None),
        data=DataOptions(data="sample photographs", workers=0),
        optimizer=OptimizerOptions(epochs=10, batch_size=BATCH, base_learning_rate=2e-2),
        run=RunOptions(
            out=str(folder), device="cpu", precision="fp32", trackers=(), log_every=1, stop_after=STEPS, seed=0
        ),
    )
    pretrain(recipe, crops)
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}
    return [losses[step] for step in range(1, STEPS + 1)]


def differences(found: dict[str, list[float]], kept: dict[str, list[float]]) -> list[str]:
    """Where curves leave the tolerance, in words."""
    notes = []
    for method in METHODS:
        for step, (new, old) in enumerate(zip(found[method], kept[method], strict=True), start=1):
            if not abs(new - old) <= TOLERANCE * abs(old):
                notes.append(f"{method}, step {step}: expected a loss of {old:.6f}, got {new:.6f}")
                break
    return notes


def main(write: bool = False) -> None:
    """Compare the losses of tiny runs with those that are kept.

    Args:
        write: Keep the new ones instead.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = {method: curve(method, Path(folder) / method) for method in METHODS}
    if write:
        write_whole(FILE, json.dumps(found, indent=1) + "\n")
    elif notes := differences(found, json.loads(FILE.read_text(encoding="utf-8"))):
        raise SystemExit("\n".join([*notes, "if this was meant: python -m benchmarks.golden --write"]))
    print(f"{len(METHODS)} curves of {STEPS} steps {'kept' if write else 'as before'}: {FILE}")


if __name__ == "__main__":
    tyro.cli(main)
