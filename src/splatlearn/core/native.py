"""The compiled extensions: the OpenMP runtime that they share with PyTorch."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from pathlib import Path

import torch


def share_openmp() -> None:
    """Let the extensions find PyTorch's OpenMP runtime, to which they are not linked.

    The name of its file differs between versions of PyTorch, so no extension can name it. A second runtime would have
    threads of its own that compete with those of PyTorch; on macOS it ends the process.
    """
    for library in _runtimes():
        with contextlib.suppress(OSError):
            ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
            return


def _runtimes() -> Iterator[str]:
    """Where PyTorch's runtime may be: beside PyTorch's own libraries, else where the system or conda has it."""
    library = Path(torch.__file__).parent / "lib"
    if sys.platform == "darwin":
        yield from map(str, [library / "libomp.dylib", Path(sys.prefix) / "lib" / "libomp.dylib"])
        yield ctypes.util.find_library("omp") or "libomp.dylib"
    else:
        for folder in (library, library.parents[1] / "torch.libs"):
            yield from map(str, sorted(folder.glob("libgomp*.so*")))
        yield "libgomp.so.1"
