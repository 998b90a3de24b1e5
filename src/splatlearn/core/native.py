"""The compiled extensions: the OpenMP runtime that they share with PyTorch, and why they are missing."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import FormatError

REPORT = Path(__file__).with_name("native_build.json")
"""Written by `native/build_backend.py` where the extensions could not be compiled."""

ADVICE = {
    "cmake": "CMake could not be run: pip install cmake ninja",
    "compiler": (
        "no C++ compiler works: install one (Debian: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select "
        "--install), or name yours in the variable CXX"
    ),
    "version": "the compiler is too old or of another kind: install GCC 9, Clang 10 or newer, and name it in CXX",
    "python": "the headers of this Python are missing: install them (Debian: apt install python3-dev)",
    "openmp": (
        "the compiler has no OpenMP: install it (macOS: brew install libomp; Clang on Debian: apt install libomp-dev), "
        "or use GCC (CXX=g++)"
    ),
    "compile": (
        "the compiler refused the sources: try another one (CXX=g++ or CXX=clang++); if that fails too, report it with "
        "the output of pip install -v"
    ),
}
"""What to do, by the stage at which the build failed; `CMakeLists.txt` names the stages."""


def share_openmp() -> None:
    """Let the extensions find PyTorch's OpenMP runtime, to which they are not linked.

    The name of its file differs between versions of PyTorch, so no extension can name it. A second runtime would have
    threads of its own that compete with those of PyTorch; on macOS it ends the process.
    """
    for library in _runtimes():
        with contextlib.suppress(OSError):
            ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
            return


def why_missing(error: ImportError, report: Path = REPORT) -> str:
    """Why an extension that raised `error` at import is not there, with the advice that fits."""
    again = "then install splatlearn anew (pip install --force-reinstall --no-deps --no-cache-dir)"
    try:
        failed = read_object(report)
    except FormatError as damaged:
        failed = {"error": str(damaged)}
    if not failed:
        return f"{error}; install a C++ compiler, {again}"
    advice = ADVICE.get(str(failed.get("stage")), ADVICE["compile"])
    compiler = f" ({failed['compiler']})" if failed.get("compiler") else ""
    return f"{advice}, {again}. The build said{compiler}: {failed.get('error')}"


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
