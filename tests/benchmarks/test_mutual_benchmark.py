"""The benchmark of mutual information runs and says what it found; how near the bounds come is not looked at."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmark_commands import run_benchmark
from benchmarks import mutual_compare
from benchmarks.mutual_compare import CompareOptions, compare, summary
from splatlearn.training import Recipe


def test_every_bound_of_every_pair_has_a_row(tmp_path: Path) -> None:
    file = tmp_path / "bounds.json"
    small = ("--samples", "32", "--draws", "3", "--steps", "3", "--hidden", "8", "--json-file", str(file))
    printed = run_benchmark("mutual_information", "bounds", "--dimensions", 1, 2, "--correlations", 0.5, *small)
    found = json.loads(file.read_text())
    assert {"date", "environment", "options", "rows", "broken"} <= found.keys()
    kinds = {(row["dimensions"], row["kind"], row["bound"]) for row in found["rows"]}
    bounds = ("InfoNCE", "MINE", "leave-one-out", "CLUB")
    assert kinds == {(d, kind, bound) for d in (1, 2) for kind in ("true", "trained") for bound in bounds}
    assert all(row["information"] > 0.14 * row["dimensions"] for row in found["rows"])
    assert "within the stated tolerances" in printed


def test_the_summary_has_means_and_differences_from_the_control() -> None:
    found = [
        {"kind": "mae", "arm": arm, "seed": seed, "steps": 5, "loss": 0.5, "knn": value + 0.01 * seed}
        for arm, value in (("multi", 0.30), ("mi", 0.35))
        for seed in (0, 1)
    ]
    found.append({"kind": "gmae", "arm": "mi", "seed": 0, "steps": 5, "loss": 0.1, "knn": 0.2})
    mae, gmae = summary(found).split("\n\n")
    assert mae.splitlines()[0] == "| mae | multi | mi |"
    assert mae.splitlines()[2:] == [
        "| loss | 0.500 ± 0.000 | 0.500 ± 0.000 |",
        "| knn | 30.5 ± 0.7 | 35.5 ± 0.7 (+5.0*) |",
    ]
    assert gmae.splitlines()[2:] == ["| loss | 0.100 |", "| knn | 20.0 |"]


def test_parts_share_the_runs_and_find_each_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def run(wanted: Recipe, trained: bool, data: object, options: object) -> dict[str, float]:
        folder = Path(wanted.run.out)
        folder.mkdir(parents=True)
        done.append(folder.name)
        assert trained != (folder.name[:10] == "mae-random")
        return {"knn": 0.5}

    monkeypatch.setattr(mutual_compare, "_run", run)
    monkeypatch.setattr(mutual_compare, "labelled_pack", lambda *arguments: None)
    options = CompareOptions(tmp_path, arms=("random", "multi"), kinds=("mae",), seeds=(0, 1))
    halves = [list(compare(dataclasses.replace(options, part=(part, 2)))) for part in (0, 1)]
    assert [len(half) for half in halves] == [2, 4] and len(set(done)) == len(done) == 4
    assert [(each["seed"], each["arm"]) for each in halves[1]] == [
        (0, "random"), (0, "multi"), (1, "random"), (1, "multi"),
    ]  # fmt: skip
    assert list(compare(options)) == halves[1] and len(done) == 4
