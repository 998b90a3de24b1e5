"""What a training command says and returns when its run stopped before the end."""

from __future__ import annotations

from splatlearn.training import RunOptions, RunResult

INTERRUPTED = 130
"""Ctrl-C."""
REQUEUE = 75
"""SIGTERM or SIGUSR1: there is a checkpoint, and the same command with --resume goes on (EX_TEMPFAIL of sysexits.h)."""


def how_it_stopped(result: RunResult, run: RunOptions) -> int:
    """Say where an interrupted run stands, once for all of its processes; returns the exit code."""
    if result.main:
        print(f"stopped at step {result.steps} of {result.total}; go on with the same command and --resume")
    if result.requeue:
        return REQUEUE
    return INTERRUPTED if run.stop_after is None else 0
