import dataclasses
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.commands import quick_training, run
from splatlearn.cli.verbs import VERBS, command, summary
from splatlearn.models import ModelOptions, load_model
from splatlearn.training import (
    DataOptions,
    MutualInformationOptions,
    ObjectiveOptions,
    OptimizerOptions,
    RunOptions,
    SplatTraining,
)
from splatlearn.training.pretraining.laptop import laptop_recipe
from splatlearn.training.pretraining.recipe import Recipe

SMALL = [
    "--model", "gmae_vit_tiny_patch4_16", "--gaussians", "16", "--decoder-depth", "1", "--decoder-embed-dim", "32",
    "--decoder-num-heads", "2", "--batch-size", "4", "--epochs", "2", "--device", "cpu", "--precision", "fp32",
    "--workers", "0", "--trackers",
]  # fmt: skip


@pytest.fixture
def quick() -> Iterator[None]:
    with quick_training():
        yield


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def test_every_field_of_the_recipe_is_an_option_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pretrain", "--help") == 0
    text = capsys.readouterr().out
    groups = (
        DataOptions,
        ObjectiveOptions,
        MutualInformationOptions,
        OptimizerOptions,
        RunOptions,
        ModelOptions,
        SplatTraining,
    )
    names = {field.name for cls in groups for field in dataclasses.fields(cls)}
    names |= {field.name for field in dataclasses.fields(Recipe)} - {
        "method",
        "data",
        "run",
        "objective",
        "mutual",
        "optimizer",
        "options",
        "splats",
    }
    for name in names | {"data"}:
        assert f"--{name.replace('_', '-')}" in text, name
    for words in ("Fraction of the patches", "steps between checkpoints", "Number of passes over the data"):
        assert words in " ".join(text.split())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", ["mi-mae", "mi-gmae"])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_pretrain_several_masks_in_any_preset(photos: Path, tmp_path: Path, method: str, preset: str) -> None:
    sizes = [word for word in SMALL if word not in {"--model", "--gaussians", "16", "gmae_vit_tiny_patch4_16"}]
    out, model = tmp_path / "run", f"{method.removeprefix('mi-')}_vit_tiny_patch4_16"
    options = ["--model", model, "--preset", preset, "--estimator", "leave-one-out", "--stop-after", "1"]
    assert run("pretrain", method, "--data", str(photos), "--out", str(out), *options, *sizes) == 0
    stored = json.loads((out / "recipe.json").read_text())
    assert stored["method"] == method and stored["mutual"]["masks"] == 4
    assert stored["mutual"]["estimator"] == "leave-one-out"
    (line,) = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines() if "loss_maximize" in line]
    assert {"loss", "loss_reconstruction", "loss_maximize", "loss_minimize", "estimator_fit"} <= line.keys()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", ["mi-gmae", "gmae", "mi-mae", "mae"])
def test_the_laptop_preset_fills_in_what_is_not_given(photos: Path, tmp_path: Path, method: str) -> None:
    here, out = ["--data", str(photos), "--workers", "0", "--trackers"], tmp_path / "run"
    options = ["--preset=laptop", "--decoder-embed-dim", "32", "--batch-size", "4", "--stop-after", "1"]
    assert run("pretrain", method, *here, "--out", str(out), *options) == 0
    stored, made = Recipe.read(out / "recipe.json"), load_model(out)
    wanted = laptop_recipe(stored.data, stored.run, method).resolved()  # type: ignore[arg-type]
    assert stored.differences(wanted) == ["optimizer.batch_size: 4, 16", "options.decoder_embed_dim: 32, 128"]
    assert made.config.decoder.embed_dim == 32 and made.config.decoder.depth == 1
    assert stored.mutual.masks == 4 and stored.data.crop_scale == (0.2, 1.0)
    assert bool(stored.mutual.maximize_weight) == method.startswith("mi-")


def test_an_unknown_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pretrain", "gmae", "--data", "x", "--out", "y", "--epoch-count", "3") == 2
    assert "--epoch-count" in capsys.readouterr().err


def test_pretrain_then_resume(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run("pretrain", "gmae", "--data", str(photos), "--out", str(out), *SMALL, "--stop-after", "2") == 0
    assert "stopped at step 2 of 4" in capsys.readouterr().out
    # The run's own recipe is the default of every option.
    assert run("pretrain", "gmae", "--out", str(out), "--resume", "--stop-after", "4") == 0
    steps = [json.loads(line).get("step") for line in (out / "log.jsonl").read_text().splitlines()]
    assert [step for step in steps if step] == [1, 2, 3, 4]
    assert (out / "report.html").exists() and (out / "recipe.json").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [("nowhere/at-all/really", "nowhere"), ("empty", "empty")],
)
def test_wrong_input_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert run("pretrain", "gmae", "--data", str(tmp_path / data), "--out", str(tmp_path / "run"), *SMALL) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    text = capsys.readouterr().out
    assert "torch" in text and "backend torch" in text and "ok" in text


def test_doctor_shows_square_brackets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("splatlearn.rendering.backends.triton.support"), "_INSTALLED", False)
    assert run("doctor") == 0
    assert "'splatlearn[gpu]'" in " ".join(capsys.readouterr().out.split())


def test_doctor_says_why_the_kernel_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_support = importlib.import_module("splatlearn.rendering.backends.cpu.support")
    monkeypatch.setattr(cpu_support, "_native", None)
    monkeypatch.setattr(cpu_support, "_MISSING", "the compiler has no OpenMP: [omp.h]")
    assert run("doctor") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "backend cpu not built: the compiler has no OpenMP: [omp.h] backend triton" in text and "kernel" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_described_as_its_function_is(verb: str) -> None:
    function = command(verb, [verb])
    sentence = (function.__doc__ or "").partition("\n\n")[0]
    assert sentence and summary(verb) == " ".join(sentence.split())


@pytest.mark.parametrize("arguments", [["--help"], ["edges", "--help"]], ids=" ".join)
def test_help_loads_nothing_of_other_verbs(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom splatlearn.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stopped:\n    assert not stopped.code\n"
        "heavy = {'pandas', 'sklearn', 'matplotlib', 'accelerate', 'splatlearn.training'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.strip() == "[]", done.stderr
    assert "edges" in done.stdout
