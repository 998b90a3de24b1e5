"""What a training command says and returns when its run stopped before the end, or had nothing left to do."""

from __future__ import annotations

import shlex

from splatlearn.training import RunOptions, RunResult

INTERRUPTED = 130
"""Ctrl-C."""
REQUEUE = 75
"""SIGTERM or SIGUSR1: there is a checkpoint, and the same command with --resume goes on (EX_TEMPFAIL of sysexits.h)."""


def how_it_stopped(result: RunResult, run: RunOptions, command: str) -> int:
    """Say where an interrupted run stands, once for all of its processes; returns the exit code.

    `command`: that which began it, as far as it is needed to go on, such as `splatlearn pretrain mae`.
    """
    again = f"{command} --out {shlex.quote(str(result.folder))} --resume"
    if result.main and result.done:
        print(f"stopped at step {result.steps} of {result.total}; continue with: {again}")
    elif result.main:
        print(
            f"no step was taken: the run is at step {result.steps} of {result.total}, and --stop-after "
            f"{run.stop_after} counts all of its steps; continue with: {again}"
        )
    if result.requeue:
        return REQUEUE
    asked = run.stop_after is not None and result.steps >= run.stop_after
    return 0 if asked else INTERRUPTED


def is_finished(result: RunResult, more: str = "") -> bool:
    """Whether the run was finished before this call, which is said then, with `more` that is known of it."""
    if result.done or result.interrupted:
        return False
    if result.main:
        print(
            f"{result.folder} is finished: all {result.total} steps had been done, and nothing was changed{more}. "
            f"To train further, start a new run from its weights with `splatlearn pretrain --start-from`"
        )
    return True
