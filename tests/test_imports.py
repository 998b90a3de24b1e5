"""`import splatlearn` waits for nothing heavy, and its names are what they were."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import splatlearn as sl


def test_importing_the_package_loads_no_pytorch() -> None:
    program = "import sys, splatlearn\nprint('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", sorted(sl.__all__))  # type: ignore[attr-defined]
def test_every_name_is_there(name: str) -> None:
    found = getattr(sl, name)
    assert isinstance(found, ModuleType) == (name == "zero_shot") and name in dir(sl)


def test_public_names_are_those_listed() -> None:
    listed = Path(__file__).with_name("public_names.txt").read_text(encoding="utf-8").split()
    assert sorted(sl.__all__) == listed and len(listed) <= 45  # type: ignore[attr-defined]


def test_a_function_is_not_hidden_by_the_room_of_its_name() -> None:
    for room in ("splatlearn.rendering", "splatlearn.zero_shot.edge_reading", "splatlearn.rendering.compositing"):
        importlib.import_module(room)
    assert callable(sl.render) and callable(sl.composite) and callable(sl.zero_shot.edges)


def test_rooms_are_reached_without_an_import_of_their_own() -> None:
    assert sl.data.sample_photos and sl.models.create_model is sl.create_model  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="nothing"):
        sl.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_rooms_of_every_long_job_load_no_framework_of_training() -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        "import splatlearn.files, splatlearn.fitting, splatlearn.rendering, splatlearn.runs\n"
        "for room in (splatlearn.files, splatlearn.fitting, splatlearn.rendering, splatlearn.runs):\n"
        "    for module in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "        if 'triton' not in module.name:\n"
        "            importlib.import_module(module.name)\n"
        "print([name for name in ('accelerate', 'datasets', 'tensorboard', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
