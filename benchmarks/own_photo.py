"""The first command on one's own photo: seconds and memory from the shell's point of view, start included.

python -m benchmarks.own_photo --json-file benchmarks/results/own_photo.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image

from benchmarks.common import table
from splatlearn.data import sample_photos
from splatlearn.runs.folder import environment

WATCH = """
import resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Runs in a small process of its own: a command's peak counts that of the process it was forked from."""

Verb = Literal["edges", "layers", "segment", "view"]
SIZE = (4000, 3000)
"""Width and height: 12 megapixels."""
GRAIN = 6.0
"""Standard deviation of the noise of a sensor, grey levels: a smooth file would decode faster than a photograph."""


def main(
    verbs: tuple[Verb, ...] = ("edges", "layers", "segment", "view"),
    run: str | None = None,
    rounds: int = 5,
    json_file: Path | None = None,
) -> None:
    """Time commands on a photograph of 12 megapixels, in turns.

    Args:
        verbs: Which commands.
        run: A GMAE; the package's when left out.
        rounds: Timings of each.
        json_file: Where the figures go.
    """
    found: dict[str, dict[str, list[float]]] = {verb: {"seconds": [], "megabytes": []} for verb in verbs}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        photo = write_photo(folder / "photo.jpg")
        for turn in range(-1, rounds):
            for verb in verbs:
                out = folder / f"{verb}-{turn}{'.html' if verb == 'view' else ''}"
                seconds, megabytes = timed(
                    ["splatlearn", verb, *([] if run is None else [run]), str(photo), "--out", str(out)]
                )
                if turn >= 0:
                    found[verb]["seconds"].append(seconds)
                    found[verb]["megabytes"].append(megabytes)
    rows = [[verb, f"{median(v['seconds']):.1f}", f"{max(v['megabytes']):.0f}"] for verb, v in found.items()]
    print(table(["command", "seconds (median)", "MB (largest)"], rows))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        facts = {"environment": environment(), "threads": torch.get_num_threads(), "pixels": SIZE, "found": found}
        json_file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def write_photo(path: Path) -> Path:
    """A sample photograph, enlarged, with grain, as a JPEG file."""
    photo = next(photo for photo in sample_photos() if photo.name == "china")
    pixels = np.asarray(Image.fromarray(photo.array).resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
    grain = np.random.default_rng(0).normal(0.0, GRAIN, pixels.shape)
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a command of this environment; raises RuntimeError where it fails."""
    program = str(Path(sys.executable).parent / command[0])
    done = subprocess.run([sys.executable, "-c", WATCH, program, *command[1:]], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])}: expected exit code 0, got {done.returncode}: {done.stderr}")
    seconds, kilobytes = done.stdout.split()[-2:]
    return float(seconds), float(kilobytes) / 1000


if __name__ == "__main__":
    tyro.cli(main)
