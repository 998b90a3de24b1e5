import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from splatlearn.data import ImageList
from splatlearn.evaluation.features.extraction import Extraction
from splatlearn.images import DataError
from splatlearn.models import create_model
from splatlearn.training import pretrain
from splatlearn.training.pretraining.online_probe import OnlineProbe, ProbeOptions
from training.small_run import losses, pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")


def labelled(count: int = 40) -> ImageList:
    """Pictures of two classes; the second is brighter."""
    labels = [index % 2 for index in range(count)]
    samples = [pictures(count)[index] for index in range(count)]
    images = [
        np.asarray(sample.image) // 4 + np.uint8(190 * label) for sample, label in zip(samples, labels, strict=True)
    ]
    return ImageList(images, [sample.name for sample in samples], labels, ["dark", "bright"])


def probed(out: Path, **options):
    recipe = small_recipe(out)
    return dataclasses.replace(recipe, probe=ProbeOptions(probe_images=16, **options))


def probe_lines(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "probe_knn" in line]


def test_probes_come_every_few_epochs_and_at_the_end(tmp_path: Path) -> None:
    pretrain(probed(tmp_path / "run", probe_every=2), labelled())
    lines = probe_lines(tmp_path / "run")
    assert [line["probe_epoch"] for line in lines] == [2, 3]
    assert [line["step_of_status"] for line in lines] == [10, 15]
    # How bright a picture is can be read off any encoder.
    assert all(line["probe_linear"] == 1.0 and line["probe_knn"] > 0.8 for line in lines)


def test_probing_changes_nothing_of_the_training(tmp_path: Path) -> None:
    pretrain(probed(tmp_path / "with", probe_every=1), labelled())
    pretrain(probed(tmp_path / "without"), labelled())
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    assert not probe_lines(tmp_path / "without")


def test_a_resumed_run_probes_as_one_that_never_stopped(tmp_path: Path) -> None:
    recipe = probed(tmp_path / "parts", probe_every=1)
    pretrain(dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, stop_after=7)), labelled())
    pretrain(dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, resume=True)), labelled())
    pretrain(probed(tmp_path / "whole", probe_every=1), labelled())
    assert probe_lines(tmp_path / "parts") == probe_lines(tmp_path / "whole")
    assert len(probe_lines(tmp_path / "whole")) == 3


def test_the_chosen_images_go_round_the_classes() -> None:
    probe = OnlineProbe(ProbeOptions(probe_every=1, probe_images=10), labelled())
    assert np.bincount(probe.train.labels).tolist() == [5, 5]
    again = OnlineProbe(ProbeOptions(probe_every=1, probe_images=10), labelled())
    assert (probe.train.indices == again.train.indices).all()
    model = create_model("mae_vit_tiny_patch4_16", seed=0)
    assert probe(model, Extraction()) == again(model, Extraction())
    assert model.training


def test_images_without_labels_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected labelled images, got .* without a label"):
        pretrain(probed(tmp_path / "run", probe_every=1), pictures())
    assert not (tmp_path / "run").exists()


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="probe_every: expected a number of epochs ≥ 0, got -1"):
        ProbeOptions(probe_every=-1)
    with pytest.raises(ValueError, match="probe_images: expected at least 2 images, got 1"):
        ProbeOptions(probe_images=1)
