"""Compiled code takes the memory that its inputs need, and raises MemoryError where there is less."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from splatlearn.fitting import compiled
from splatlearn.models.nn import layers
from splatlearn.rendering.backends.cpu import support as cpu_support

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space of a process"),
    pytest.mark.skipif(
        cpu_support.status() != "ok" or layers.native is None or compiled.native is None,
        reason="an extension was not built",
    ),
]


def test_memory() -> None:
    script = Path(__file__).with_name("little_memory.py")
    # Arrays of a mebibyte and more come from the system, not from what earlier ones left.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, str(script), "errors", "one image", "scene", "no memory for scenes"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "ok", done.stderr
