"""The paper preset beside what was published: He et al. 2022 with its official code, and arXiv 2501.03229."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from splatlearn.models import GMAE, create_model
from splatlearn.training import DataOptions, Recipe, RunOptions, pretrain
from splatlearn.training.loop.guard import FiniteGuard
from splatlearn.training.loop.parameter_groups import parameter_groups
from splatlearn.training.pretraining.recipe import Method, RecipePreset
from training.small_run import pictures, small_recipe


def paper(method: Method, preset: RecipePreset = "paper") -> Recipe:
    return Recipe(method=method, preset=preset, data=DataOptions(data="photos"), run=RunOptions(out="run")).resolved()


@pytest.mark.parametrize("method", ["mae", "gmae"])
def test_every_published_number(method: Method) -> None:
    found, mae = paper(method), method == "mae"
    optimizer, objective, data, options = found.optimizer, found.objective, found.data, found.options
    assert (optimizer.epochs, optimizer.betas, optimizer.weight_decay, optimizer.min_learning_rate) == (
        400, (0.9, 0.95), 0.05, 0.0,
    )  # fmt: skip
    # 1.5e-4 · 4096 / 256 for MAE; 4e-4 at 1024 and 1.6e-3 at 4096 images a step for GMAE.
    assert optimizer.base_learning_rate == (1.5e-4 if mae else pytest.approx(4e-4 * 256 / 1024))
    assert optimizer.warmup_epochs == (40 if mae else 5)
    assert (optimizer.clip_norm, optimizer.decay_tokens) == (0.0 if mae else 2.0, True)
    assert (data.crop_scale, data.flip, data.grow_from) == ((0.2, 1.0) if mae else (0.08, 1.0), 0.5, 1.0)
    assert (objective.mask_ratio, objective.error, objective.visible_weight) == (0.75, "squared", 0.0)
    assert objective.normalize_targets is mae
    assert (options.decoder_embed_dim, options.decoder_depth, options.decoder_num_heads) == (512, 8, 16)
    assert found.mutual.masks == 1 and found.mutual.maximize_weight == found.mutual.minimize_weight == 0.0
    if not mae:
        assert (options.gaussians, options.gaussians_per_query, options.scale_limit) == (256, 1, 1.0)
        assert (options.rotation, options.layout, options.depth) == ("uniform", "free", "paper")
        assert (options.color, options.background, options.opacity, options.heads) == ("bounded", "white", 0.5, "joint")


@pytest.mark.parametrize("model_name", ["mae_vit_tiny_patch4_16", "gmae_vit_tiny_patch4_16"])
def test_weight_decay_spares_what_the_official_code_spares(model_name: str) -> None:
    model = create_model(model_name, "paper", decoder_depth=1, decoder_embed_dim=32, decoder_num_heads=2)
    # The official code takes timm's groups: what has one axis, or a name that ends in ".bias", is spared.
    theirs: dict[float, set[int]] = {0.0: set(), 0.05: set()}
    for name, parameter in model.named_parameters():
        theirs[0.0 if len(parameter.shape) == 1 or name.endswith(".bias") else 0.05].add(id(parameter))
    ours = {group["weight_decay"]: set(map(id, group["params"])) for group in parameter_groups(model, 0.05, True)}
    assert ours == theirs
    spared = {group["weight_decay"]: set(map(id, group["params"])) for group in parameter_groups(model, 0.05)}
    tokens = [model.encoder.cls_token, *([model.query_embed] if isinstance(model, GMAE) else [model.mask_token])]
    for token in tokens:
        assert id(token) in ours[0.05] and id(token) in spared[0.0]


@pytest.mark.parametrize(
    ("method", "preset", "limit"), [("mae", "paper", math.inf), ("gmae", "paper", 2.0), ("mae", "default", 2.0)]
)
def test_gradients_are_clipped_where_the_authors_clip(
    method: Method, preset: RecipePreset, limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    clip = FiniteGuard.clip

    def noted(self, parameters, optimizer, clip_norm):
        limits.append(clip_norm)
        decays = {group["weight_decay"]: len(group["params"]) for group in optimizer.param_groups}
        assert (decays[0.05] > 20) and set(decays) == {0.0, 0.05}
        return clip(self, parameters, optimizer, clip_norm)

    monkeypatch.setattr(FiniteGuard, "clip", noted)
    recipe = small_recipe(tmp_path / "run", method, stop_after=1)
    pretrain(dataclasses.replace(recipe, preset=preset), pictures())
    assert limits == [limit]
    stored = Recipe.read(tmp_path / "run" / "recipe.json")
    assert stored.optimizer.clip_norm == (0.0 if limit == math.inf else limit)
    assert stored.optimizer.decay_tokens is (preset == "paper")


def test_older_runs_go_on_as_they_began(tmp_path: Path) -> None:

    values = json.loads(paper("mae").to_json())
    del values["optimizer"]["decay_tokens"]
    values["optimizer"]["clip_norm"] = 2.0
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    found = Recipe.read(tmp_path / "recipe.json").optimizer
    assert (found.decay_tokens, found.clip_norm) == (False, 2.0)
