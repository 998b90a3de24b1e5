"""Pruning by several scores at equal counts, before and after recovery: PSNR of photographs that were held out.

    python -m benchmarks.compression_pruning SCENE... --data DATA [--runs runs/compression] [--shares 0.5 0.25]
        [--seeds 0 1 2 3 4] [--steps 150] [--json-file FILE]

Scenes are the reconstructions of `benchmarks.compression`. Gaussians are kept by the sum of their blending weights
(LightGaussian's published score, with the falloff, without and with its factor of volumes), by opacity, or at random,
and then fitted to the pictures of the whole scene. A seed decides the random choice and the order of the pictures.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from benchmarks.common import table
from benchmarks.compression_scenes import SOURCES, Scene, opened
from splatlearn.compression import kept_share, recover, significance
from splatlearn.core.gaussians import Gaussians
from splatlearn.runs.folder import environment

VOLUME_POWER = 0.1
"""LightGaussian's."""


@dataclass(frozen=True)
class Options:
    """What is pruned."""

    scenes: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of scenes that are reconstructions."""
    data: Path
    """Folder of the data."""
    runs: Path = Path("runs/compression")
    """Folder of the reconstructions."""
    shares: tuple[float, ...] = (0.5, 0.25)
    """Shares of the Gaussians that are kept."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One recovery for each."""
    steps: int = 150
    """Steps of a recovery."""
    fit_steps: int | None = None
    """Steps of the reconstructions. Default: those of the preset."""
    json_file: Path | None = None
    """File for all numbers."""


def main(options: Options) -> None:
    """Prune and recover, and print a table and JSON."""
    sources = {source.name: source for source in SOURCES if source.is_capture}
    rows: list[tuple[str, ...]] = []
    found: list[dict[str, Any]] = []
    for name in options.scenes:
        if name not in sources:
            raise SystemExit(f"scenes: expected some of {', '.join(sources)}, got {name}")
        scene = opened(sources[name], options.data, options.runs, options.fit_steps)
        assert scene.held_out is not None
        whole = scene.held_out(scene.gaussians)[0]
        for share in options.shares:
            for score in SCORES:
                each = _measured(scene, score, share, options)
                found.append({"scene": name, "whole": whole, "share": share, "score": score, **each})
                shown = (_spread(each["pruned"]), _spread(each["recovered"]))
                rows.append((name, score, f"{share:g}", f"{whole:.2f}", *shown))
                print("  ".join(rows[-1]), flush=True)
    print(table(("scene", "score", "kept", "whole dB", "pruned dB", "recovered dB"), rows))
    result = {"environment": environment() | {"command": "benchmarks.compression_pruning"}, "steps": options.steps}
    result["results"] = found
    print(json.dumps(result))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=1) + "\n")


def _of_score(gaussians: Gaussians, scene: Scene, score: str, seed: int) -> torch.Tensor:
    """The scores [K] by name."""
    if score == "random":
        return torch.rand(gaussians.count, generator=torch.Generator().manual_seed(seed))
    if score == "opacity":
        return gaussians.opacities
    power = VOLUME_POWER if score == "weights and volumes" else 0.0
    return significance(gaussians, scene.known, power, filter=scene.filter)


SCORES = ("weights", "weights and volumes", "opacity", "random")


def _measured(scene: Scene, score: str, share: float, options: Options) -> dict[str, list[float]]:
    """PSNR for each seed, before and after recovery; what no seed changes is made once."""
    assert scene.held_out is not None
    pruned, recovered = [], []
    for seed in options.seeds:
        kept = kept_share(scene.gaussians, _of_score(scene.gaussians, scene, score, seed), share)
        if score == "random" or not pruned:
            pruned.append(scene.held_out(kept)[0])
        better = recover(
            kept, scene.gaussians, scene.known, options.steps, background=scene.background, filter=scene.filter,
            seed=seed,
        )  # fmt: skip
        recovered.append(scene.held_out(better)[0])
    return {"pruned": pruned, "recovered": recovered}


def _spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
