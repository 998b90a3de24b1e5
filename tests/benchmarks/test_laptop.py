import functools
import json
from pathlib import Path

import pytest

from benchmarks import laptop
from benchmarks.laptop import PRESET, Options, Share, arms, plain_recipe, recipe_of, shares_of, table
from splatlearn.data.labelled import Labelled, labelled_parts
from splatlearn.training import DataOptions, RunOptions
from splatlearn.training.pretraining.laptop import LEFT_OUT, TRICKS, laptop_recipe
from training.small_run import pictures


def labelled() -> Labelled:
    source = pictures(40)
    source.labels = [index % 2 for index in range(40)]  # type: ignore[attr-defined]
    return labelled_parts(source, source, "test")


DATA, RUN = DataOptions(data="x"), RunOptions(out="y")


def test_every_arm_leaves_out_one_trick_of_the_preset(tmp_path: Path) -> None:
    made = arms()
    assert list(made) == [
        PRESET,
        *(f"without {name}" for name in TRICKS),
        *(f"with {name}" for name in LEFT_OUT),
        "plain",
    ]
    recipes = {name: make(DATA, RUN) for name, make in made.items()}
    together = functools.reduce(lambda recipe, trick: trick(recipe), TRICKS.values(), plain_recipe(DATA, RUN))
    assert all(each.startswith(("preset", "optimizer.epochs")) for each in together.differences(recipes[PRESET]))
    for name, trick in TRICKS.items():
        without = recipes[f"without {name}"]
        assert without.differences(together) and trick(without) != without
    # Masks go with what they share; the rest is the preset's.
    single = recipes["without several masks"]
    assert (single.method, single.mutual.masks, single.optimizer.batch_size) == ("gmae", None, 64)
    recipe = recipe_of(made["plain"], tmp_path, seed=3, epochs=7, given=Options())
    assert (recipe.run.seed, recipe.optimizer.epochs, recipe.run.resume) == (3, 7, False)


def test_every_arm_has_the_same_time(tmp_path: Path) -> None:
    made = {name: arms()[name] for name in ("plain", "without patterns")}
    rates = {"plain": [1.2, 1.3, 1.0], "without patterns": [80.0, 2.0, 90.0]}
    (tmp_path / laptop.RATES).write_text(json.dumps(rates))
    # Of 40 images 72 are two epochs; 36 would be one, but a batch has 64, or all there are.
    assert shares_of(made, labelled(), Options(minutes=1.0, out=tmp_path)) == {
        "plain": Share(40, 2),
        "without patterns": Share(40, 80 * 60 // 40),
    }
    assert shares_of(made, labelled(), Options(minutes=0.5, out=tmp_path))["plain"] == Share(40, 1)
    few = shares_of(made, labelled(), Options(minutes=0.2, out=tmp_path))["without patterns"]
    assert few == Share(40, 24)


def test_a_gpu_does_as_much_as_cpu_cores_that_were_measured(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="speeds of CPU cores .* none of laptop preset"):
        shares_of({PRESET: laptop_recipe}, labelled(), Options(device="cuda", out=tmp_path))


def test_the_table_says_what_a_trick_gains() -> None:
    row = {"images": 1200, "epochs": 4, "views per second": 200.0}
    found = {
        PRESET: {0: {**row, "knn": 0.20, "linear": 0.3}, 1: {**row, "knn": 0.22, "linear": 0.3}},
        "plain": {0: {**row, "knn": 0.25, "linear": 0.3}, 1: {**row, "knn": 0.27, "linear": 0.4}},
    }
    lines = table(found).splitlines()
    assert lines[2] == "| laptop preset | 1,200 × 4 | 200 | 21.0 ± 1.4 | 30.0 ± 0.0 |"
    assert lines[3] == "| plain | 1,200 × 4 | 200 | 26.0 ± 1.4 (+5.0\\*) | 35.0 ± 7.1 (+5.0) |"


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "without-patterns-2").mkdir()
    (tmp_path / "without-patterns-2" / "found.json").write_text('{"knn": 0.5}')
    make, given = arms()["without patterns"], Options(out=tmp_path)
    assert laptop.found_of("without patterns", make, 2, Share(40, 1), labelled(), given) == {"knn": 0.5}
