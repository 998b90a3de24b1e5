import dataclasses
from pathlib import Path

import pytest
import torch

from splatlearn.models import GMAE, GMAEConfig, ModelOptions, create_model, load_model, model_config, save_model
from splatlearn.training import Recipe, pretrain
from training.small_run import losses, pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")


def starting(out: Path, start: Path | str, method: str = "gmae", **run) -> Recipe:
    recipe = small_recipe(out, method.removeprefix("mi-"), **run)
    if method.startswith("mi-"):
        recipe = dataclasses.replace(recipe, mutual=dataclasses.replace(recipe.mutual, masks=2))
    return dataclasses.replace(recipe, method=method, model=None, options=ModelOptions(), start_from=str(start))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["gmae", "mae", "mi-gmae"])
def test_a_run_starts_from_another_s_weights_and_is_like_it(tmp_path: Path, method: str) -> None:
    kind = method.removeprefix("mi-")
    pretrain(small_recipe(tmp_path / "first", kind), pictures())
    start = starting(tmp_path / "second", tmp_path / "first", method)
    # No learning: what comes out is what went in.
    still = dataclasses.replace(start, optimizer=dataclasses.replace(start.optimizer, base_learning_rate=0.0))
    pretrain(still, pictures())
    first, second = load_model(tmp_path / "first"), load_model(tmp_path / "second")
    assert first.config == second.config
    for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_going_on_needs_no_start(tmp_path: Path) -> None:
    start = tmp_path / "start"
    save_model(create_model("gmae_vit_tiny_patch4_16", seed=7, options=small_recipe(tmp_path).options), start)
    pretrain(starting(tmp_path / "whole", start), pictures())
    pretrain(starting(tmp_path / "parts", start, stop_after=4), pictures())
    start.rename(tmp_path / "gone")
    stored = Recipe.read(tmp_path / "parts" / "recipe.json")
    run = dataclasses.replace(stored.run, resume=True, stop_after=None)
    pretrain(dataclasses.replace(stored, run=run), pictures())
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_what_has_other_shapes_can_change_and_sizes_cannot(tmp_path: Path) -> None:
    start = tmp_path / "start"
    save_model(create_model("gmae_vit_tiny_patch4_16", seed=7, options=small_recipe(tmp_path).options), start)
    recipe = starting(tmp_path / "larger", start)
    larger = dataclasses.replace(recipe, model="gmae_vit_tiny_patch4_20", options=ModelOptions(background="black"))
    pretrain(larger, pictures())
    model = load_model(tmp_path / "larger")
    assert model.image_size == (20, 20) and model.config.background == "black"  # type: ignore[union-attr]
    back = starting(tmp_path / "back", tmp_path / "larger")
    pretrain(dataclasses.replace(back, options=ModelOptions(background="learned")), pictures())
    assert load_model(tmp_path / "back").config.background == "learned"  # type: ignore[union-attr]
    more = dataclasses.replace(recipe, options=ModelOptions(gaussians=32))
    with pytest.raises(ValueError, match=r"start_from: .*of another shape.*leave out"):
        pretrain(dataclasses.replace(more, run=dataclasses.replace(more.run, out=str(tmp_path / "more"))), pictures())
    assert not (tmp_path / "more").exists()


def test_a_start_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    save_model(create_model("mae_vit_tiny_patch4_16", seed=0), tmp_path / "mae")
    with pytest.raises(ValueError, match="start_from: expected a gmae for mi-gmae, got a mae"):
        pretrain(starting(tmp_path / "run", tmp_path / "mae", "mi-gmae"), pictures())


def test_a_start_that_no_name_says_is_refused(tmp_path: Path) -> None:
    config = model_config("gmae_vit_tiny_patch4_16")
    assert isinstance(config, GMAEConfig)
    save_model(
        GMAE(dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, depth=5))), tmp_path / "odd"
    )
    with pytest.raises(ValueError, match="start_from: config: .*start from a model of those sizes, or from fresh"):
        pretrain(starting(tmp_path / "run", tmp_path / "odd"), pictures())
