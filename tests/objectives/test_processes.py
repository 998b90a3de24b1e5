import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from splatlearn.objectives.processes import average_gradients, gather_images, process_and_count

TESTS = Path(__file__).parents[1]


def test_two_processes_are_one_with_the_joint_batch(tmp_path: Path) -> None:
    command = [sys.executable, str(TESTS / "objectives" / "two_processes.py"), str(tmp_path / "store")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.split() == ["ok", "ok"], done.stderr


def test_alone_there_is_nothing_to_gather() -> None:
    values = torch.zeros(2, 3, 4)
    assert process_and_count() == (0, 1) and gather_images(values) is values
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    average_gradients(layer)
    assert layer.weight.grad is not None and layer.weight.grad.tolist() == [[1.0, 1.0]]
