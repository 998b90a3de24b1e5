"""The benchmark of mutual information runs and says what it found; how near the bounds come is not looked at."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.mutual_information", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_bound_of_every_pair_has_a_row(tmp_path: Path) -> None:
    file = tmp_path / "bounds.json"
    small = ("--samples", "32", "--draws", "3", "--steps", "3", "--hidden", "8", "--json-file", str(file))
    done = run_benchmark("bounds", "--dimensions", "1", "2", "--correlations", "0.5", *small)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert {"date", "environment", "options", "rows", "broken"} <= found.keys()
    kinds = {(row["dimensions"], row["kind"], row["bound"]) for row in found["rows"]}
    bounds = ("InfoNCE", "MINE", "leave-one-out", "CLUB")
    assert kinds == {(d, kind, bound) for d in (1, 2) for kind in ("true", "trained") for bound in bounds}
    assert all(row["information"] > 0.14 * row["dimensions"] for row in found["rows"])
    assert "within the stated tolerances" in done.stdout
