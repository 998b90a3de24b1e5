"""Model folders of older schemas are read."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from models.small_models import small_gmae, small_mae
from splatlearn.core.errors import FormatError
from splatlearn.models import classifier_from, load_classifier, load_model, save_model
from splatlearn.models.folders.migrations import NEW_GAUSSIANS_IN_2, NEW_NAMES_IN_2, SCHEMA_VERSION, migrate
from splatlearn.models.folders.packaged import packaged_models

STORED = Path(__file__).parents[2] / "training" / "stored"
OLD_NAMES = {new: old for old, new in NEW_NAMES_IN_2.items()}


def as_schema_1(folder: Path) -> None:
    """Rewrite `config.json` with the names that schema 1 had."""
    path = folder / "config.json"
    description = json.loads(path.read_text())
    for part in ("encoder", "decoder"):
        if part in description["config"]:
            sizes = description["config"][part]
            description["config"][part] = {OLD_NAMES.get(key, key): value for key, value in sizes.items()}
    for old, new in NEW_GAUSSIANS_IN_2.items():
        if new in description["config"]:
            description["config"][old] = description["config"].pop(new)
    path.write_text(json.dumps({**description, "schema_version": 1}))


@pytest.mark.parametrize("kind", ["mae", "gmae"])
def test_schema_1(kind: str, tmp_path: Path) -> None:
    model = small_mae() if kind == "mae" else small_gmae()
    save_model(model, tmp_path)
    as_schema_1(tmp_path)
    assert '"width": 24' in (tmp_path / "config.json").read_text()
    found = load_model(tmp_path)
    assert found.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_a_classifier_of_schema_1(tmp_path: Path) -> None:
    classifier = classifier_from(small_mae(), ("a", "b"))
    save_model(classifier, tmp_path)
    as_schema_1(tmp_path)
    assert load_classifier(tmp_path).config == classifier.config


@pytest.mark.parametrize(
    "folder", [*packaged_models().values(), STORED / "checkpoint_schema_1"], ids=lambda it: it.name
)
def test_stored_models_are_migrated(folder: Path, tmp_path: Path) -> None:
    description = json.loads((folder / "config.json").read_text())
    if description["schema_version"] != 1:
        pytest.skip("written by this version")
    before = json.dumps(description)
    encoder = description["config"]["encoder"]
    found = migrate(description)
    assert json.dumps(description) == before and found["schema_version"] == SCHEMA_VERSION
    assert found["config"]["encoder"]["embed_dim"] == encoder["width"]
    copied = shutil.copytree(folder, tmp_path / "model")
    model = load_model(copied)
    sizes = model.config.encoder
    assert (sizes.embed_dim, sizes.num_heads, model.patch_size) == (
        encoder["width"],
        encoder["heads"],
        encoder["patch"],
    )


def test_odd_descriptions_pass_through() -> None:
    for config in (None, [], "x", {"encoder": 3}, {"encoder": {"width": 8}, "decoder": None}):
        assert migrate({"schema_version": 1, "config": config})["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize("version", [0, 99, None, True, 2.0, "2", [1]])
def test_unknown_schemas_are_refused(version: object) -> None:
    with pytest.raises(FormatError, match=f"expected schema_version {SCHEMA_VERSION} or older, got"):
        migrate({"schema_version": version})
