"""Model folders that somebody has meddled with: one kind of error, the file named, nothing large built."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from models.small_models import ENCODER, small_gmae, small_mae
from odd_json import ODD_TEXTS, meddled
from splatlearn.core.errors import SplatlearnError
from splatlearn.models import (
    GMAE,
    MAE,
    Classifier,
    ClassifierConfig,
    GMAEConfig,
    load_classifier,
    load_model,
    save_model,
)
from splatlearn.models.folders import io
from splatlearn.models.folders.weight_shapes import ModelConfig, weight_shapes

Model = MAE | GMAE | Classifier
MODELS: dict[str, Callable[[], Model]] = {
    "mae": small_mae,
    "gmae": small_gmae,
    "gmae separate": lambda: small_gmae(config=GMAEConfig(gaussians=4, heads="separate", background="learned")),
    "gmae free": lambda: small_gmae(config=GMAEConfig(gaussians=4, layout="free", rotation="uniform")),
    "classifier": lambda: Classifier(ClassifierConfig(("a", "b", "c"), ENCODER)),
    "classifier cls": lambda: Classifier(ClassifierConfig(("a", "b"), ENCODER, "cls")),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(small_gmae(config=GMAEConfig(gaussians=12, gaussians_per_query=3, background=(0.0, 0.5, 1.0))), folder)
    return folder


def load(folder: Path, kind: str = "gmae") -> Model:
    return load_classifier(folder) if kind.startswith("classifier") else load_model(folder)


def test_shapes_from_a_configuration_are_those_of_the_model(model: Model) -> None:
    built = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert weight_shapes(model.config) == built


def test_every_kind_comes_back(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    loaded = load(tmp_path, "classifier" if isinstance(model, Classifier) else "model")
    assert loaded.config == model.config
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_a_file_that_describes_nothing(text: str, folder: Path, tmp_path: Path) -> None:
    copy_of(folder, tmp_path, text)
    with pytest.raises(SplatlearnError, match=r"config\.json: expected"):
        load_model(tmp_path)


DESCRIPTION = {
    "schema_version": 2, "splatlearn_version": "1", "kind": "gmae",
    "config": {
        "encoder": {
            "embed_dim": 24, "depth": 2, "num_heads": 3, "patch_size": 4, "image_size": [16, 24],
            "mlp_ratio": 4.0, "channels": 3,
            "input_mean": [0.5, 0.5, 0.5], "input_std": [0.2, 0.2, 0.2],
        },
        "decoder": {"embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 4.0},
        "gaussians": 12, "gaussians_per_query": 3, "scale_limit": 1.0, "rotation": "quaternion",
        "background": [0.0, 0.5, 1.0], "layout": "grid", "depth": "paper", "color": "bounded", "opacity": 0.5,
        "heads": "joint", "initial_scale": 0.5,
    },
}  # fmt: skip


def copy_of(folder: Path, target: Path, config: str) -> None:
    """The folder's weights with another description."""
    target.mkdir(exist_ok=True)
    if not (target / "model.safetensors").exists():
        (target / "model.safetensors").hardlink_to(folder / "model.safetensors")
    (target / "config.json").write_text(config, encoding="utf-8")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=meddled(DESCRIPTION))
def test_a_meddled_description_is_refused_or_works(text: str, folder: Path, tmp_path: Path) -> None:
    copy_of(folder, tmp_path, text)
    try:
        loaded = load_model(tmp_path)
    except SplatlearnError as error:
        assert str(tmp_path) in str(error) and len(str(error)) < 2000
        return
    assert isinstance(loaded, GMAE)
    assert weight_shapes(loaded.config) == {name: tuple(each.shape) for name, each in loaded.state_dict().items()}


@pytest.fixture
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(config: ModelConfig) -> None:
        raise AssertionError(f"built {config}")

    for name in ("MAE", "GMAE", "Classifier"):
        monkeypatch.setattr(io, name, refuse)
    yield


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("encoder.depth", 10**7, "depth: expected at most 1024 blocks, got 10000000"),
        ("decoder.depth", 1000, "expected the weights of this configuration, got missing: decoder.blocks.10.attn"),
        ("encoder.embed_dim", 24 * 2**20, "of another shape: decoder.embed.weight"),
        ("encoder.embed_dim", 24 * 2**50, "mlp_ratio: expected a number that gives an MLP of embed_dim"),
        ("encoder.mlp_ratio", 1e6, "of another shape: encoder.blocks.0.mlp.fc1.bias"),
        ("encoder.mlp_ratio", -4.0, "mlp_ratio: expected a number"),
        ("encoder.mlp_ratio", 1e300, "mlp_ratio: expected a number"),
        ("encoder.patch_size", 8, "of another shape: encoder.patch_embed.proj.weight"),
        ("encoder.patch_size", -4, "patch_size, channels: expected positive sizes"),
        ("encoder.image_size", [2**40, 2**40], "image_size: expected at most 65,536 patches of 4 px, got"),
        ("encoder.image_size", [-16, -24], "image_size: expected a height and width"),
        ("encoder.input_std", [0.0, 1.0, 1.0], "input_std: expected positive numbers"),
        ("decoder.num_heads", 0, "embed_dim, depth, num_heads: expected positive numbers"),
        ("gaussians", 3 * 10**15, r"of another shape: anchors \[12, 14\] instead of \[3000000000000000, 14\]"),
        ("gaussians_per_query", 12, "of another shape: head.bias"),
        ("background", [0, 0, 2], "background: expected one of white, black, mean, learned, or 3 numbers in"),
    ],
)
def test_sizes_are_compared_before_anything_is_built(
    place: str, value: object, message: str, folder: Path, tmp_path: Path
) -> None:
    description: dict[str, Any] = json.loads(json.dumps(DESCRIPTION))
    *path, last = ["config", *place.split(".")]
    holder = description
    for key in path:
        holder = holder[key]
    holder[last] = value
    copy_of(folder, tmp_path, json.dumps(description))
    with pytest.raises(SplatlearnError, match=message) as caught:
        load_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.usefixtures("nothing_is_built")
def test_weights_larger_than_the_memory_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(folder, tmp_path, json.dumps(DESCRIPTION))
    monkeypatch.setattr("splatlearn.models.folders.weight_shapes._memory", lambda: 1000)
    with pytest.raises(SplatlearnError, match="expected weights that fit into the memory of this machine, 0.0 GiB"):
        load_model(tmp_path)


class TestWeights:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
    def test_every_floating_type_becomes_float32(self, dtype: torch.dtype, tmp_path: Path) -> None:
        model = small_mae()
        save_model(model, tmp_path, dtype=dtype)
        for name, value in load_model(tmp_path).state_dict().items():
            assert torch.equal(value, model.state_dict()[name].to(dtype).float())

    @pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64, torch.uint16])
    def test_other_numbers_are_refused(self, dtype: torch.dtype, tmp_path: Path) -> None:
        save_model(small_mae(), tmp_path)
        path = tmp_path / "model.safetensors"
        weights = load_file(path)
        save_file({**weights, "mask_token": torch.zeros(1, 1, 16, dtype=dtype)}, path)
        with pytest.raises(SplatlearnError, match="mask_token: expected floating-point numbers, got"):
            load_model(tmp_path)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_torn_and_meddled_files(self, data: st.DataObject, folder: Path, tmp_path: Path) -> None:
        raw = bytearray((folder / "model.safetensors").read_bytes())
        size = int.from_bytes(raw[:8], "little")
        if data.draw(st.booleans()):
            raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
        else:
            place = data.draw(st.integers(0, 8 + size - 1))
            raw[place] = data.draw(st.integers(0, 255))
        (tmp_path / "config.json").write_text(json.dumps(DESCRIPTION))
        (tmp_path / "model.safetensors").unlink(missing_ok=True)
        (tmp_path / "model.safetensors").write_bytes(raw)
        try:
            load_model(tmp_path)
        except SplatlearnError as error:
            assert "model.safetensors" in str(error)
