"""Memory of writing large splat files: the largest resident set beside the size of the PLY of the same Gaussians.

    python -m benchmarks.splat_memory [--gaussians 5000000] [--degree 3] [--formats ply spz sog sl3] [--json-file FILE]

A process of its own makes random Gaussians on a surface and writes them, once for each format. Stated are the largest
resident set above that of the process before it made them, in sizes of the float32 PLY, which has the numbers of all
Gaussians once, and processor seconds. The goal is at most 4 sizes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.common import table
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import coefficient_count
from splatlearn.files import write_splats
from splatlearn.runs.folder import environment

ENDINGS = {
    "ply": ".ply", "compressed-ply": ".compressed.ply", "spz": ".spz", "sog": ".sog", "gltf": ".glb", "splat": ".splat",
    "sl3": ".sl3",
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What is written."""

    gaussians: int = 5_000_000
    """Number of Gaussians."""
    degree: int = 3
    """Degree of the harmonics."""
    formats: tuple[str, ...] = tuple(ENDINGS)
    """Formats."""
    folder: Path | None = None
    """Folder for the files, which are removed. Default: the system's own for temporary files."""
    json_file: Path | None = None
    """File for all numbers."""
    only: str | None = None
    """A format that is written in this process; for the benchmark itself."""


def main(options: Options) -> None:
    """Write all formats, each in a process of its own, and print a table and JSON."""
    if options.only is not None:
        print(json.dumps(written(options, options.only)))
        return
    found: dict[str, dict[str, Any]] = {}
    for name in options.formats:
        command = [sys.executable, "-m", "benchmarks.splat_memory", "--only", name]
        command += ["--gaussians", str(options.gaussians), "--degree", str(options.degree)]
        command += [] if options.folder is None else ["--folder", str(options.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: {found[name]['memory'] / found[name]['floats']:.2f} times the floats", flush=True)
    rows = [
        (name, f"{each['bytes'] / 1e6:.0f}", f"{each['memory'] / each['floats']:.2f}", f"{each['seconds']:.0f}")
        for name, each in found.items()
    ]
    print(table(("format", "MB", "memory, sizes of the PLY", "processor s"), rows))
    result = {"environment": environment() | {"command": "benchmarks.splat_memory"}, "gaussians": options.gaussians}
    result |= {"degree": options.degree, "formats": found}
    print(json.dumps(result))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=1) + "\n")


def written(options: Options, name: str) -> dict[str, float]:
    """Write one format; bytes of the file and of the floats, memory above the start in bytes, and seconds."""
    before = _resident()
    scene = surface(options.gaussians, options.degree)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / f"scene{ENDINGS[name]}"
        begun = time.process_time()
        write_splats(path, scene if name != "splat" else scene.with_degree(0))
        seconds, size = time.process_time() - begun, path.stat().st_size
    floats = 4 * (14 + 3 * coefficient_count(options.degree)) * options.gaussians
    return {"bytes": size, "floats": floats, "memory": _resident() - before, "seconds": seconds}


def surface(count: int, degree: int) -> Gaussians:
    """Random Gaussians near a wavy surface, with harmonics that vary in few directions, as those of scenes do."""
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(count, 3, generator=generator)
    means[:, 1] = 0.1 * (6 * means[:, 0]).sin() + 0.02 * means[:, 1]
    scales = torch.randn(count, 3, generator=generator).mul_(0.5).sub_(7).exp_()
    quaternions = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1)
    sh = torch.randn(count, coefficient_count(degree), 3, generator=generator).mul_(0.05)
    sh[:, 0] += means.sin()
    return Gaussians(means, scales, quaternions, torch.rand(count, generator=generator), sh=sh)


def _resident() -> int:
    """The largest resident set of this process so far, bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
