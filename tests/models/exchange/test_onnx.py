"""Graphs are run by onnxruntime; without the extra there is nothing to run."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from models.exchange.foreign import SQUARE, WIDE, gmae, mae
from splatlearn.models import GMAE, MAE
from splatlearn.models.exchange import onnx as graphs
from splatlearn.models.exchange.onnx import OUTPUTS, export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@contextmanager
def unchecked() -> Iterator[None]:
    """Without shape checks, which would make the number of images that is traced a constant."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of each kind, for to make one takes a second."""
    folder = tmp_path_factory.mktemp("graphs")
    with unchecked():
        assert export_onnx(mae(SQUARE), folder / "encoder.onnx") < 1e-4
        assert export_onnx(gmae(WIDE), folder / "gaussians.onnx", "gaussians") < 1e-4
    assert sorted(path.name for path in folder.iterdir()) == ["encoder.onnx", "gaussians.onnx"]
    return folder


def run(file: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_encoder_s_tokens(batch: int, folder: Path, generator: torch.Generator) -> None:
    images = torch.rand(batch, 3, 16, 16, generator=generator)
    found = run(folder / "encoder.onnx", images)
    with torch.no_grad():
        np.testing.assert_allclose(found["tokens"], mae(SQUARE).encode(images).numpy(), atol=1e-4)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_gaussians(batch: int, folder: Path, generator: torch.Generator) -> None:
    images = torch.rand(batch, 3, 16, 24, generator=generator)
    found = run(folder / "gaussians.onnx", images)
    assert tuple(found) == OUTPUTS["gaussians"]
    with torch.no_grad():
        gaussians = gmae(WIDE).gaussians(images)
    for name, value in found.items():
        np.testing.assert_allclose(value, getattr(gaussians, name).numpy(), atol=1e-4)


def test_colours_from_visible_patches_are_in_the_graph(tmp_path: Path) -> None:
    config = dataclasses.replace(gmae(WIDE).config, color="residual", heads="separate")
    model = GMAE(config, torch.Generator().manual_seed(0))
    with unchecked():
        # It compares the graph with the model on a batch of another size.
        assert export_onnx(model, tmp_path / "gaussians.onnx", "gaussians") < 1e-4


def test_graphs_are_whole(folder: Path) -> None:
    for name in ("encoder.onnx", "gaussians.onnx"):
        onnx.checker.check_model(str(folder / name), full_check=True)


def test_a_graph_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_shape_checks: None
) -> None:
    monkeypatch.setattr(graphs, "TOLERANCE", 0.0)
    with pytest.raises(ValueError, match="tokens: expected the model's values within 0.0, got a difference of"):
        export_onnx(mae(WIDE), tmp_path / "encoder.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_shape_checks: None) -> None:
    model: MAE | GMAE = mae()
    with pytest.raises(ValueError, match="model: expected a GMAE, .* got a MAE; export its encoder"):
        export_onnx(model, tmp_path / "a.onnx", "gaussians")
    with pytest.raises(ValueError, match="graph: expected one of encoder, gaussians, got 'decoder'"):
        export_onnx(model, tmp_path / "a.onnx", "decoder")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path: expected a file such as"):
        export_onnx(model, tmp_path)

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(graphs.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"ONNX needs onnx, which is not installed; pip install 'splatlearn\[onnx\]'"):
        export_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []
