import json
from pathlib import Path

from benchmarks import laptop
from benchmarks.laptop import Options, arms, epochs_of, recipe_of, table
from splatlearn.data.labelled import Labelled, labelled_parts
from splatlearn.training import DataOptions, RunOptions
from splatlearn.training.laptop import LEFT_OUT, TRICKS, laptop_recipe
from training.small_run import pictures


def labelled() -> Labelled:
    source = pictures(40)
    source.labels = [index % 2 for index in range(40)]  # type: ignore[attr-defined]
    return labelled_parts(source, source, "test")


def test_each_rung_adds_one_trick_and_all_of_the_preset_make_it(tmp_path: Path) -> None:
    made = arms()
    assert list(made) == ["plain", *(f"+ {name}" for name in (*TRICKS, *LEFT_OUT))]
    recipes = [make(DataOptions(data="x"), RunOptions(out="y")) for make in made.values()]
    for before, after in zip(recipes, recipes[1:], strict=False):
        assert before != after
    preset = laptop_recipe(DataOptions(data="x"), RunOptions(out="y"))
    assert all(
        difference.startswith(("preset", "optimizer.epochs")) for difference in recipes[len(TRICKS)].differences(preset)
    )
    recipe = recipe_of(made["plain"], tmp_path, seed=3, epochs=7, given=Options())
    assert (recipe.run.seed, recipe.optimizer.epochs, recipe.run.resume) == (3, 7, False)


def test_every_arm_has_the_same_time(tmp_path: Path) -> None:
    made = {name: arms()[name] for name in ("plain", "+ few queries")}
    rates = {"plain": [10.0, 30.0, 20.0], "+ few queries": [80.0, 2.0, 90.0]}
    (tmp_path / laptop.RATES).write_text(json.dumps(rates))
    found = epochs_of(made, labelled(), Options(minutes=1.0, out=tmp_path))
    assert found == {"plain": 20 * 60 // 40, "+ few queries": 80 * 60 // 40}


def test_the_table_says_what_a_trick_gains() -> None:
    row = {"epochs": 4, "minutes": 5.9, "views per second": 200.0}
    found = {
        "plain": {0: {**row, "knn": 0.20, "linear": 0.3}, 1: {**row, "knn": 0.22, "linear": 0.3}},
        "+ few queries": {0: {**row, "knn": 0.25, "linear": 0.3}, 1: {**row, "knn": 0.27, "linear": 0.4}},
    }
    lines = table(found).splitlines()
    assert lines[2] == "| plain | 4 | 5.9 | 200 | 21.0 ± 1.4 | 30.0 ± 0.0 |"
    assert lines[3].startswith("| + few queries | 4 | 5.9 | 200 | 26.0 ± 1.4 (+5.0*) | 35.0 ± 7.1 (+5.0) |")


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "few-queries-2").mkdir()
    (tmp_path / "few-queries-2" / "found.json").write_text('{"knn": 0.5}')
    found = laptop.found_of("+ few queries", arms()["+ few queries"], 2, 1, labelled(), Options(out=tmp_path))
    assert found == {"knn": 0.5}
