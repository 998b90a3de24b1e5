"""Memory that a training step takes on a CPU beyond what is held between steps, in a process of its own.

    python -m benchmarks.step_memory CONTENDER MODEL BATCH PRECISION THREADS QUERIES [GAUSSIANS_PER_QUERY]

prints MB (10⁶ bytes) per image: activations, gradients and temporaries. Parameters and the optimiser's moments are not
in it: a step was taken before.
"""

from __future__ import annotations

import sys

import torch

from .memory import rise, run_alone
from .step_contenders import THEIRS, Options, make_model, make_step, sizes


def step_megabytes(contender: str, batch: int, options: Options) -> float:
    """Start the child process; MB per image."""
    theirs = options.theirs_precision if contender == THEIRS else None
    facts = [
        contender,
        options.model,
        str(batch),
        theirs or options.precision,
        str(torch.get_num_threads()),
        str(options.queries),
    ]
    if options.gaussians_per_query is not None:
        facts.append(str(options.gaussians_per_query))
    return run_alone("benchmarks.step_memory", facts)


def _main(contender: str, model: str, batch: str, precision: str, threads: str, *counts: str) -> None:
    torch.set_num_threads(int(threads))
    queries, per_query = int(counts[0]), int(counts[1]) if len(counts) > 1 else None
    options = Options(model, "cpu", precision, 1, per_query, queries)
    side, patch_size = sizes(options)
    step = make_step(make_model(contender, options), int(batch), side, patch_size, options)
    step()
    print(rise(step) / int(batch) / 1e6)


if __name__ == "__main__":
    _main(*sys.argv[1:])
