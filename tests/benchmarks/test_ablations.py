"""The study of choices: every arm can be built, and the table compares with the base by seed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.ablation_arms import FACTORS
from benchmarks.ablations import BASE, Options, arms, base_recipe, judgement, known, main, table
from splatlearn.models import GMAE, MAE
from splatlearn.training.pretraining.starting import new_model


@pytest.mark.parametrize("factor", FACTORS)
def test_every_level_changes_the_base_and_can_be_built(factor: str, tmp_path: Path) -> None:
    given = Options(factors=(factor,))
    base = base_recipe(given, tmp_path, seed=1)
    made = arms(given)
    assert next(iter(made)) == BASE and made[BASE](base) == base
    assert len(made) == 1 + len(FACTORS[factor])
    for name, change in made.items():
        recipe = change(base).resolved()
        assert isinstance(new_model(recipe), MAE if factor.startswith(("mae", "mi-mae")) and name != BASE else GMAE)
        assert name == BASE or change(base) != base
        views = recipe.optimizer.batch_size * (recipe.mutual.masks or 1)
        assert views == base.optimizer.batch_size and recipe.run.seed == 1
        peaks = [(each.optimizer.base_learning_rate or 0.0) * each.optimizer.batch_size for each in (recipe, base)]
        assert peaks[0] == pytest.approx(peaks[1]) and peaks[1] > 0


def test_unknown_factors_are_named() -> None:
    with pytest.raises(ValueError, match="factors: expected some of .*, got 'colour'"):
        arms(Options(factors=("colour",)))


def test_single_arms_can_be_named() -> None:
    assert list(arms(Options(factors=("tuned both", "mae")))) == [BASE, "tuned both", "mae normalised pixels"]


def test_what_an_arm_has_not_is_left_out_of_its_row() -> None:
    found = {
        BASE: {0: {"psnr": 15.0, "knn": 0.30, "images per second": 50.0}},
        "mae normalised pixels": {0: {"knn": 0.35, "images per second": 40.0}},
    }
    lines = table(found).splitlines()
    assert lines[2] == "| base | 50 | 15.000 | 0.300 |"
    assert lines[3].startswith("| mae normalised pixels | 40 | – | 0.350 (+0.050")


def test_table_pairs_by_seed_and_marks_what_exceeds_the_noise() -> None:
    base = {0: {"psnr": 15.0, "knn": 0.30}, 1: {"psnr": 16.0, "knn": 0.31}, 2: {"psnr": 17.0, "knn": 0.29}}
    other = {0: {"psnr": 16.0, "knn": 0.25}, 1: {"psnr": 17.1, "knn": 0.36}, 2: {"psnr": 18.05, "knn": 0.30}}
    found = {
        name: {seed: {**each, "images per second": 90.0 + seed} for seed, each in arm.items()}
        for name, arm in ((BASE, base), ("depth pinhole", other))
    }
    lines = table(found).splitlines()
    assert lines[0] == "| arm | images/s | psnr | knn |"
    assert lines[2] == "| base | 91 | 16.000 ± 1.000 | 0.300 ± 0.010 |"
    # A shift of one dB in every seed is no noise, whatever the seeds differ by.
    assert "(+1.050\\*)" in lines[3] and "(+0.003)" in lines[3]


def test_figures_that_a_file_has_are_kept_and_those_of_other_settings_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    given = Options(factors=(), seeds=(0, 2), out=tmp_path, json_file=file)
    row = {"psnr": 15.0, "knn": 0.3, "images per second": 50.0}
    for seed in (0, 1):
        stored = judgement(BASE, seed, given)
        stored.parent.mkdir()
        stored.write_text(json.dumps({**row, "psnr": 15.0 + seed}))
    main(dataclasses.replace(given, seeds=(0, 1)))
    stored.unlink()
    # Nothing is trained: both seeds are in the file.
    main(dataclasses.replace(given, seeds=(1,)))
    assert {seed: each["psnr"] for seed, each in known(given)[BASE].items()} == {0: 15.0, 1: 16.0}
    with pytest.raises(ValueError, match="json_file: .* has figures of other settings"):
        main(dataclasses.replace(given, steps=10))
