from pathlib import Path

import pytest
import torch

from models.small_models import small_gmae
from splatlearn.models import load_model, save_model
from splatlearn.models.folders import packaged


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    save_model(small_gmae(3), tmp_path / "gmae-tiny", dtype=torch.float16)
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_found_by_name(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(packed.parent)
    assert packaged.packaged_models() == {"gmae-tiny": packed / "gmae-tiny"}
    model = load_model("gmae-tiny")
    for (name, loaded), own in zip(model.state_dict().items(), small_gmae(3).state_dict().values(), strict=True):
        assert loaded.dtype == own.dtype, name
        assert torch.equal(loaded, own.half().float()), name


def test_a_folder_of_that_name_comes_first(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    save_model(small_gmae(4), here / "gmae-tiny")
    assert torch.equal(load_model("gmae-tiny").encoder.cls_token, small_gmae(4).encoder.cls_token)


def test_other_names_are_as_before(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(packed.parent)
    with pytest.raises(FileNotFoundError, match="gmae-huge: expected an existing folder or a Hub id"):
        load_model("gmae-huge")
