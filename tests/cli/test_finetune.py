import json
from pathlib import Path

import pytest

from cli.commands import run
from data.pictures import save
from splatlearn.models import load_classifier
from training.small_finetune import pretrained

SMALL = [
    "--batch-size", "4", "--epochs", "2", "--device", "cpu", "--precision", "fp32", "--workers", "0", "--trackers",
    "--rand-augment", "0",
]  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of ten pictures, in one part."""
    for index in range(20):
        save(tmp_path / "photos" / ("cat", "dog")[index % 2] / f"{index}.png", seed=index, height=24, width=24)
    return tmp_path / "photos"


def test_finetune_then_resume(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = pretrained(tmp_path / "model"), tmp_path / "run"
    assert run("finetune", str(model), "--data", str(photos), "--out", str(out), *SMALL, "--stop-after", "5") == 0
    assert "stopped at step 5 of 8" in capsys.readouterr().out
    # The run's own recipe is the default of every option.
    assert run("finetune", "--out", str(out), "--resume", "--stop-after", "8") == 0
    assert "done: 8 steps, top-1 " in capsys.readouterr().out
    steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in steps if "loss" in entry] == list(range(1, 9))
    assert load_classifier(out).config.classes == ("cat", "dog")
    scores = json.loads((out / "finetune.json").read_text())
    assert scores["validation_images"] == 4 and "held out" in scores["validation"]
    assert (out / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--smoothing", "1"], "smoothing: expected a number from 0 to below 1, got 1.0"),
        (["--data", "empty"], "empty"),
        (["--batch-size", "17"], "batch_size: expected at most the 16 samples"),
    ],
)
def test_wrong_input_is_one_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [str(tmp_path / each) if each == "empty" else each for each in arguments]
    model, out = pretrained(tmp_path / "model"), tmp_path / "run"
    assert run("finetune", str(model), "--data", str(photos), "--out", str(out), *SMALL, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "Traceback" not in error and not out.exists()


def test_help_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("finetune", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("--layer-decay", "--drop-path", "--mixup", "--cutmix", "--ema-decay", "--rand-augment", "--pooling"):
        assert words in text
