"""The order of SOG's pixels: bytes along a Morton curve and on a self-organising grid.

    python -m benchmarks.grid_order DATA [--scenes spot rope inria] [--weights 0 1] [--json-file FILE]

A SOG file holds the same Gaussians in any order. On the grid they are sorted by position (as SOG stores it) and, with
a weight, by colour and scales. Seconds are processor time of the sort.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from benchmarks.common import table
from benchmarks.compression_scenes import SOURCES
from splatlearn.files import read_splats
from splatlearn.files.grid import grid_order, neighbour_cost
from splatlearn.files.sog.writer import image_order, image_size, sog_files
from splatlearn.runs.folder import environment


@dataclass(frozen=True)
class Options:
    """What is sorted."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of the data; see `compression_scenes`."""
    scenes: tuple[str, ...] = ("spot", "rope", "inria")
    """Names of scenes that are files."""
    weights: tuple[float, ...] = (0.0, 1.0)
    """Of colours and scales beside positions."""
    json_file: Path | None = None
    """File for all numbers."""


def main(options: Options) -> None:
    """Sort and write, and print a table and JSON."""
    paths = {source.name: source.path for source in SOURCES if not source.is_capture}
    rows, found = [], []
    for name in options.scenes:
        gaussians = read_splats(options.data / paths[name], drop_invalid=True)
        assert gaussians.sh is not None
        _, columns = image_size(gaussians.count)
        along = torch.from_numpy(image_order(gaussians).copy())
        plain = sum(map(len, sog_files(gaussians, False).values()))
        for weight in options.weights:
            places = gaussians.means.sign() * gaussians.means.abs().log1p()
            others = (gaussians.sh[:, 0], gaussians.scales.clamp_min(1e-12).log())
            values = torch.cat([_spread(places), *(weight * _spread(each) for each in others)], dim=1)
            begun = time.process_time()
            order = grid_order(values, columns)
            seconds = time.process_time() - begun
            size = sum(map(len, sog_files(gaussians, False, order.numpy()).values()))
            costs = {"curve": neighbour_cost(values[along], columns), "grid": neighbour_cost(values[order], columns)}
            each = {"scene": name, "weight": weight, "count": gaussians.count, "curve": plain, "grid": size}
            found.append({**each, "seconds": seconds, "costs": costs})
            rows.append((name, f"{weight:g}", f"{plain:,}", f"{size:,}", f"{size / plain - 1:+.1%}", f"{seconds:.0f}"))
            print("  ".join(rows[-1]), flush=True)
    print(table(("scene", "weight", "bytes, curve", "bytes, grid", "change", "s"), rows))
    result = {"environment": environment() | {"command": "benchmarks.grid_order DATA"}, "results": found}
    print(json.dumps(result))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=1) + "\n")


def _spread(values: torch.Tensor) -> torch.Tensor:
    """Columns about 0, together of a spread of 1."""
    centered = values - values.mean(dim=0)
    return centered / centered.std().clamp_min(1e-6)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
