"""The tests' own checks of types and shapes find what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

import shape_checks
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.losses.metrics import psnr
from splatlearn.models.nn.patches import patchify

SOURCE = """
from __future__ import annotations
from collections.abc import Iterator
from dataclasses import dataclass
from typing import no_type_check
from jaxtyping import Float
from torch import Tensor

def matching(x: Float[Tensor, "B K"], y: Float[Tensor, "B"]) -> Float[Tensor, " K"]:
    return x[0]

def sized(x: Tensor, count: int) -> Float[Tensor, "{count}"]:
    return x

def result(right: bool) -> int:
    return 1 if right else "one"

def number(x: float) -> float:
    return x

def yields(x: Float[Tensor, "B"]) -> Iterator[int]:
    yield len(x)

@no_type_check
def free(x: int) -> int:
    return x

class Later:
    def made(self) -> NotThere:
        return self

    @property
    def wrong(self) -> int:
        return "one"

    @staticmethod
    def fixed(x: int) -> int:
        return x

@dataclass(frozen=True)
class Pair:
    one: Float[Tensor, "B"]
    other: Float[Tensor, "B"]
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    folder = tmp_path_factory.mktemp("package")
    (folder / "checked_sample.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(sys, "meta_path", list(sys.meta_path))
        shape_checks.install("checked_sample")
        return __import__("checked_sample")


def test_equal_letters_are_equal_sizes(module: ModuleType) -> None:
    assert module.matching(torch.ones(2, 3), torch.ones(2)).shape == (3,)
    with pytest.raises(BeartypeCallHintViolation, match="y"):
        module.matching(torch.ones(2, 3), torch.ones(3))
    with pytest.raises(BeartypeCallHintViolation, match="x"):
        module.matching(torch.ones(2, 3).int(), torch.ones(2))
    # A call has letters of its own.
    assert module.matching(torch.ones(4, 5), torch.ones(4)).shape == (5,)


def test_the_result_has_the_arguments_letters(module: ModuleType) -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        module.sized(torch.ones(3), 2)
    assert module.sized(torch.ones(3), 3).shape == (3,)
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        module.result(False)
    assert module.result(True) == 1


def test_numbers_generators_methods_and_fields(module: ModuleType) -> None:
    assert module.number(1) == 1
    with pytest.raises(BeartypeCallHintViolation):
        module.number("1")
    assert list(module.yields(torch.ones(3))) == [3]
    with pytest.raises(jaxtyping.TypeCheckError):
        module.yields(torch.ones(3, 3))
    with pytest.raises(BeartypeCallHintViolation):
        _ = module.Later().wrong
    with pytest.raises(BeartypeCallHintViolation):
        module.Later.fixed("one")
    module.Pair(torch.ones(2), torch.ones(2))
    with pytest.raises(BeartypeCallHintViolation):
        module.Pair(torch.ones(2), torch.ones(3))


def test_what_cannot_be_checked_is_left_alone(module: ModuleType) -> None:
    later = module.Later()
    assert later.made() is later and module.free("one") == "one"


def test_the_checks_can_be_switched_off(module: ModuleType, no_shape_checks: None) -> None:
    assert module.result(False) == "one" and module.number("1") == "1"
    module.matching(torch.ones(2, 3), torch.ones(3))
    module.Pair(torch.ones(2), torch.ones(3))


def test_the_package_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        patchify(torch.ones(3, 8, 8), 4)
    with pytest.raises(BeartypeCallHintViolation):
        psnr(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4), weights=torch.ones(1, 4, 5))
    with pytest.raises(BeartypeCallHintViolation):
        Gaussians(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(3), colors=torch.ones(2, 3))


def test_it_comes_before_the_import() -> None:
    with pytest.raises(RuntimeError, match="expected to be imported after"):
        shape_checks.install("splatlearn")


def test_bytecode_is_kept_for_its_source_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept.py"
    path.write_text("def one(x: int) -> int:\n    return x\n")
    loader = shape_checks._Loader("kept", str(path))
    first = loader.get_code("kept")
    (stored,) = (tmp_path / "__pycache__").iterdir()
    assert loader.get_code("kept") == first and "checked" in stored.name
    path.write_text("def other(x: int) -> int:\n    return x\n")
    assert "other" in loader.get_code("kept").co_names
    # What cannot be read is made again.
    stored.write_bytes(stored.read_bytes()[:50])
    assert "other" in loader.get_code("kept").co_names and len(list(stored.parent.iterdir())) == 1
