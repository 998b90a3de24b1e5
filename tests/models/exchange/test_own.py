"""Files of this library's own models are named as such, with what to do instead of an import."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.exchange.foreign import gmae, mae
from splatlearn.cli import main
from splatlearn.core.errors import InputError
from splatlearn.models import load_model, save_model
from splatlearn.models.classifier import classifier_from
from splatlearn.models.exchange import import_model


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("GMAE", gmae()),
        ("MAE", mae()),
        ("encoder", mae().encoder),
        ("classifier", classifier_from(mae(), ("a", "b"), "mean", torch.Generator())),
    ],
)
def test_a_state_dict(kind: str, model: nn.Module, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save({prefix + name: value for name, value in model.state_dict().items()}, path)
    with pytest.raises(InputError) as error:
        import_model(path)
    said = str(error.value)
    assert said.startswith(f"{path}: expected another") and f"the state dict of a splatlearn {kind}," in said
    assert "load_state_dict" in said and 'save_model(model, "FOLDER")' in said


def test_what_the_message_says_works(tmp_path: Path) -> None:
    torch.save(gmae(seed=3).state_dict(), tmp_path / "mine.pth")
    fresh = gmae(seed=4)
    fresh.load_state_dict(torch.load(tmp_path / "mine.pth", weights_only=True))
    save_model(fresh, tmp_path / "model")
    found, wanted = load_model(tmp_path / "model").state_dict(), gmae(seed=3).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_file_of_a_model_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(mae(), tmp_path / "model")
    with pytest.raises(SystemExit) as stop:
        main(["import", str(tmp_path / "model" / "model.safetensors"), "--out", str(tmp_path / "out")])
    said = " ".join(capsys.readouterr().err.split())
    assert stop.value.code == 2 and f"give {tmp_path / 'model'} itself" in said
