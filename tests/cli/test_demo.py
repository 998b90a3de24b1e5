"""The demo's folder: a new one, or what an earlier demo wrote, and nothing else."""

import signal
from pathlib import Path
from typing import Any

import pytest

from cli.commands import run
from splatlearn.cli import demo_run as demos
from splatlearn.cli import main
from splatlearn.core.disk.outputs import MARKER, written_in
from splatlearn.data import ImageList
from splatlearn.models import presets
from splatlearn.runs.lock import HOLDER, LOCK, RunLock
from splatlearn.training import Recipe, RunResult, pretrain
from splatlearn.training.loop import engine
from training.small_run import pictures, small_recipe
from training.two_trainers import SMALL


def demo(out: Path, *options: str) -> int:
    return run("demo", "--out", str(out), "--scratch", "--device", "cpu", *options)


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (each for each in folder.rglob("*") if each.is_file() and each.name not in (LOCK, HOLDER))
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo whose training and pages take no time; what it does with its folder is its own."""
    monkeypatch.setitem(presets.ENCODERS, "tiny", SMALL)

    def train(recipe: Recipe, source: ImageList, **options: Any) -> RunResult:
        small = small_recipe(Path(recipe.run.out), seed=recipe.run.seed)
        return pretrain(small, pictures(), **options)

    def summarise(result: RunResult, *arguments: Any) -> dict[str, float]:
        return {"masked_psnr_model": 1.0, "masked_psnr_mean": 2.0, "steps": result.steps, "steps_in_all": result.total}

    def write(out: Path, result: RunResult, *arguments: Any) -> None:
        for name in demos.PAGES:
            (out / name).write_text(f"{name} of {result}")

    monkeypatch.setattr(demos, "photo_crops", lambda *arguments, **options: pictures(2, demos.SIDE))
    monkeypatch.setattr(demos, "pretrain", train)
    monkeypatch.setattr(demos, "_summarise", summarise)
    monkeypatch.setattr(demos, "_write", write)


def test_an_earlier_demo_is_replaced_with_overwrite_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert demo(out) == 0
    files = snapshot(out).keys()
    assert {"report.html", "summary.json", "picture.png", "recipe.json", "log.jsonl"} < files
    assert written_in(out) == files - {MARKER}
    (out / "notes.txt").write_text("mine")
    (out / "seen").mkdir()
    (out / "seen" / "photo.png").write_text("mine too")
    before = snapshot(out)
    capsys.readouterr()
    assert demo(out) == 2
    assert "give --overwrite" in " ".join(capsys.readouterr().err.split()) and snapshot(out) == before
    assert demo(out, "--overwrite", "--seed", "1") == 0
    after = snapshot(out)
    assert after.keys() == before.keys() and after["report.html"] != before["report.html"]
    assert after["notes.txt"] == b"mine" and after["seen/photo.png"] == b"mine too"
    # What comes to the run from elsewhere is kept too, and so is the rest then.
    (out / "checkpoints" / "mine.txt").write_text("mine")
    before = snapshot(out)
    assert demo(out, "--overwrite") == 2
    assert "did not write checkpoints/mine.txt" in " ".join(capsys.readouterr().err.split())
    assert snapshot(out) == before


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "overwrite"])
class TestOthers:
    def test_a_run_is_left_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], overwrite: list[str]
    ) -> None:
        pretrain(small_recipe(tmp_path / "run", stop_after=1), pictures())
        (tmp_path / "run" / "summary.json").write_text("{}")
        before = snapshot(tmp_path / "run")
        assert demo(tmp_path / "run", *overwrite) == 2
        assert "which holds a run; choose another" in " ".join(capsys.readouterr().err.split())
        assert snapshot(tmp_path / "run") == before

    @pytest.mark.parametrize("name", ["summary.json", "thesis.tex", "checkpoints/a", "report.html"])
    def test_a_folder_of_other_files(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], overwrite: list[str], name: str
    ) -> None:
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        assert demo(tmp_path / "folder", *overwrite) == 2
        assert "out: expected a new folder or the folder of an earlier demo" in capsys.readouterr().err
        assert snapshot(tmp_path / "folder") == {name: b"mine"}

    def test_a_mistake_changes_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], overwrite: list[str]
    ) -> None:
        assert demo(tmp_path / "new", "--device", "cuda:99", *overwrite) == 2
        assert demo(tmp_path / "new", "--seed", "-3", *overwrite) == 2
        assert not list(tmp_path.iterdir()) and "Traceback" not in capsys.readouterr().err


def interrupted(out: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> int:
    """A demo that gets Ctrl-C in its step of this number, counted from 0."""
    step = engine.TrainingLoop._train_step

    def hooked(self: engine.TrainingLoop, *arguments: Any) -> None:
        if self.step == number:
            signal.raise_signal(signal.SIGINT)
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(engine.TrainingLoop, "_train_step", hooked)
        return demo(out)


def test_an_interrupted_one_shows_what_it_has_and_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"
    assert interrupted(out, monkeypatch, 4) == 130
    assert (out / "report.html").exists() and len(list((out / "checkpoints").iterdir())) == 1
    with RunLock(out):
        assert demo(out, "--overwrite") == 2
    assert (out / "report.html").exists()
    assert demo(out, "--overwrite") == 0


def test_one_that_was_killed_is_replaced_and_hides_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*arguments: Any) -> None:
        raise Killed

    def killed(out: Path) -> None:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(engine.TrainingLoop, "_train_step", die)
            main(["demo", "--out", str(out), "--scratch", "--device", "cpu"])

    killed(tmp_path / "one")
    left = tmp_path / "one" / "checkpoints" / ".tmp-step-00000001"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_text("half")
    assert demo(tmp_path / "one", "--overwrite") == 0 and not left.exists()

    # Once its files are gone, what begins in the folder belongs to whoever began it.
    out = tmp_path / "two"
    killed(out)
    for name in written_in(out):
        (out / name).unlink()
    pretrain(small_recipe(out, stop_after=1), pictures())
    assert demo(out, "--overwrite") == 2 and (out / "recipe.json").exists()
