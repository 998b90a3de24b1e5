"""Training does what it did when its losses were kept; `python -m benchmarks.golden --write` keeps new ones."""

import json
from pathlib import Path

import pytest

from benchmarks.golden import FILE, METHODS, STEPS, Method, curve, differences


@pytest.mark.parametrize("method", METHODS)
def test_the_first_losses_are_those_that_were_kept(method: Method, tmp_path: Path) -> None:
    kept = json.loads(FILE.read_text())
    assert set(kept) == set(METHODS) and all(len(losses) == STEPS for losses in kept.values())
    notes = differences({**kept, method: curve(method, tmp_path)}, kept)
    assert not notes, notes[0]
    assert kept[method][-1] < kept[method][0]


def test_other_losses_are_named() -> None:
    kept = {method: [1.0] * STEPS for method in METHODS}
    changed = {**kept, "gmae": [1.0, 1.0, 1.01] + [1.0] * (STEPS - 3), "mae": [float("nan")] * STEPS}
    assert differences(kept, kept) == []
    assert differences(changed, kept) == [
        "mae, step 1: expected a loss of 1.000000, got nan",
        "gmae, step 3: expected a loss of 1.000000, got 1.010000",
    ]
