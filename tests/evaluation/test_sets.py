"""Read-outs of splat sets: features that follow the object, episodes, partial views, and completion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.splat_sets.sets import splat_list, write_folder
from splatlearn.core.errors import InputError
from splatlearn.data import labelled_parts, open_splats
from splatlearn.evaluation.features.extraction import Features
from splatlearn.evaluation.sets.completion import completion
from splatlearn.evaluation.sets.episodes import few_shot_episodes
from splatlearn.evaluation.sets.features import (
    SetExtraction,
    labelled_features,
    random_set_twin,
    set_features,
    statistics,
)
from splatlearn.evaluation.sets.robustness import Robustness, recall_at_one, relative_drift, robustness
from splatlearn.images import DataError
from splatlearn.models import SplatMAE, SplatOptions, create_splat_model
from splatlearn.objectives.splat_sets import rendered_error, set_camera

SIZES = SplatOptions(draw=48, groups=8, group_size=8, encoder_depth=1, predictor_depth=1)


def model() -> SplatMAE:
    made = create_splat_model("splat-mae_vit_micro", seed=0, options=SIZES)
    assert isinstance(made, SplatMAE)
    return made


def test_features_do_not_depend_on_batches(tmp_path: Path) -> None:
    source = splat_list(3)
    first = set_features(model(), source)
    other = set_features(model(), source, SetExtraction(batch_size=2))
    torch.testing.assert_close(first.values, other.values, atol=1e-5, rtol=1e-5)
    assert first.values.shape == (6, 256) and first.indices.tolist() == list(range(6))
    drawn = set_features(model(), source, SetExtraction(draw=1))
    assert not torch.allclose(first.values, drawn.values, atol=1e-3)


def test_unreadable_sets_are_left_out_and_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, 4, ("train",))
    (tmp_path / "train" / "ball" / "torn.ply").write_bytes(b"ply")
    source = open_splats(tmp_path / "train")
    found = set_features(model(), source, SetExtraction(max_unreadable=0.2))
    assert list(found.unreadable) == ["ball/torn.ply"] and len(found.values) == 8 == len(source) - 1
    with pytest.raises(DataError, match=r"expected at most 5.0% of samples to be unreadable, got 1 of 9"):
        set_features(model(), source)


def test_labels_follow_the_features() -> None:
    labelled = labelled_parts(splat_list(6), splat_list(4, seed=3))
    features, unreadable = labelled_features(lambda part: statistics(part, 48), labelled)
    assert features.train_labels.tolist() == [0, 1] * 6 and features.val_labels.tolist() == [0, 1] * 4
    assert features.train.shape == (12, 28) and not unreadable
    # The spread of the heights tells plates from balls.
    assert features.train[::2, 15].min() > features.train[1::2, 15].max()


def test_a_twin_has_other_weights_of_the_same_shapes() -> None:
    made = model()
    twin = random_set_twin(made, 5)
    assert twin.config == made.config
    assert not torch.equal(twin.encoder.cls_token, made.encoder.cls_token)


def test_drift_and_recall_of_known_features() -> None:
    corners = torch.eye(4)
    assert relative_drift(corners, corners) == pytest.approx(0.0, abs=1e-6)
    assert relative_drift(corners, corners.roll(1, 0)) > 1.0
    assert recall_at_one(corners + 0.1, corners) == 1.0 and recall_at_one(corners.roll(1, 0), corners) == 0.0
    with pytest.raises(InputError, match="one: expected at least two objects, got 1"):
        relative_drift(corners[:1], corners[:1])


def test_the_area_is_the_mean_over_the_shares() -> None:
    assert Robustness(0.0, {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}).area == pytest.approx(0.5)
    assert Robustness(0.0, {0.0: 0.7}).area == 0.7


def test_robustness_of_a_model() -> None:
    found = robustness(model(), splat_list(4, 200), (0.0, 0.7))
    assert 0.0 < found.drift < 1.0
    assert found.recall[0.0] >= found.recall[0.7]


def test_episodes_of_separate_classes_are_right_and_of_noise_at_chance(generator: torch.Generator) -> None:
    labels = torch.arange(10).repeat(40)
    known = torch.eye(10)[labels] + 0.05 * torch.randn(400, 10, generator=generator)
    noise = torch.randn(400, 10, generator=generator)
    names = tuple("abcdefghij")
    good, bad = (
        few_shot_episodes(Features(each, labels, each[:10], labels[:10], names), 5, 10, draws=5)
        for each in (known, noise)
    )
    assert good.mean == 1.0 and good.deviation == 0.0
    assert 0.1 < bad.mean < 0.3 and len(bad.accuracies) == 5


@pytest.mark.parametrize(
    ("ways", "shots", "message"),
    [(11, 5, "ways: expected a number from 2 to 10"), (5, 30, "shots: expected at most 20")],
)
def test_episodes_that_cannot_be_are_named(ways: int, shots: int, message: str) -> None:
    labels = torch.arange(10).repeat(40)
    features = Features(torch.eye(10)[labels], labels, torch.eye(10), torch.arange(10), tuple("abcdefghij"))
    with pytest.raises(InputError, match=message):
        few_shot_episodes(features, ways, shots)


def test_completion_of_a_perfect_model_has_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    source = splat_list(2)
    plain = completion(made, source)
    assert plain.chamfer > 0.01 and plain.psnr < 60
    monkeypatch.setattr(SplatMAE, "reconstruction", lambda self, output: _target(self, output))
    perfect = completion(made, source)
    assert perfect.chamfer == pytest.approx(0.0, abs=1e-4) and perfect.psnr > 60
    assert (perfect.copied_chamfer, perfect.copied_psnr) == (plain.copied_chamfer, plain.copied_psnr)


def _target(made: SplatMAE, output: object) -> torch.Tensor:
    from splatlearn.models.splats.splat_mae import SplatOutput, in_place

    assert isinstance(output, SplatOutput)
    return in_place(output.target, output, made.config.encoder.reach)


def test_a_set_fills_its_picture_from_every_side(generator: torch.Generator) -> None:
    sphere = torch.nn.functional.normalize(torch.randn(1, 400, 3, generator=generator), dim=-1)
    rest = torch.tensor([1.0, 0.05, 0.05, 0.05, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).expand(1, 400, 11)
    sets = torch.cat([sphere, rest], dim=-1)
    for direction in torch.cat([torch.eye(3), -torch.eye(3)]):
        camera = set_camera(direction, 32)
        pixels = camera.project(sets[0, :, :3])[0]
        assert float(pixels.min()) > 0 and float(pixels.max()) < 32
        torch.testing.assert_close(pixels.mean(dim=0), torch.full((2,), 16.0), atol=1.5, rtol=0)
        assert float(rendered_error(sets, sets, camera)) == 0.0
        assert float(rendered_error(0.5 * sets, sets, camera)) > 0.05
