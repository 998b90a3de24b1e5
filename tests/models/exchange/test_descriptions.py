"""Descriptions of models by other programs that somebody has meddled with: one kind of error, the file named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.exchange.foreign import mae
from odd_json import ODD_TEXTS, meddled
from splatlearn.core.errors import SplatlearnError
from splatlearn.models.exchange import export_timm, export_vit_mae, import_model

FOLDERS = ("hf", "timm")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("foreign")
    return {
        "hf": export_vit_mae(mae(), folder / "hf", "colors"),
        "timm": export_timm(mae(), folder / "timm"),
    }


def put(folder: Path, target: Path, name: str, text: str) -> None:
    """The folder with one of its files replaced."""
    target.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (target / path.name).unlink(missing_ok=True)
        (target / path.name).hardlink_to(path)
    (target / name).unlink()
    (target / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_files_that_describe_nothing(text: str, kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    put(folders[kind], tmp_path / "model", "config.json", text)
    with pytest.raises(SplatlearnError, match=str(tmp_path)):
        import_model(tmp_path / "model")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_meddled_descriptions_are_refused_or_work(
    data: st.DataObject, folders: dict[str, Path], tmp_path: Path
) -> None:
    kind = data.draw(st.sampled_from(FOLDERS))
    names = [path.name for path in sorted(folders[kind].glob("*.json"))]
    name = data.draw(st.sampled_from(names))
    valid: dict[str, Any] = json.loads((folders[kind] / name).read_text())
    put(folders[kind], tmp_path / "model", name, data.draw(meddled(valid)))
    try:
        # A fresh decoder of the default sizes would take long to draw.
        found = import_model(tmp_path / "model", into=mae() if kind == "timm" else None)
    except SplatlearnError as error:
        assert str(tmp_path) in str(error) and len(str(error)) < 2000
        return
    assert found.model.config.encoder.embed_dim == 24


@pytest.mark.parametrize(
    ("kind", "name", "changes", "message"),
    [
        ("hf", "config.json", {"model_type": []}, r"config\.json: model_type: expected text, got \[\]"),
        ("hf", "config.json", {"model_type": "clip"}, "model_type: expected vit or vit_mae, got 'clip'"),
        ("hf", "config.json", {"layer_norm_eps": "1e-6"}, "layer_norm_eps: expected a number, got '1e-6'"),
        ("hf", "config.json", {"num_attention_heads": 0}, "embed_dim, depth, num_heads: expected positive numbers"),
        ("hf", "config.json", {"image_size": [16]}, "image_size: expected an integer or a list of 2"),
        ("hf", "preprocessor_config.json", {"image_mean": [0.5]}, "input_mean: expected one number for each of 3"),
        ("hf", "preprocessor_config.json", {"image_std": ["a"] * 3}, r"image_std\[0\]: expected a number, got 'a'"),
        ("timm", "config.json", {"model_args": []}, r"model_args: expected an object, got \[\]"),
        ("timm", "config.json", {"pretrained_cfg": {"mean": 3}}, "pretrained_cfg.mean: expected a list, each a number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    kind: str, name: str, changes: dict[str, Any], message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    put(folders[kind], tmp_path / "model", name, json.dumps(json.loads((folders[kind] / name).read_text()) | changes))
    with pytest.raises(SplatlearnError, match=message):
        import_model(tmp_path / "model")
