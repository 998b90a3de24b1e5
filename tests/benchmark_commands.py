"""Benchmarks as commands, in the process of the test."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
import warnings

import pytest
import torch


def run_benchmark(name: str, *arguments: object) -> str:
    """Run `python -m benchmarks.NAME ARGUMENTS` and return what it printed; raises SystemExit where it would fail."""
    printed, threads = io.StringIO(), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["", *map(str, arguments)])
        # The tests of the renderer may have set it for theirs.
        patch.delenv("TRITON_INTERPRET", raising=False)
        warnings.simplefilter("default")
        warnings.filterwarnings("ignore", "'benchmarks.* found in sys.modules", RuntimeWarning)
        try:
            runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as stopped:
            if stopped.code:
                raise
        finally:
            torch.set_num_threads(threads)
    return printed.getvalue()
