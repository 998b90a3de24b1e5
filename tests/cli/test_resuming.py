"""Runs that stop and go on, as a person types it; what cannot work leaves no folder behind."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cli.commands import quick_training, run
from data.pictures import save
from splatlearn.cli.resuming import options_given
from splatlearn.runs.lock import LOCK, RunLock
from splatlearn.training import Recipe
from training.small_finetune import pretrained

SMALL = [
    "--model",
    "mae_vit_micro_patch8_32",
    "--batch-size",
    "8",
    "--workers",
    "0",
    "--epochs",
    "4",
    "--device",
    "cpu",
]
SMALL += ["--precision", "fp32", "--trackers", "none"]


def pictures(folder: Path, first: int, count: int) -> Path:
    for index in range(first, first + count):
        save(folder / f"{index:02d}.png", seed=index, height=32, width=32)
    return folder


def steps(out: Path) -> list[int]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [entry["step"] for entry in entries if "loss" in entry]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with quick_training():
        yield


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return pictures(tmp_path / "photos", 0, 32)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 32 photos and a run on them that stopped after 6 of 16 steps."""
    folder = tmp_path_factory.mktemp("begun")
    pictures(folder / "photos", 0, 32)
    data = ["--data", str(folder / "photos"), "--out", str(folder / "run")]
    assert run("pretrain", "mae", *data, *SMALL, "--stop-after", "6") == 0
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 photos of two classes and a model to fine-tune."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("cat", "dog"):
        pictures(folder / "photos" / name, 0, 20)
    pretrained(folder / "model")
    return folder


@pytest.fixture
def stopped(begun: Path, tmp_path: Path) -> Path:
    """A copy of that run, which may go on."""
    shutil.copytree(begun / "run", tmp_path / "run")
    return tmp_path / "run"


class TestStop:
    def test_it_belongs_to_one_call(self, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert steps(stopped) == list(range(1, 7))
        assert run("pretrain", "mae", "--out", str(stopped), "--resume", "--stop-after", "8") == 0
        said = capsys.readouterr().out
        assert f"stopped at step 8 of 16; continue with: splatlearn pretrain mae --out {stopped} --resume" in said
        # The advice.
        assert run("pretrain", "mae", "--out", str(stopped), "--resume") == 0
        assert "done: 16 steps, loss " in capsys.readouterr().out and steps(stopped) == list(range(1, 17))

    def test_one_that_is_reached_is_said_to_be(self, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (stopped / "report.html").write_text("mine")
        assert run("pretrain", "mae", "--out", str(stopped), "--resume", "--stop-after", "6") == 0
        said = capsys.readouterr().out
        assert "no step was taken: the run is at step 6 of 16, and --stop-after 6 counts all of its steps" in said
        assert f"continue with: splatlearn pretrain mae --out {stopped} --resume" in said
        assert (stopped / "report.html").read_text() == "mine"

    def test_an_older_run_that_kept_it_goes_on(self, stopped: Path) -> None:
        recipe = json.loads((stopped / "recipe.json").read_text())
        recipe["run"] |= {"stop_after": 6, "trackers": ["none"]}
        (stopped / "recipe.json").write_text(json.dumps(recipe))
        assert run("pretrain", "mae", "--out", str(stopped), "--resume") == 0 and len(steps(stopped)) == 16


def test_a_finished_run_says_so_and_stays_as_it_is(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pretrain", "mae", "--out", str(stopped), "--resume") == 0
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run("pretrain", "mae", "--out", str(stopped), "--resume") == 0
    said = capsys.readouterr().out
    assert f"{stopped} is finished: all 16 steps had been done, and nothing was changed" in said
    assert "nan" not in said and "--start-from" in said
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


class TestOtherData:
    @pytest.mark.parametrize("count", [16, 48])
    def test_another_number_of_images(
        self, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
    ) -> None:
        other = str(pictures(tmp_path / "other", 0, count))
        resume = ["pretrain", "mae", "--out", str(stopped), "--resume", "--data", other]
        assert run(*resume) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "learns from 32 samples" in said and f"got {count} samples" in said
        assert steps(stopped) == list(range(1, 7))
        assert run(*resume, "--allow-other-data", "--stop-after", "7") == 0 and steps(stopped)[-1] == 7
        assert not Recipe.read(stopped / "recipe.json").run.allow_other_data

    def test_starting_from_it_is_the_way_on(self, stopped: Path, tmp_path: Path) -> None:
        data = ["--data", str(pictures(tmp_path / "other", 0, 16)), "--out", str(tmp_path / "new")]
        small = SMALL[2:]
        assert run("pretrain", "mae", *data, *small, "--start-from", str(stopped), "--stop-after", "1") == 0

    def test_the_same_images_elsewhere_are_the_same(self, begun: Path, stopped: Path, tmp_path: Path) -> None:
        shutil.copytree(begun / "photos", tmp_path / "moved")
        moved = ["--data", str(tmp_path / "moved"), "--stop-after", "7"]
        assert run("pretrain", "mae", "--out", str(stopped), "--resume", *moved) == 0


class TestSpellings:
    @pytest.mark.parametrize(
        "arguments",
        [["--out", "RUN", "--resume"], ["--resume", "--out", "RUN"], ["--resume", "--out=RUN"],
         ["--out=nowhere", "--resume", "--out", "RUN"], ["--no-resume", "--resume", "--out=RUN"]],
        ids=" ".join,
    )  # fmt: skip
    def test_each_resumes(self, stopped: Path, arguments: list[str]) -> None:
        given = [each.replace("RUN", str(stopped)) for each in arguments]
        assert run("pretrain", "mae", *given, "--stop-after=7") == 0 and steps(stopped)[-1] == 7

    def test_the_last_one_counts(self) -> None:
        given = options_given(
            ["pretrain", "--out", "a", "--resume", "--preset=paper", "--out=b=c", "--preset", "laptop"]
        )
        assert (given.out, given.resume, given.preset) == ("b=c", True, "laptop")
        assert not options_given(["--resume", "--no-resume"]).resume
        assert options_given(["--resume", "--out"]).out is None

    def test_the_other_verb_is_named(self, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("finetune", "--out", str(stopped), "--resume") == 2
        assert "was begun by `splatlearn pretrain`" in " ".join(capsys.readouterr().err.split())


def test_a_run_in_use_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLock(stopped):
        assert run("pretrain", "mae", "--out", str(stopped), "--resume") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("splatlearn: out: process ") and "is working in" in said and "Traceback" not in said
    assert (stopped / LOCK).exists()


WRONG = [
    (["--trackers", "wandb"], "trackers: wandb is not installed; pip install wandb, or choose --trackers none"),
    (["--trackers", "clipboard"], "trackers: expected none, all or some of "),
    (["--trackers", "none", "tensorboard"], "trackers: expected none, all or some of "),
    (["--device", "cuda:99"], "device: cuda:99 is not available on this machine"),
    (["--device", "abacus"], "device: expected auto, cpu, cuda, cuda:N or mps, got 'abacus'"),
    (["--device", "meta"], "device: expected auto"),
    (["--precision", "fp8"], "fp8"),
    (["--betas", "0.9", "1"], "betas"),
    (["--seed", "-1"], "seed"),
    (["--seed", str(2**64)], "seed"),
    (["--stop-after", "-1"], "stop_after"),
    (["--checkpoint-every", "0"], "checkpoint_every"),
    (["--keep-checkpoints", "0"], "keep_checkpoints"),
    (["--log-every", "0"], "log_every"),
    (["--batch-size", "33"], "batch_size"),
    (["--accumulate", "9"], "accumulate"),
    (["--epochs", "0"], "epochs"),
    (["--workers", "-1"], "workers"),
    (["--data", "nowhere/to/be/found"], "nowhere/to/be/found"),
    (["--no-such-option"], "--no-such-option"),
]
"""Options that both ways of training take, each with a word of what is said."""
PRETRAINING = [
    (["--model", "gmae_vit_micro_patch8_32"], "model"),
    (["--model", "mae_vit_micro_patch7_32"], "patch"),
    (["--mask-ratio", "1"], "mask_ratio"),
    (["--crop-scale", "0.5", "0.1"], "crop_scale"),
    (["--start-from", "nowhere/at/all"], "nowhere/at/all"),
    (["--probe-every", "1"], "label"),
    (["--probe-every", "-1"], "probe_every"),
    (["--image-column", "picture"], "image_column"),
    (["--split", "holdout"], "split"),
]
FINETUNING = [
    (["--pooling", "max"], "pooling"),
    (["--smoothing", "1"], "smoothing"),
    (["--rand-augment", "11"], "rand_augment"),
    (["--parallel", "fsdp"], "parallel"),
]


def words(case: tuple[list[str], str]) -> str:
    return " ".join(case[0])


class TestNothingIsLeft:
    """What can be wrong is checked before a folder is made."""

    @pytest.mark.parametrize("case", WRONG + PRETRAINING, ids=words)
    def test_of_pretraining(
        self, begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: tuple[list[str], str]
    ) -> None:
        options, message = case
        out = tmp_path / "new" / "run"
        assert run("pretrain", "mae", "--data", str(begun / "photos"), "--out", str(out), *SMALL, *options) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert message in said.replace("│ ", "") and "Traceback" not in said
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("case", WRONG + FINETUNING, ids=words)
    def test_of_fine_tuning(
        self, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: tuple[list[str], str]
    ) -> None:
        options, message = case
        common = ["--data", str(labelled / "photos"), "--out", str(tmp_path / "new" / "run"), "--rand-augment", "0"]
        assert run("finetune", str(labelled / "model"), *common, *SMALL[2:], *options) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert message in said.replace("│ ", "") and "Traceback" not in said
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("out", ["", "photo.png/run", "photo.png"])
    def test_where_no_folder_can_be(
        self, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "photo.png").write_bytes(b"photo")
        assert run("pretrain", "mae", "--data", str(begun / "photos"), "--out", out, *SMALL) == 2
        assert "out: expected" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]

    def test_where_nothing_can_be_written(
        self, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        access = __import__("os").access
        monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
        out = str(tmp_path / "new" / "run")
        assert run("pretrain", "mae", "--data", str(begun / "photos"), "--out", out, *SMALL) == 2
        assert "out: expected a writable folder" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


class TestTrackers:
    def test_none_is_none(self, stopped: Path) -> None:
        assert not (stopped / "splatlearn").exists()
        assert Recipe.read(stopped / "recipe.json").run.trackers == ()

    def test_tensorboard_gets_every_step(self, stopped: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        for stop in ("8", "10"):
            resume = ["--resume", "--stop-after", stop, "--trackers", "tensorboard"]
            assert run("pretrain", "mae", "--out", str(stopped), *resume) == 0
        found = EventAccumulator(str(stopped / "splatlearn")).Reload().Scalars("loss")
        logged = [json.loads(line) for line in (stopped / "log.jsonl").read_text().splitlines()]
        losses = {entry["step"]: entry["loss"] for entry in logged if "loss" in entry}
        assert [each.step for each in found] == [7, 8, 9, 10]
        assert np.allclose([each.value for each in found], [losses[each.step] for each in found], rtol=1e-6)
