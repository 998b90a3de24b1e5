"""The rendering benchmark runs and its contenders agree with the formula; its times are not looked at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTPUTS = {"color", "transmittance", "means2d", "conics", "opacities", "colors", "background"}


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Interpreted, the scalar kernel takes less time than its compilation would.
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "benchmarks.render", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_every_contender_is_measured_and_right(tmp_path: Path):
    file = tmp_path / "render.json"
    scene = ("--scenes", "tiny", "--rounds", "1", "--threads", "1")
    done = run_benchmark(*scene, "--part", "composite", "render", "--json", str(file))
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text())
    assert {"date", "environment", "composite", "render"} <= results.keys()
    rows = {row["contender"]: row for row in results["composite"]}
    assert {"torch", "scalar numba"} <= rows.keys()
    for name, row in rows.items():
        assert row["relative_l2_errors"].keys() == OUTPUTS
        assert max(row["relative_l2_errors"].values()) < 1e-5
        assert min(row["median"].values()) > 0
        assert name in done.stdout
    assert rows["torch"]["times_faster_than"]["dense"] == pytest.approx(1.0)
    assert {row["step"] for row in results["render"]} >= {"composite", "render"}
