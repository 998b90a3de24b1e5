"""What preparing a scene for a small file gains while it is fitted: the options --mask, --rounding and --grid.

    python -m benchmarks.compression_fits DATA [--scenes lego plush] [--steps 600] [--gaussians 8000]
        [--runs runs/compression_fits] [--json-file benchmarks/results/compression_fits.json]

Each scene is fitted with none of the options and with each of them, for equal steps and the same largest number of
Gaussians. Its file is then made in three ways: SOG, .sl3 of all Gaussians with their usual steps, and `compress` to
the same number of bytes for all arms of a scene, a twentieth of the float32 PLY of the first. PSNR is that of
photographs that were held out. Results are written after each arm, and those that the JSON file has are not made again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.common import table
from benchmarks.compression_scenes import SOURCES, Scene, opened
from splatlearn.compression import compress
from splatlearn.core.disk.atomic import write_whole
from splatlearn.files.ply.gaussians import gaussian_ply_parts
from splatlearn.files.sl3.reader import read_sl3
from splatlearn.files.sl3.writer import sl3_bytes
from splatlearn.files.sog.formats import bundle
from splatlearn.runs.folder import environment

ARMS: dict[str, dict[str, float]] = {
    "none": {},
    "mask": {"mask": 5e-4},
    "mask 4e-3": {"mask": 4e-3},
    "rounding": {"rounding": 1.0},
    "grid": {"grid": 1.0},
    "mask and rounding": {"mask": 5e-4, "rounding": 1.0},
}
"""Options by the names of arms: weights as published."""
SMALLER = 20
"""The files of `compress` are this many times smaller than the PLY of the first arm."""


@dataclass(frozen=True)
class Options:
    """What is fitted."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of the data; see `compression_scenes`."""
    scenes: tuple[str, ...] = ("lego", "plush")
    """Names of scenes that are captures."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Names of arms; the first of all must be among them, or in the JSON file."""
    steps: int = 600
    """Steps of each fit."""
    gaussians: int = 8000
    """Largest number of Gaussians."""
    seeds: tuple[int, ...] = (0,)
    """Of the fits."""
    runs: Path = Path("runs/compression_fits")
    """Folder of the fits."""
    json_file: Path = Path("benchmarks/results/compression_fits.json")
    """File for the results, and of those that are there."""


def main(options: Options) -> None:
    """Fit, pack and score what is missing, and print a table."""
    sources = {source.name: source for source in SOURCES if source.is_capture}
    known = json.loads(options.json_file.read_text())["results"] if options.json_file.is_file() else []
    about = {"environment": environment() | {"command": "benchmarks.compression_fits DATA"}}
    about |= {"steps": options.steps, "gaussians": options.gaussians}
    for name in options.scenes:
        if name not in sources:
            raise SystemExit(f"scenes: expected some of {', '.join(sources)}, got {name}")
        for seed in options.seeds:
            for arm in options.arms:
                if any((each["scene"], each["seed"], each["arm"]) == (name, seed, arm) for each in known):
                    continue
                begun = time.process_time()
                scene = opened(
                    sources[name], options.data, options.runs, options.steps, options.gaussians,
                    f"{name}-{arm.replace(' ', '-')}-{seed}", seed=seed, **ARMS[arm],
                )  # fmt: skip
                fitted = time.process_time() - begun
                budget = next((e["budget"] for e in known if (e["scene"], e["seed"]) == (name, seed)), None)
                each = {"scene": name, "seed": seed, "arm": arm, "seconds": fitted, **_packed(scene, budget)}
                known.append(each)
                write_whole(options.json_file, json.dumps(about | {"results": known}, indent=1) + "\n")
                print(json.dumps(each), flush=True)
    print(_shown(known))


def _packed(scene: Scene, budget: int | None) -> dict[str, Any]:
    """Bytes of files and PSNR of held-out photographs; the budget of `compress` follows from this scene if None."""
    assert scene.held_out is not None
    gaussians, antialiased = scene.gaussians, scene.filter == "mip"
    ply = sum(map(len, gaussian_ply_parts(gaussians, antialiased)))
    budget = ply // SMALLER if budget is None else budget
    found: dict[str, Any] = {"count": gaussians.count, "psnr": scene.held_out(gaussians)[0], "ply": ply}
    found |= {"sog": len(bundle(gaussians, antialiased)), "budget": budget}
    content = sl3_bytes(gaussians, antialiased, 1.0)
    found |= {"sl3": len(content), "sl3_psnr": scene.held_out(read_sl3(content, None, gaussians.count).gaussians)[0]}
    small = compress(gaussians, budget, cameras=scene.known, background=scene.background, antialiased=antialiased)
    found |= {"compress": small.bytes, "compress_psnr": scene.held_out(small.gaussians)[0], "share": small.share}
    return found | {"coarseness": small.coarseness}


def _shown(found: list[dict[str, Any]]) -> str:
    """All numbers as a table."""
    columns = ("scene", "seed", "arm", "Gaussians", "dB", "SOG kB", ".sl3 kB", "dB", "compress kB", "dB", "CPU s")
    rows = [
        (
            each["scene"],
            str(each["seed"]),
            each["arm"],
            f"{each['count']:,}",
            f"{each['psnr']:.2f}",
            f"{each['sog'] / 1000:.1f}",
            f"{each['sl3'] / 1000:.1f}",
            f"{each['sl3_psnr']:.2f}",
            f"{each['compress'] / 1000:.1f}",
            f"{each['compress_psnr']:.2f}",
            f"{each['seconds']:.0f}",
        )
        for each in found
    ]
    return table(columns, rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
