"""A command whose rendering has no compiled backend says so once, with the reason."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.small_models import small_gmae
from splatlearn.cli import main
from splatlearn.core.errors import SlowBackendWarning
from splatlearn.models import save_model
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.choice import choose_backend

SAID = "rendering is hundreds of times slower than with a compiled backend on this cpu device"


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_support, "_native", None)
    monkeypatch.setattr(cpu_support, "_MISSING", "omp.h: no such file")


@pytest.mark.usefixtures("without_kernel")
class TestWithoutTheKernel:
    @pytest.fixture
    def photo(self, tmp_path: Path) -> str:
        pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        return str(tmp_path / "photo.png")

    def run(self, *arguments: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        assert ended.value.code == 0

    def test_fit(self, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for again in ("one", "two"):
            self.run("fit", photo, "--out", str(tmp_path / again), "--gaussians", "5", "--steps", "2")
            assert capsys.readouterr().err.count(f"splatlearn: {SAID}: not built: omp.h: no such file\n") == 1

    def test_edges(self, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_model(small_gmae(), tmp_path / "model")
        self.run("edges", str(tmp_path / "model"), photo, "--out", str(tmp_path / "out"), "--fit-steps", "2")
        assert capsys.readouterr().err.count(SAID) == 1

    def test_of_several_processes_one_says_it(
        self, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        self.run("fit", photo, "--out", str(tmp_path / "out"), "--gaussians", "5", "--steps", "1")
        assert SAID not in capsys.readouterr().err

    def test_other_warnings_keep_their_place(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("splatlearn.cli._run", lambda arguments: warnings.warn("of another kind", stacklevel=1))
        with pytest.warns(UserWarning, match="of another kind"), pytest.raises(SystemExit):
            main(["doctor"])
        assert "splatlearn: " not in capsys.readouterr().err


class TestChoice:
    def warned(self, means2d: torch.Tensor, channels: int = 3, backend: str = "auto") -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert choose_backend(backend, means2d, channels) == "torch"
        assert all(issubclass(each.category, SlowBackendWarning) for each in caught)
        return [str(each.message) for each in caught]

    @pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
    def test_too_many_channels(self) -> None:
        assert self.warned(torch.zeros(1, 2, 2), 17) == [f"{SAID}: it takes up to 16 channels, got 17"]

    def test_a_device_without_a_compiled_backend(self) -> None:
        (said,) = self.warned(torch.zeros(1, 2, 2, device="meta"))
        assert said.endswith("on this meta device: none was written for meta")

    def test_what_was_chosen_is_not_warned_of(self) -> None:
        assert self.warned(torch.zeros(1, 2, 2), backend="torch") == []
        assert self.warned(torch.zeros(1, 2, 2).double()) == []
