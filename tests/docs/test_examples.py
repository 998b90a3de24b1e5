"""The examples run, the notebook too."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import matplotlib
import pytest

import splatlearn as sl

EXAMPLES = Path(__file__).parents[2] / "examples"


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pretraining_example_leaves_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_example("pretrain_on_photos").main(str(tmp_path / "run"), 2)
    assert "after 2 steps" in capsys.readouterr().out
    assert isinstance(sl.load_model(tmp_path / "run"), sl.GMAE)


def test_fitting_example_writes_a_splat_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_example("fit_a_photo").main(str(tmp_path), 60, 10)
    assert "60 Gaussians, 10 steps" in capsys.readouterr().out
    assert sl.read_splats(tmp_path / "fit.ply").count == 60
    assert (tmp_path / "fit.png").is_file()


def test_layers_example_finds_the_disc(tmp_path: Path) -> None:
    load_example("layers_without_labels").main(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "rendering.png", "layer-1.png", "layer-2.png", "edges.png", "figure.png"
    }  # fmt: skip


def test_every_cell_of_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    shown: list[int] = []
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: shown.append(1))
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    namespace: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    assert len(shown) == 3
