"""pycolmap, the oracle for everything of COLMAP, in a process of its own: it brings a second OpenMP runtime."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

needs_pycolmap = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="needs the extra sfm: pycolmap"
)


def ask_pycolmap(script: str, folder: Path, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Run a script with `given`, a dictionary of arrays, and return the dictionary `answer` that it fills."""
    np.savez(folder / "given.npz", allow_pickle=False, **arrays)
    program = (
        "import numpy as np, pycolmap\n"
        f"given = dict(np.load({str(folder / 'given.npz')!r}))\n"
        "answer = {}\n"
        f"{script}\n"
        f"np.savez({str(folder / 'answer.npz')!r}, **answer)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "answer.npz"))
