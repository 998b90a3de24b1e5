"""Exports of models, and imports, by the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from cli.commands import run
from models.exchange.foreign import SQUARE, WIDE, gmae, mae, official_file, their_mae
from splatlearn.cli import export_model as exporting
from splatlearn.models import GMAE, load_model, save_model
from splatlearn.models.exchange.onnx import OUTPUTS


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A run as training leaves it, of a MAE that predicts standardised patches."""
    folder = tmp_path / "birds"
    save_model(mae(SQUARE), folder / "checkpoints" / "step-00000020")
    recipe = {"method": "mae", "data": {"data": "photos"}, "objective": {"mask_ratio": 0.5, "normalize_targets": True}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "environment.json").write_text(json.dumps({"command": "splatlearn pretrain mae", "versions": {"a": "1"}}))
    lines = [{"step": step, "loss": 1 / step} for step in (10, 20)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"st')
    return folder


def test_a_run_s_recipe_is_in_what_is_exported(
    birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("export", str(birds), "--to", "hf-mae", "--license", "cc-by-4.0") == 0
    assert "ViTMAEForPreTraining.from_pretrained" in capsys.readouterr().out
    said = json.loads((tmp_path / "birds-hf-mae" / "config.json").read_text())
    assert said["norm_pix_loss"] is True and said["mask_ratio"] == 0.5
    card: Any = ModelCard.load(tmp_path / "birds-hf-mae" / "README.md")
    assert card.data.license == "cc-by-4.0" and "# birds" in card.text and "20 steps, loss 0.05" in card.text
    checkpoint = birds / "checkpoints" / "step-00000020"
    assert run("export", str(checkpoint), "--to", "timm") == 0
    assert 'timm.create_model("local-dir:birds-timm"' in capsys.readouterr().out
    assert run("export", str(birds), "--to", "hf", "--out", "new/vit") == 0
    assert "# birds" in (tmp_path / "new" / "vit" / "README.md").read_text()


@pytest.mark.parametrize(("to", "graph"), [("onnx", "encoder"), ("onnx-gaussians", "gaussians")])
def test_graphs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, to: str, graph: str
) -> None:
    """The graphs themselves are those of `tests/models/exchange/test_onnx.py`."""

    def export(model: object, path: Path, which: str) -> float:
        assert isinstance(model, GMAE) and which == graph
        path.write_bytes(b"graph")
        return 3e-6

    monkeypatch.setattr("splatlearn.models.exchange.onnx.export_onnx", export)
    save_model(gmae(WIDE), tmp_path / "model")
    out = tmp_path / "graph.onnx"
    assert run("export", tmp_path / "model", "--to", to, "--out", out) == 0
    said = capsys.readouterr().out
    assert "images [batch, 3, 16, 24] in [0, 1] to " + ", ".join(OUTPUTS[graph]) in said  # type: ignore[index]
    assert "onnxruntime differs by at most 3e-06" in said and out.read_bytes() == b"graph"


def test_a_push_takes_the_run_s_facts(birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[tuple[object, ...]] = []

    def push(model: object, repo_id: str, facts: object, private: bool | None) -> str:
        pushed.append((type(model).__name__, repo_id, getattr(facts, "data", None), private))
        return "address"

    monkeypatch.setattr(exporting, "push_to_hub", push)
    assert run("export", str(birds), "--to", "hub", "--out", "someone/birds", "--private") == 0
    assert pushed == [("MAE", "someone/birds", "photos", True)]


def test_wrong_exports_are_one_sentence(birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(mae(SQUARE), tmp_path / "mae")
    save_model(gmae(WIDE), tmp_path / "gmae")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "precious").write_bytes(b"precious")
    for arguments, message in [
        (("mae", "photo.png", "--to", "timm"), "image: expected none with --to timm"),
        (("mae", "--to", "hf-mae", "--out", "new"), "target: expected colors or patches, got none"),
        (("gmae", "--to", "hf-mae", "--out", "new"), "model: expected a MAE, got a GMAE"),
        (("mae", "--to", "onnx-gaussians", "--out", "new.onnx"), "model: expected a GMAE"),
        (("mae", "--to", "timm", "--out", "taken"), "taken exists; choose another with --out, or give --overwrite"),
        (("mae", "--to", "onnx", "--out", "taken", "--overwrite"), "out: expected a file, got"),
        (("mae", "--to", "timm", "--out", "taken/precious", "--overwrite"), "out: expected a folder, got"),
        (("mae", "--to", "hub"), "out: expected the Hub repository, owner/name"),
        (("mae", "--to", "hub", "--out", "birds"), "repo_id: expected owner/name, got 'birds'"),
    ]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            assert run("export", *arguments) == 2
        error = capsys.readouterr().err.strip()
        assert message in error and "Traceback" not in error
    assert (tmp_path / "taken" / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "new").exists() and not (tmp_path / "new.onnx").exists()


class TestImport:
    def test_official_weights(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        torch.save({"model": official_file(their_mae())}, tmp_path / "mae_visualize.pth")
        options = ("--num-heads", "3", "--decoder-num-heads", "2", "--target", "colors")
        out = tmp_path / "model"
        assert run("import", str(tmp_path / "mae_visualize.pth"), "--out", str(out), *options) == 0
        assert "imported with its decoder, which predicts colours in [0, 1]" in capsys.readouterr().out
        assert load_model(out).config.encoder.num_heads == 3
        assert "Imported from" in (out / "README.md").read_text()

    def test_there_and_back(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_model(gmae(WIDE), tmp_path / "gmae")
        assert run("export", str(tmp_path / "gmae"), "--to", "hf", "--out", str(tmp_path / "vit")) == 0
        into = ("--into", str(tmp_path / "gmae"))
        assert run("import", str(tmp_path / "vit"), "--out", str(tmp_path / "again"), *into) == 0
        assert "with the decoder of the model it went into" in capsys.readouterr().out
        first, second = load_model(tmp_path / "gmae").state_dict(), load_model(tmp_path / "again").state_dict()
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

    def test_wrong_input_is_one_sentence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "precious").touch()
        for source, out, message in [
            ("none.pth", "new", "none.pth: expected an existing file, folder or Hub id"),
            ("none.pth", "taken", "taken exists; choose another with --out, or give --overwrite"),
            ("none.pth", "taken/precious", "out: expected a folder, got the file"),
        ]:
            assert run("import", str(tmp_path / source), "--out", str(tmp_path / out)) == 2
            error = capsys.readouterr().err.strip()
            assert message in error and "Traceback" not in error
