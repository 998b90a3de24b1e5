"""The package's weights say what they said; `python -m benchmarks.golden_weights --write` keeps new outputs."""

import numpy as np
import pytest

from benchmarks.golden_weights import PHOTOS, TOLERANCES, differences, kept_outputs, outputs
from splatlearn.models.folders.packaged import packaged_models


@pytest.mark.parametrize("name", ["gmae-tiny", "mae-tiny"])
def test_the_package_s_weights_say_what_they_said(name: str) -> None:
    kept = kept_outputs()
    assert set(kept) == set(packaged_models()) == {"gmae-tiny", "mae-tiny"}
    notes = differences({name: outputs(name)}, {name: kept[name]})
    assert not notes, notes[0]
    assert all(len(values) == len(PHOTOS) and np.isfinite(values).all() for values in kept[name].values())


def test_what_differs_is_named() -> None:
    kept = {"one": {"losses": np.zeros(3), "means": np.zeros((3, 2, 3))}}
    changed = {"one": {"losses": np.full(3, 0.99 * TOLERANCES["losses"]), "means": np.full((3, 2, 3), 0.1)}}
    assert differences(kept, kept) == []
    assert differences(changed, kept) == [
        f"one, means: expected at most {TOLERANCES['means']} of difference, got 0.1",
    ]
    assert differences({}, kept) == ["one: expected losses, means, got nothing"]
    broken = {"one": {**kept["one"], "losses": np.array([0.0, np.nan, 0.0])}}
    assert len(differences(broken, kept)) == 1
