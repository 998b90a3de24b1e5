"""Peak extra memory of one forward and backward, in a process of its own.

    python -m benchmarks.memory SCENE CONTENDER THREADS

prints MB per image: by how much the process's high-water mark rises. Before the run the process is filled up to its
mark, so that memory which start-up had used and given back hides nothing. Results count, inputs do not.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch

from .common import SCENES, Scene, scene_inputs
from .contenders import contenders

BALLAST = 2**20
MARGIN = 16


def measure(scene: Scene, contender: str, threads: int) -> float:
    """Start the child process; MB (10⁶ bytes) per image."""
    return run_alone("benchmarks.memory", [scene.name, contender, str(threads)])


def run_alone(module: str, arguments: list[str]) -> float:
    """The number that a module prints in a process of its own, whose allocator keeps nothing it was given back."""
    # glibc then returns every large block when it is freed, instead of keeping it where its reuse would not show.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"memory was not measured by {module} {' '.join(arguments)}:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def rise(call: Callable[[], object]) -> int:
    """Bytes by which a call moves the process's high-water mark, its results included."""
    ballast = _fill_to_mark()
    before = _high_water_mark()
    results = call()
    extra = _high_water_mark() - before
    del ballast, results
    return extra


def _high_water_mark() -> int:
    """Bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _fill_to_mark() -> list[np.ndarray]:
    """Take memory until the high-water mark has moved `MARGIN` times; hold on to the result."""
    ballast, moved, mark = [], 0, _high_water_mark()
    while moved < MARGIN:
        ballast.append(np.ones(BALLAST, np.uint8))
        higher = _high_water_mark()
        moved, mark = moved + (higher > mark), higher
    return ballast


def _extra_bytes_per_image(scene: Scene, name: str) -> float:
    contender = contenders()[name]
    contender.prepare()
    warm_up = SCENES["tiny"]
    inputs, gradients = scene_inputs(warm_up)
    contender.both(inputs, warm_up.size, gradients)
    inputs, gradients = scene_inputs(scene)
    return rise(lambda: contender.both(inputs, scene.size, gradients)) / scene.images


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(_extra_bytes_per_image(SCENES[sys.argv[1]], sys.argv[2]) / 1e6)
