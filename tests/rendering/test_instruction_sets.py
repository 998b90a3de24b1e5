"""What a process takes of the processor: one setting for PyTorch and the extensions, and one OpenMP runtime."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from splatlearn.fitting import compiled
from splatlearn.models.nn import layers
from splatlearn.rendering.backends.cpu import support as cpu_support

BUILT = layers.native is not None and compiled.native is not None
SETS = cpu_support.instruction_sets()[:2] if BUILT else []
REPORT = """
import json
from pathlib import Path
import torch
from splatlearn.fitting import compiled
from splatlearn.models.nn import layers
from splatlearn.rendering.backends.cpu import support as cpu_support

maps = Path("/proc/self/maps")
loaded = maps.read_text().splitlines() if maps.exists() else []
ours = cpu_support.instruction_set(), layers.native.instruction_set(), compiled.native.instruction_set()
sets = torch.backends.cpu.get_cpu_capability().lower(), *ours
print(json.dumps({"sets": sets, "runtimes": sorted({line.split()[-1] for line in loaded if "libgomp" in line})}))
"""


@pytest.mark.parametrize("name", SETS or [pytest.param("", marks=pytest.mark.skip(reason=cpu_support.status()))])
def test_pytorch_s_variable_limits_the_extensions_which_share_its_openmp_runtime(name: str) -> None:
    capability = "default" if name == "baseline" else name
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    done = subprocess.run([sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sets"] == [capability, name, name, name], "is the package built from this version of native/?"
    assert all(Path(torch.__file__).parent in Path(each).parents for each in found["runtimes"])
