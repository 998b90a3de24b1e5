"""Files of weights as people have them: wrapped, nested, refused, torn, compressed, of odd tensors."""

import argparse
import io
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from models.exchange.foreign import DECODER, SQUARE, mae
from splatlearn.core.errors import FormatError, SplatlearnError
from splatlearn.models import MAE, MAEConfig, ViTConfig
from splatlearn.models.exchange import ImportOptions, import_model
from splatlearn.models.exchange.layout import official_weights
from splatlearn.models.exchange.sources import WRAPPERS, unwrapped

OPTIONS = ImportOptions(num_heads=3, decoder_num_heads=2, target="patches")


@pytest.fixture(scope="module")
def model() -> MAE:
    return mae()


@pytest.fixture(scope="module")
def weights(model: MAE) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in official_weights(model).items()}


def same(found: torch.nn.Module, model: MAE) -> bool:
    """Whether two models have the same weights; the class token's has taken the table's in, which is 0 there."""
    wanted = model.state_dict()
    return all(torch.equal(value, wanted[name]) for name, value in found.state_dict().items())


def wrapped(name: str) -> st.SearchStrategy[str]:
    """The name with parts of wrappers before any of its own."""
    parts = name.split(".")
    before = st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=2)
    return st.tuples(*(before for _ in parts)).map(
        lambda found: ".".join(each for more, part in zip(found, parts, strict=True) for each in (*more, part))
    )


class TestNames:
    @settings(max_examples=50)
    @given(data=st.data())
    def test_wrappers_go_wherever_they_stand(self, data: st.DataObject, weights: dict[str, Tensor]) -> None:
        chosen = {
            name: weights[name] for name in ["cls_token", "blocks.0.attn.qkv.bias", "decoder_blocks.1.norm2.weight"]
        }
        named = {data.draw(wrapped(name)): value for name, value in chosen.items()}
        found = unwrapped(named)
        assert found.keys() == chosen.keys() and all(found[name] is chosen[name] for name in found)

    @pytest.mark.parametrize(
        "prefix",
        ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module._orig_mod.", "model."],
    )
    @pytest.mark.parametrize("ending", [".pth", ".bin", ".safetensors"])
    def test_wrapped_files(
        self, prefix: str, ending: str, model: MAE, weights: dict[str, Tensor], tmp_path: Path
    ) -> None:
        named = {prefix + name: value.contiguous() for name, value in weights.items()}
        path = tmp_path / f"mae{ending}"
        if ending == ".safetensors":
            save_file(named, path)
        else:
            torch.save({"model": named}, path)
        assert same(import_model(path, OPTIONS).model, model)

    def test_a_module_compiled_inside_another(self, model: MAE, weights: dict[str, Tensor], tmp_path: Path) -> None:
        named = {name.replace("blocks.1.", "blocks.1._orig_mod."): value for name, value in weights.items()}
        torch.save(named, tmp_path / "mae.pt")
        assert same(import_model(tmp_path / "mae.pt", OPTIONS).model, model)

    def test_an_average_of_weights_has_a_counter_of_its_own(
        self, model: MAE, weights: dict[str, Tensor], tmp_path: Path
    ) -> None:
        averaged = {f"module.{name}": value for name, value in weights.items()}
        torch.save({"n_averaged": torch.tensor(7), **averaged}, tmp_path / "mae.pt")
        found = import_model(tmp_path / "mae.pt", OPTIONS)
        assert same(found.model, model) and found.left_out == ("n_averaged",)

    def test_two_tensors_of_one_name_are_refused(self, weights: dict[str, Tensor], tmp_path: Path) -> None:
        torch.save({**weights, "module.cls_token": weights["cls_token"]}, tmp_path / "mae.pt")
        with pytest.raises(FormatError, match=r"mae\.pt: 'module\.cls_token': expected one tensor of the name"):
            import_model(tmp_path / "mae.pt", OPTIONS)


class TestPlaces:
    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize(
        "nest",
        [
            lambda each: each,
            lambda each: {"state_dict": each, "epoch": 3},
            lambda each: {"model_state": each},
            lambda each: {"model_state_dict": each, "loss": torch.tensor(1.0)},
            lambda each: {"student": {}, "teacher": each},
            lambda each: {"checkpoint": None, "model": {"state_dict": each}},
            lambda each: {"model": each, "optimizer": {"state": {}}, "args": argparse.Namespace(norm_pix_loss=True)},
        ],
    )  # fmt: skip
    def test_nested_state_dicts(
        self, nest: Callable[[Any], Any], legacy: bool, model: MAE, weights: dict[str, Tensor], tmp_path: Path
    ) -> None:
        torch.save(nest(weights), tmp_path / "mae.pth", _use_new_zipfile_serialization=not legacy)
        assert same(import_model(tmp_path / "mae.pth", OPTIONS).model, model)

    def test_a_dictionary_of_itself(self, tmp_path: Path) -> None:
        endless: dict[str, Any] = {}
        endless["model"] = endless
        torch.save(endless, tmp_path / "mae.pth")
        with pytest.raises(FormatError, match="expected a dictionary of tensors, got one of model"):
            import_model(tmp_path / "mae.pth", OPTIONS)

    @pytest.mark.parametrize("name", ["weights.pth", "weights", "model.bin"])
    def test_safetensors_by_another_name(
        self, name: str, model: MAE, weights: dict[str, Tensor], tmp_path: Path
    ) -> None:
        save_file({each: value.contiguous() for each, value in weights.items()}, tmp_path / name)
        assert same(import_model(tmp_path / name, OPTIONS).model, model)

    @pytest.mark.parametrize("arguments", [argparse.Namespace(norm_pix_loss=True), {"norm_pix_loss": True}])
    def test_arguments_say_the_target(self, arguments: object, weights: dict[str, Tensor], tmp_path: Path) -> None:
        torch.save({"model": weights, "args": arguments}, tmp_path / "mae.pth")
        assert import_model(tmp_path / "mae.pth", ImportOptions(num_heads=3, decoder_num_heads=2)).target == "patches"


class Touching:
    """Would write a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path(str(self.path)).touch, ()  # type: ignore[return-value]


class TestRefused:
    @pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
    @pytest.mark.parametrize(
        ("stranger", "name"),
        [
            (Path("runs/mae"), "pathlib.PosixPath"),
            (PurePosixPath("runs"), "pathlib.PurePosixPath"),
            (np.float64(0.5), "numpy"),
            (np.zeros(3), "numpy"),
            (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
            (io.StringIO("x"), "_io.StringIO"),
        ],
    )
    def test_what_it_holds_is_named(
        self, stranger: object, name: str, how: dict[str, Any], weights: dict[str, Tensor], tmp_path: Path
    ) -> None:
        path = tmp_path / "mae.pth"
        torch.save({"model": weights, "args": argparse.Namespace(out=stranger)}, path, **how)
        with pytest.raises(FormatError) as caught:
            import_model(path, OPTIONS)
        said = str(caught.value)
        assert said.startswith(str(path)) and name in said and "\n" not in said
        assert "save the state dict alone" in said and "torch.save(model.state_dict()" in said
        assert "weights_only" not in said and "argparse.Namespace" not in said and "OrderedDict" not in said

    def test_nothing_of_it_runs(self, weights: dict[str, Tensor], tmp_path: Path) -> None:
        torch.save({"model": weights, "args": Touching(tmp_path / "touched")}, tmp_path / "mae.pth")
        with pytest.raises(FormatError, match="got one that holds .*, which is refused"):
            import_model(tmp_path / "mae.pth", OPTIONS)
        assert not (tmp_path / "touched").exists()


@pytest.fixture(scope="module")
def files(weights: dict[str, Tensor]) -> dict[bool, bytes]:
    """The bytes of a file of each format, by whether it is the legacy one."""
    found = {}
    for legacy in (False, True):
        stream = io.BytesIO()
        torch.save({"model": weights}, stream, _use_new_zipfile_serialization=not legacy)
        found[legacy] = stream.getvalue()
    return found


class TestDamaged:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_torn_files(self, data: st.DataObject, files: dict[bool, bytes], tmp_path: Path) -> None:
        raw = files[data.draw(st.booleans())]
        path = tmp_path / "mae.pth"
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
        with pytest.raises(SplatlearnError) as caught:
            import_model(path, OPTIONS)
        assert str(path) in str(caught.value) and len(str(caught.value)) < 1000

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_changed_bytes(self, data: st.DataObject, files: dict[bool, bytes], tmp_path: Path) -> None:
        raw = bytearray(files[data.draw(st.booleans())])
        for _ in range(data.draw(st.integers(1, 4))):
            # Most of what can go wrong stands at the ends: the pickle, and an archive's directory.
            place = data.draw(st.integers(0, 4000) | st.integers(len(raw) - 4000, len(raw) - 1))
            raw[place] = data.draw(st.integers(0, 255))
        path = tmp_path / "mae.pth"
        path.write_bytes(raw)
        try:
            import_model(path, OPTIONS)
        except SplatlearnError as error:
            assert str(path) in str(error) and len(str(error)) < 1000

    @pytest.mark.parametrize(
        "content", [b"", b"\0" * 100, b"PK\x03\x04" * 30, b"\x80\x02.", b"<html>not found</html>", b"{}"]
    )
    def test_other_files(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "mae.pth"
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"mae\.pth: expected"):
            import_model(path, OPTIONS)

    def test_an_archive_that_expands(self, files: dict[bool, bytes], tmp_path: Path) -> None:
        path = tmp_path / "mae.pth"
        with zipfile.ZipFile(io.BytesIO(files[False])) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for each in old.infolist():
                content = old.read(each)
                new.writestr(each.filename, bytes(2**22) if each.filename.endswith("/data/0") else content)
        assert path.stat().st_size < 2**18
        with pytest.raises(FormatError, match="needs at most 4 times its size in memory, got .* that expands to"):
            import_model(path, OPTIONS)


class TestTensors:
    @pytest.mark.parametrize(
        "odd",
        [
            torch.zeros(1, 1, 24, dtype=torch.int64),
            torch.zeros(1, 1, 24, dtype=torch.bool),
            torch.zeros(1, 1, 24, dtype=torch.complex64),
            torch.zeros(1, 1, 24).to_sparse(),
            torch.zeros(1, 1, 24, device="meta"),
            torch.zeros(1).expand(1, 1, 24),
        ],
        ids=["int64", "bool", "complex", "sparse", "meta", "expanded"],
    )
    def test_odd_ones_are_refused(self, odd: Tensor, weights: dict[str, Tensor], tmp_path: Path) -> None:
        torch.save({**weights, "cls_token": odd}, tmp_path / "mae.pth")
        with pytest.raises(SplatlearnError, match="mae.pth: cls_token: expected"):
            import_model(tmp_path / "mae.pth", OPTIONS)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions(self, dtype: torch.dtype, weights: dict[str, Tensor], tmp_path: Path) -> None:
        torch.save({name: value.to(dtype) for name, value in weights.items()}, tmp_path / "mae.pth")
        found = import_model(tmp_path / "mae.pth", OPTIONS).model
        assert {value.dtype for value in found.state_dict().values()} == {torch.float32}

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_meddled_weights_are_refused(self, data: st.DataObject, weights: dict[str, Tensor], tmp_path: Path) -> None:
        changed = dict(weights)
        name = data.draw(st.sampled_from(sorted(weights)))
        shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 16, 24, 72]), max_size=4))
        match data.draw(st.sampled_from(["shape", "remove", "rename", "nan"])):
            case "shape":
                changed[name] = torch.zeros(shape)
            case "remove":
                del changed[name]
            case "rename":
                changed[name.replace("0", "999999999")] = changed.pop(name)
            case _:
                changed[name] = torch.full_like(changed[name], float("nan"))
        path = tmp_path / "mae.pth"
        torch.save(changed, path)
        try:
            found = import_model(path, OPTIONS)
        except SplatlearnError as error:
            assert str(path) in str(error)
            return
        built = {each: tuple(value.shape) for each, value in found.model.state_dict().items()}
        assert built == {
            each: tuple(value.shape) for each, value in MAE(MAEConfig(SQUARE, DECODER)).state_dict().items()
        }

    def test_nothing_is_built_of_sizes_that_do_not_fit(
        self, weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(config: MAEConfig, generator: object) -> None:
            raise AssertionError(f"built {config}")

        monkeypatch.setattr("splatlearn.models.exchange.importing.MAE", refuse)
        for name, message in [
            ("blocks.1000000.norm1.bias", "depth: expected at most 1024 blocks, got 1000001"),
            ("blocks.900.norm1.bias", "missing: blocks.10.attn.proj.bias, .* and"),
        ]:
            torch.save({**weights, name: torch.zeros(24)}, tmp_path / "mae.pth")
            with pytest.raises(SplatlearnError, match=message):
                import_model(tmp_path / "mae.pth", OPTIONS)


def test_one_channel(tmp_path: Path) -> None:
    encoder = ViTConfig(24, 1, 3, 4, (16, 16), channels=1, input_mean=(0.4,), input_std=(0.2,))
    grey = MAE(MAEConfig(encoder, DECODER), torch.Generator().manual_seed(0))
    torch.save({"model": official_weights(grey)}, tmp_path / "grey.pth")
    options = ImportOptions(num_heads=3, decoder_num_heads=2, target="colors", input_mean=(0.0,), input_std=(1.0,))
    found = import_model(tmp_path / "grey.pth", options).model
    assert found.config.encoder.channels == 1 and same(found, grey)
