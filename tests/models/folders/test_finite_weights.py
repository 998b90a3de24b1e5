"""Weights that are not finite are refused by every reader, with the name of the tensor."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.exchange.foreign import mae
from models.small_models import small_gmae, small_mae
from splatlearn.cli import main
from splatlearn.core.errors import FormatError, InputError
from splatlearn.models import load_classifier, load_model, save_model
from splatlearn.models.classifier import classifier_from
from splatlearn.models.exchange import ImportOptions, export_timm, export_vit_mae, import_model
from splatlearn.models.exchange.layout import official_weights

BAD = [float("nan"), float("inf"), float("-inf")]
OPTIONS = ImportOptions(num_heads=3, decoder_num_heads=2, target="patches")


def spoil(path: Path, name: str, value: float, dtype: torch.dtype = torch.float32) -> None:
    """Put one number into a tensor of a stored file, after its first."""
    weights = load_file(path)
    weights[name] = weights[name].to(dtype).clone()
    weights[name].view(-1)[1] = value
    save_file(weights, path, metadata={"format": "pt"})


def says(error: pytest.ExceptionInfo[FormatError], path: Path, name: str, wrong: int = 1) -> bool:
    said = str(error.value)
    return said.startswith(f"{path}: {name}: expected finite") and f"got {wrong} of" in said and "earlier" in said


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_model_folder(value: float, dtype: torch.dtype, tmp_path: Path) -> None:
    save_model(small_gmae(), tmp_path)
    spoil(tmp_path / "model.safetensors", "decoder.blocks.0.attn.qkv.weight", value, dtype)
    with pytest.raises(FormatError) as error:
        load_model(tmp_path)
    assert says(error, tmp_path / "model.safetensors", "decoder.blocks.0.attn.qkv.weight")


def test_numbers_that_float32_has_no_place_for(tmp_path: Path) -> None:
    save_model(small_mae(), tmp_path)
    spoil(tmp_path / "model.safetensors", "head.bias", 1e300, torch.float64)
    with pytest.raises(FormatError) as error:
        load_model(tmp_path)
    assert says(error, tmp_path / "model.safetensors", "head.bias")


def test_eight_bit_numbers(tmp_path: Path) -> None:
    save_model(small_mae(), tmp_path)
    path = tmp_path / "model.safetensors"
    spoil(path, "head.bias", 0.5, torch.float8_e4m3fn)
    assert float(load_model(tmp_path).state_dict()["head.bias"][1]) == 0.5
    spoil(path, "head.bias", float("nan"), torch.float8_e4m3fn)
    with pytest.raises(FormatError, match=r"head\.bias: expected finite"):
        load_model(tmp_path)


def test_a_classifier_and_a_run(tmp_path: Path) -> None:
    save_model(classifier_from(small_mae(), ("a", "b"), "mean", torch.Generator()), tmp_path / "classifier")
    spoil(tmp_path / "classifier" / "model.safetensors", "head.bias", float("nan"))
    with pytest.raises(FormatError, match=r"head\.bias: expected finite"):
        load_classifier(tmp_path / "classifier")
    step = tmp_path / "run" / "checkpoints" / "step-00000001"
    save_model(small_mae(), step)
    spoil(step / "model.safetensors", "mask_token", float("inf"))
    with pytest.raises(FormatError) as error:
        load_model(tmp_path / "run")
    assert says(error, step / "model.safetensors", "mask_token")


def test_the_command_line_says_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(small_mae(), tmp_path / "model")
    spoil(tmp_path / "model" / "model.safetensors", "mask_token", float("nan"))
    with pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path / "model"), "--to", "timm", "--out", str(tmp_path / "out")])
    said = " ".join(capsys.readouterr().err.split())
    assert stop.value.code == 2 and "mask_token: expected finite" in said and not (tmp_path / "out").exists()


def as_timm(folder: Path) -> tuple[Path, str]:
    export_timm(mae(), folder)
    return folder / "model.safetensors", "blocks.1.mlp.fc2.bias"


def as_transformers(folder: Path) -> tuple[Path, str]:
    export_vit_mae(mae(), folder, "patches")
    return folder / "model.safetensors", "decoder.decoder_pred.bias"


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("made", [as_timm, as_transformers])
def test_folders_of_others(made: Callable[[Path], tuple[Path, str]], value: float, tmp_path: Path) -> None:
    path, name = made(tmp_path / "theirs")
    spoil(path, name, value)
    with pytest.raises(FormatError) as error:
        import_model(tmp_path / "theirs")
    # The message has the official name, onto which all others are mapped.
    assert says(error, tmp_path / "theirs", name.removeprefix("decoder.") if "pred" in name else name)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["decoder_blocks.1.norm2.weight", "pos_embed", "cls_token"])
def test_files_of_others(name: str, ending: str, tmp_path: Path) -> None:
    weights: dict[str, Tensor] = {each: value.detach().clone() for each, value in official_weights(mae()).items()}
    weights[name].view(-1)[:2] = float("nan")
    path = tmp_path / f"mae{ending}"
    if ending == ".pth":
        torch.save({"model": weights}, path)
    else:
        save_file(weights, path)
    with pytest.raises(FormatError) as error:
        import_model(path, OPTIONS)
    assert says(error, path, name, wrong=2)


def test_what_is_left_out_may_be_anything(tmp_path: Path) -> None:
    weights = {name: value.detach() for name, value in official_weights(mae()).items()}
    torch.save({**weights, "head.weight": torch.full((5, 24), torch.nan)}, tmp_path / "mae.pth")
    assert import_model(tmp_path / "mae.pth", OPTIONS).left_out == ("head.weight",)


def test_a_dtype_that_cannot_hold_a_weight_is_refused(tmp_path: Path) -> None:
    model = small_mae()
    with torch.no_grad():
        model.head.bias[3] = 1e5
    with pytest.raises(InputError, match=r"numbers of head\.bias become infinite; use torch\.bfloat16"):
        save_model(model, tmp_path / "model", dtype=torch.float16)
    assert not (tmp_path / "model").exists()
    save_model(model, tmp_path / "model", dtype=torch.bfloat16)
    assert float(load_model(tmp_path / "model").state_dict()["head.bias"][3]) == pytest.approx(1e5, rel=2**-8)
