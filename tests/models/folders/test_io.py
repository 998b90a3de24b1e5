import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from models.small_models import small_gmae, small_mae
from splatlearn.models import (
    GMAE,
    MAE,
    GMAEConfig,
    MaskedAutoencoder,
    load_model,
    load_weights,
    random_mask,
    save_model,
)


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


COLOURED = GMAEConfig(background=(0.0, 0.5, 1.0))


@pytest.mark.parametrize("model", [small_mae(), small_gmae(), small_gmae(config=COLOURED)])
def test_round_trip(model: MAE | GMAE, tmp_path: Path, generator: torch.Generator) -> None:
    save_model(model, tmp_path / "deep" / "model")
    before = torch.random.get_rng_state()
    loaded = load_model(tmp_path / "deep" / "model")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(loaded) is type(model) and loaded.config == model.config and not loaded.training
    images, mask = torch.rand(1, 3, 16, 24, generator=generator), random_mask(1, (4, 6), generator=generator)
    assert torch.equal(loaded(images, mask).image, model.eval()(images, mask).image)
    assert sorted(path.name for path in (tmp_path / "deep" / "model").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip


def test_saving_again_replaces(tmp_path: Path) -> None:
    save_model(small_mae(), tmp_path)
    save_model(small_gmae(3), tmp_path)
    loaded = load_model(str(tmp_path))
    assert isinstance(loaded, GMAE) and torch.equal(loaded.query_embed, small_gmae(3).query_embed)


def test_all_files_may_be_read_by_those_who_may_read_new_files(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    save_model(small_mae(), tmp_path / "model")
    modes = {path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert modes == {(tmp_path / "new").stat().st_mode}


def test_what_is_written_says_where_it_comes_from(tmp_path: Path) -> None:
    save_model(small_gmae(), tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["schema_version"], written["kind"]) == (2, "gmae") and written["splatlearn_version"]
    assert written["config"]["encoder"]["image_size"] == [16, 24]


def test_a_run_gives_its_newest_complete_checkpoint(tmp_path: Path) -> None:
    for step in (9, 200, 1000):
        save_model(small_mae(step), tmp_path / "checkpoints" / f"step-{step:08d}")
    (tmp_path / "checkpoints" / "step-00001000" / "config.json").unlink()
    (tmp_path / "checkpoints" / "step-later").mkdir()
    save_model(small_mae(5), tmp_path / "checkpoints" / ".tmp-step-00002000")
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.encoder.cls_token, small_mae(200).encoder.cls_token)


def test_a_hub_id_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(small_mae(), tmp_path)
    asked: list[tuple[str, list[str]]] = []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert isinstance(load_model("someone/birds"), MAE)
    assert asked == [("someone/birds", ["config.json", "model.safetensors"])]


def test_weights_of_another_precision_are_converted(tmp_path: Path) -> None:
    save_model(small_mae().bfloat16(), tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.encoder.cls_token.dtype == torch.float32
    torch.testing.assert_close(loaded.encoder.cls_token, small_mae().encoder.cls_token, atol=1e-3, rtol=0.01)


class TestErrors:
    def test_nothing_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(FileNotFoundError, match="expected a folder with config.json and model.*, or a run"):
            load_model(tmp_path)
        with pytest.raises(FileNotFoundError, match="expected an existing folder or a Hub id owner/name"):
            load_model(tmp_path / "none")
        (tmp_path / "file").touch()
        with pytest.raises(FileNotFoundError, match="got a file; give the folder it lies in"):
            load_model(tmp_path / "file")

        def offline(name: str, allow_patterns: list[str]) -> str:
            raise LocalEntryNotFoundError("no connection")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
        with pytest.raises(FileNotFoundError, match="^runs/birds: .* and the Hub could not provide it"):
            load_model("runs/birds")

    def test_weights_that_do_not_fit(self, tmp_path: Path) -> None:
        save_model(small_mae(), tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        del weights["head.bias"]
        weights["extra"] = torch.zeros(1)
        weights["mask_token"] = torch.zeros(1, 1, 3)
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match="missing: head.bias; unexpected: extra; of another shape: mask_token"):
            load_model(tmp_path)
        with pytest.raises(
            ValueError, match=r"missing: anchors, head.bias, query_embed, query_token; unexpected: extra, mask_token"
        ):
            load_weights(small_gmae(), tmp_path)

    def test_truncated_weights(self, tmp_path: Path) -> None:
        save_model(small_mae(), tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"not weights")
        with pytest.raises(ValueError, match="expected a readable safetensors file"):
            load_model(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(FileNotFoundError, match="expected a folder with model.safetensors, found none"):
            load_weights(small_mae(), tmp_path)

    def test_configuration(self, tmp_path: Path) -> None:
        save_model(small_mae(), tmp_path)
        rewrite(tmp_path, schema_version=7, splatlearn_version="9.9")
        with pytest.raises(ValueError, match="schema_version 2 or older, got 7, written by splatlearn 9.9; update"):
            load_model(tmp_path)
        rewrite(tmp_path, schema_version=2, kind="vqgan")
        with pytest.raises(ValueError, match="kind: expected one of mae, gmae, .*classifier, .*got 'vqgan'"):
            load_model(tmp_path)
        rewrite(tmp_path, kind="mae", config={"encoder": {"embed_dim": 10}})
        with pytest.raises(ValueError, match="config.json: embed_dim, depth, num_heads: .* got embed_dim 10"):
            load_model(tmp_path)
        (tmp_path / "config.json").write_text('{"model_type": "vit_mae"}')
        with pytest.raises(ValueError, match="expected a model saved by splatlearn"):
            load_model(tmp_path)
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(ValueError, match="expected JSON"):
            load_model(tmp_path)

    def test_other_modules(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="model: expected a MAE or a GMAE, got Sequential; unwrap it first"):
            save_model(torch.nn.Sequential(small_mae()), tmp_path)
        assert issubclass(MAE, MaskedAutoencoder) and list(tmp_path.iterdir()) == []
