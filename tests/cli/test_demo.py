"""The demo's folder: a new one, or what an earlier demo wrote, and nothing else."""

import io
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from cli.commands import run
from splatlearn.captures.still_life import write as still_life
from splatlearn.captures.still_life.tracing import Thing, pieces_of
from splatlearn.cli import demo_run as demos
from splatlearn.cli import demo_scene as scenes
from splatlearn.cli import main
from splatlearn.core.disk.outputs import MARKER, written_in
from splatlearn.data import ImageList
from splatlearn.models import presets
from splatlearn.reconstruction.running import job
from splatlearn.report.parts.page import render_page
from splatlearn.runs.lock import HOLDER, LOCK, RunLock
from splatlearn.training import Recipe, RunResult, pretrain
from splatlearn.training.loop import engine
from training.small_run import pictures, small_recipe
from training.two_trainers import SMALL

TINY = scenes.Size(views=9, picture=(32, 24), steps=12, gaussians=300, frames=3)
"""A scene that takes no time; like the demo's own in everything else."""


def lit_evenly(things: Sequence[Thing], *others: Any) -> None:
    for piece in pieces_of(things):
        piece.radiance = piece.albedo


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
        for name in ("report.html", "summary.json", "picture.png"):
            (out / name).write_text(f"{name} of {result}")

    monkeypatch.setattr(demos, "photo_crops", lambda *arguments, **options: pictures(2, demos.SIDE))
    monkeypatch.setattr(demos, "pretrain", train)
    monkeypatch.setattr(demos, "_summarise", summarise)
    monkeypatch.setattr(demos, "_sections", lambda *arguments: [])
    monkeypatch.setattr(demos, "_write", write)
    monkeypatch.setattr(scenes, "FULL", TINY)
    monkeypatch.setattr(scenes, "EVALUATIONS", 2)
    # The light of the still life takes seconds; here it is what the textures are.
    monkeypatch.setattr(still_life, "illuminate", lit_evenly)


@pytest.fixture
def plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    make_pages_plain(monkeypatch)


def make_pages_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages of the scene and its film are a line each, for what is said of their files alone."""

    def line(path: Path) -> Path:
        path.write_text(f"{path.name} of a scene")
        return path

    monkeypatch.setattr(scenes, "write_run_view", lambda run, path: line(path))
    monkeypatch.setattr(scenes, "write_scene_report", lambda folder: line(folder / "report.html"))
    film = io.BytesIO()
    Image.new("RGB", (4, 3)).save(film, "WEBP")
    monkeypatch.setattr(scenes, "moving", lambda *arguments: film.getvalue())
    monkeypatch.setattr(scenes, "_chosen", lambda run: [])


@pytest.mark.usefixtures("plain_pages")
def test_an_earlier_demo_is_replaced_with_overwrite_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert demo(out) == 0
    files = snapshot(out).keys()
    assert {"report.html", "summary.json", "picture.png", "recipe.json", "log.jsonl"} < files
    assert {"scene.html", "scene.webp", "scene/scene.ply", "scene/report.html", "still_life/transforms.json"} < files
    # Locks are listed too, and go with the runs; the lock of the demo itself stays.
    assert {each for each in written_in(out) if not each.endswith(LOCK)} == files - {MARKER}
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


@pytest.mark.usefixtures("plain_pages")
def test_an_interrupted_one_shows_what_it_has_and_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"
    assert interrupted(out, monkeypatch, 4) == 130
    assert (out / "report.html").exists() and len(list((out / "checkpoints").iterdir())) == 1
    with RunLock(out):
        assert demo(out, "--overwrite") == 2
    assert (out / "report.html").exists()
    assert demo(out, "--overwrite") == 0


@pytest.mark.usefixtures("plain_pages")
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


def test_the_scene_is_on_the_page_and_in_the_numbers(tmp_path: Path) -> None:
    console = Console(stderr=True)
    made = scenes.demo_scene(tmp_path, False, 0, "cpu", console)
    assert made is not None and not made.interrupted
    page = render_page("", "", made.sections)
    assert [each.title for each in made.sections] == ["A scene", "The scene from held-out cameras"]
    assert 'href="scene.html"' in page and 'href="scene/report.html"' in page and "data:image/webp" in page
    assert "7 pictures and their cameras" in page and "did not see the 2 pictures" in page
    assert made.summary["scene_steps"] == 12 and made.summary["scene_gaussians"] <= 300
    scores = json.loads((tmp_path / "scene" / "scores.json").read_text())
    assert made.summary["scene_psnr"] == scores["psnr"]
    assert set(scenes.scene_names(False)) <= set(snapshot(tmp_path))


def test_a_scene_that_is_interrupted_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, step = tmp_path / "demo", job._Reconstruction._step

    def hooked(self: Any) -> None:
        if self.progress.step == 4:
            signal.raise_signal(signal.SIGINT)
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(job._Reconstruction, "_step", hooked)
        assert demo(out) == 130
    assert (out / "scene.html").is_file() and not (out / "scene" / "scores.json").exists()
    make_pages_plain(monkeypatch)
    assert demo(out, "--overwrite") == 0 and (out / "scene" / "scores.json").exists()
