"""Public functions name the argument that cannot be, whatever comes in its place."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import splatlearn as sl
from models.small_models import small_gmae, small_mae
from splatlearn.core.kinds import check_kind, check_path
from splatlearn.evaluation import evaluate
from splatlearn.fitting import initial_gaussians
from splatlearn.training import DataOptions, OptimizerOptions, Recipe, RunOptions, pretrain
from splatlearn.zero_shot import EdgeOptions

pytestmark = pytest.mark.usefixtures("no_shape_checks")
CAMERA = sl.Camera.gmae(8, 8)


def gaussians(*batch: int) -> sl.Gaussians:
    shape = (*batch, 4)
    quaternions = torch.tensor([1.0, 0, 0, 0]).expand(*shape, 4)
    scales, opacities = torch.full((*shape, 3), 0.1), torch.full(shape, 0.5)
    return sl.Gaussians(torch.zeros(*shape, 3), scales, quaternions, opacities, colors=torch.rand(*shape, 3))


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"method": "mae", "data": DataOptions(data="x"), "run": RunOptions(out="y")} | changes)


IMAGES = torch.rand(1, 3, 16, 24)
WRONG: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
    "render gaussians": (lambda it: sl.render(it, CAMERA), [None, "x", torch.zeros(4, 3)]),
    "render camera": (lambda it: sl.render(gaussians(), it), [None, torch.eye(4)]),
    "render background": (
        lambda it: sl.render(gaussians(), CAMERA, background=it),
        [None, 0.5, "pink", [1, 2], ["a", "b", "c"], [0, 0, math.nan], torch.zeros(4)],
    ),
    "render backend": (lambda it: sl.render(gaussians(), CAMERA, backend=it), [None, "x"]),
    "project gaussians": (lambda it: sl.project(it, CAMERA), [None, "x"]),
    "project camera": (lambda it: sl.project(gaussians(1), it), [None, "x"]),
    "composite splats": (lambda it: sl.composite(it, 8, 8), [None, gaussians(1)]),
    "model mask": (
        lambda it: small_gmae()(IMAGES, it),
        [None, "x", sl.random_mask(2, (4, 6)), sl.random_mask(1, (4, 4))],
    ),
    "model images": (
        lambda it: small_mae().encode(it),
        [None, [], np.zeros(3), IMAGES.double(), IMAGES[0], IMAGES.bool(), IMAGES * math.nan, IMAGES[..., :-1]],
    ),
    "random_mask batch": (lambda it: sl.random_mask(it, (4, 4)), [None, "x", -1, 1.5, math.nan]),
    "random_mask grid": (lambda it: sl.random_mask(1, it), [None, "x", 8, (8,), (0, 8), (8, 8, 8), (1.5, 8)]),
    "random_mask ratio": (lambda it: sl.random_mask(1, (4, 4), it), [None, "x", 0, 1, math.nan]),
    "orthogonal_masks count": (lambda it: sl.orthogonal_masks(1, (4, 4), it), [None, "x", 0, 1.5, 100]),
    "create_model name": (sl.create_model, [None, 1, "x", "gmae_vit"]),
    "create_model gaussians": (lambda it: sl.create_model("gmae_vit_micro_patch8_32", gaussians=it), ["x", 0, 1.5]),
    "create_model image_size": (
        lambda it: sl.create_model("mae_vit_micro_patch8_32", image_size=it),
        [32, (8,), (0, 0)],
    ),
    "create_model opacity": (lambda it: sl.create_model("gmae_vit_micro_patch8_32", opacity=it), ["x", 0, math.nan]),
    "create_model seed": (lambda it: sl.create_model("mae_vit_micro_patch8_32", seed=it), ["x", 1.5]),
    "load path_or_hub_id": (sl.load_model, [None, 1, "", " ", b"x"]),
    "load device": (lambda it: sl.load_model("mae-tiny", it), [None, "tpu", 1.5]),
    "load_classifier path_or_hub_id": (sl.load_classifier, [None, ""]),
    "save model": (lambda it: sl.save_model(it, "never"), [None, "x"]),
    "save folder": (lambda it: sl.save_model(small_mae(), it), [None, "", 1]),
    "read_splats path": (sl.read_splats, [None, 1, ""]),
    "read_splat_file path": (sl.read_splat_file, [None, 1, ""]),
    "write_splats path": (lambda it: sl.write_splats(it, gaussians()), [None, "", "x", gaussians()]),
    "write_splats gaussians": (lambda it: sl.write_splats("never.ply", it), [None, "x", gaussians(2)]),
    "to_pinhole gaussians": (lambda it: sl.to_pinhole(it, CAMERA), [None, "x"]),
    "to_pinhole camera": (lambda it: sl.to_pinhole(gaussians(), it), [None, "x"]),
    "to_pinhole eps2d": (lambda it: sl.to_pinhole(gaussians(), CAMERA, it), [None, "x", -1, math.nan]),
    "fit start": (lambda it: sl.fit(IMAGES, it), [None, "x", gaussians(), gaussians(2)]),
    "fit images": (lambda it: sl.fit(it, gaussians(1)), [None, "x", IMAGES.bool(), IMAGES[:0]]),
    "fit steps": (lambda it: sl.fit(IMAGES, gaussians(1), it), [None, "x", -1, 1.5]),
    "fit options": (lambda it: sl.fit(IMAGES, gaussians(1), 1, it), ["x", 1]),
    "fit camera": (lambda it: sl.fit(IMAGES, gaussians(1), 1, None, it), ["x", CAMERA]),
    "initial_gaussians count": (lambda it: initial_gaussians(IMAGES, it, torch.Generator()), [None, "x", 0, 1.5]),
    "layers model": (lambda it: sl.zero_shot.layers(it, IMAGES), [None, "x", small_mae()]),
    "layers count": (lambda it: sl.zero_shot.layers(small_gmae(), IMAGES, it), [None, "x", 0, 1.5, 10**9]),
    "layers images": (lambda it: sl.zero_shot.layers(small_gmae(), it, 2), [None, IMAGES[:0], IMAGES[:, :1]]),
    "edges images": (lambda it: sl.zero_shot.edges(small_gmae(), it), [None, IMAGES[:0]]),
    "figure_ground images": (lambda it: sl.zero_shot.figure_ground(small_gmae(), it), [None, IMAGES[:0]]),
    "EdgeOptions cues": (lambda it: EdgeOptions(cues=it), ["x", (), 5]),
    "EdgeOptions layers": (lambda it: EdgeOptions(layers=it), ["x", (), 5, (1,), (2.5,)]),
    "look_at eye": (lambda it: sl.Camera.look_at(it, (0, 0, 0), 4, 4), [None, 1, (1, 2), (1, 2, "x"), "abc"]),
    "import_model source": (sl.import_model, [None, 1, ""]),
    "push_to_hub repo_id": (lambda it: sl.push_to_hub(small_mae(), it), [None, 1, "x"]),
    "evaluate model": (lambda it: evaluate(it, "x"), [None, 1]),
    "pretrain recipe": (pretrain, [None, "x"]),
    "Recipe method": (lambda it: recipe(method=it), [None, 1, "x"]),
    "Recipe data": (lambda it: recipe(data=it), [None, "x"]),
    "Recipe epochs": (lambda it: recipe(optimizer=OptimizerOptions(epochs=it)), ["x", 0, math.nan]),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_argument_is_named(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, values = WRONG[case]
    argument = case.split()[-1]
    for value in values:
        with pytest.raises((TypeError, ValueError), match=rf"^{argument}: expected") as error:
            call(value)
        assert type(error.value) is not ValueError
    assert not list(tmp_path.iterdir())


def test_kinds_and_paths() -> None:
    check_kind("camera", CAMERA, sl.Camera)
    check_path("path", Path("a"))
    with pytest.raises(TypeError, match="^camera: expected a Camera or a NoneType, got str; make one$"):
        check_kind("camera", "x", sl.Camera, type(None), advice="make one")
    with pytest.raises(ValueError, match="^path: expected a name, got an empty one"):
        check_path("path", "")
