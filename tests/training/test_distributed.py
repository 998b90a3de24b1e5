"""Runs of several processes; what each of them does stands in `two_trainers`."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from splatlearn.cli import main
from splatlearn.data import PretrainingDataset, PretrainingLoader, RandomResizedCrop
from splatlearn.models import load_model, presets
from splatlearn.runs.checkpoint_store import checkpoint_folders
from splatlearn.training import CheckpointError, RunFolderError, pretrain
from splatlearn.training.consolidate import consolidate
from splatlearn.training.loop.checkpoint import Progress
from splatlearn.training.loop.step_shape import StepShape, step_shape
from training.small_run import losses, pictures
from training.two_trainers import SMALL, recipe

TESTS = Path(__file__).parents[1]
SCRIPT = str(TESTS / "training" / "two_trainers.py")
METHODS = ("gmae", "mi-gmae")


@pytest.fixture(scope="module")
def same_encoder():
    """The two processes make the same."""
    before = presets.ENCODERS["tiny"]
    presets.ENCODERS["tiny"] = SMALL
    yield
    presets.ENCODERS["tiny"] = before


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, same_encoder: None) -> Path:
    """What two processes trained, beside the runs of one that they are compared with."""
    folder = tmp_path_factory.mktemp("runs")
    for method in METHODS:
        pretrain(recipe(folder / f"{method}-alone", method, 8), pictures())
        pretrain(recipe(folder / f"{method}-alone-stopped", method, 8, stop_after=4), pictures())
    pretrain(recipe(folder / "mi-gmae-default-alone", "mi-gmae", 8, minimize=0.01), pictures())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    rendezvous = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, "curves", str(folder)],
            env={**environment(), **rendezvous, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in started:
            out, error = process.communicate()
            assert process.returncode == 0 and out.split()[-1] == "ok", error
    finally:
        for process in started:
            process.kill()
            process.wait()
    return folder


def assert_same_curve(one: Path, other: Path) -> None:
    assert len(losses(one)) == 9
    assert losses(one) == pytest.approx(losses(other), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("method", METHODS)
class TestTwoProcesses:
    def test_two_halves_of_a_batch_are_the_batch(self, runs: Path, method: str, parallel: str) -> None:
        assert_same_curve(runs / f"{method}-{parallel}", runs / f"{method}-alone")

    def test_one_goes_on_where_two_stopped(self, runs: Path, method: str, parallel: str) -> None:
        out = runs / f"{method}-{parallel}-stopped"
        pretrain(recipe(out, method, 4, resume=True), pictures())
        assert_same_curve(out, runs / f"{method}-alone")


@pytest.mark.parametrize("method", METHODS)
def test_two_go_on_where_one_stopped(runs: Path, method: str) -> None:
    assert_same_curve(runs / f"{method}-alone-stopped", runs / f"{method}-alone")


def test_the_bound_to_minimise_with_its_own_weight(runs: Path) -> None:
    assert_same_curve(runs / "mi-gmae-default", runs / "mi-gmae-default-alone")


def test_log_and_folder_are_written_once(runs: Path) -> None:
    entries = [json.loads(line) for line in (runs / "gmae-ddp" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == list(range(1, 10))
    status = [entry for entry in entries if "update_ratio" in entry]
    alone = [json.loads(line) for line in (runs / "gmae-alone" / "log.jsonl").read_text().splitlines()]
    for mine, other in zip(status, (entry for entry in alone if "update_ratio" in entry), strict=True):
        assert mine["update_ratio"] == pytest.approx(other["update_ratio"], rel=1e-2)


class TestShards:
    def test_each_process_writes_its_rows_and_goes_on_from_them(self, runs: Path) -> None:
        names = {path.name for path in checkpoint_folders(runs / "gmae-fsdp")[-1].iterdir()}
        shards = {f"{name}-{rank:05d}-of-00002.safetensors" for name in ("model", "optimizer") for rank in range(2)}
        assert shards < names and "model.safetensors" not in names
        assert_same_curve(runs / "gmae-fsdp-twice", runs / "gmae-alone")

    def test_they_are_put_together_on_request(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            main(["consolidate", str(runs / "mi-gmae-fsdp")])
        assert not stop.value.code and "step-00000009 is whole" in capsys.readouterr().out
        together, alone = (load_model(runs / f"mi-gmae-{name}").state_dict() for name in ("fsdp", "alone"))
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-3)
        (folder,) = checkpoint_folders(runs / "mi-gmae-fsdp")
        names = {path.name for path in folder.iterdir()}
        assert {"model.safetensors", "optimizer.safetensors", "mutual_information.safetensors"} < names
        assert not any("-of-" in name for name in names)
        assert consolidate(runs / "mi-gmae-fsdp") == folder
        # A finished run goes on from what was put together, which is to say that it has nothing left to do.
        assert pretrain(recipe(runs / "mi-gmae-fsdp", "mi-gmae", 4, resume=True), pictures()).steps == 9

    def test_a_missing_shard_is_named(self, runs: Path) -> None:
        folder = checkpoint_folders(runs / "gmae-fsdp")[-1]
        shard = folder / "optimizer-00001-of-00002.safetensors"
        shard.rename(shard.with_suffix(".away"))
        try:
            with pytest.raises(CheckpointError, match="expected optimizer-00001-of-00002.safetensors"):
                consolidate(runs / "gmae-fsdp")
        finally:
            shard.with_suffix(".away").rename(shard)

    def test_there_is_nothing_to_put_together(self, runs: Path, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="run: expected a run with a checkpoint under checkpoints"):
            consolidate(tmp_path)
        with pytest.raises(CheckpointError, match="step: expected one of 9, got 3"):
            consolidate(runs / "gmae-fsdp", step=3)


def test_a_process_that_dies_ends_the_other(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, SCRIPT, "dies", str(tmp_path)], env=environment(), capture_output=True, text=True)
    waited = time.time() - float((tmp_path / "death").read_text())
    assert done.returncode != 0 and waited < 60
    assert "Traceback" in done.stderr and "RuntimeError: this process dies" in done.stderr


def test_samples_crops_and_masks_are_those_of_any_number_of_processes() -> None:
    def step(process: int, processes: int) -> list[torch.Tensor]:
        dataset = PretrainingDataset(pictures(), RandomResizedCrop(16, 16), 16, seed=1)
        loader = PretrainingLoader(dataset, 8 // processes, 0, process, processes)
        batch = list(loader.batches(1))[2]
        return [batch.indices, batch.images, batch.noise]

    (whole,) = [step(0, 1)]
    for processes in (2, 4, 8):
        parts = [step(process, processes) for process in range(processes)]
        for wanted, *shares in zip(whole, *parts, strict=True):
            assert torch.equal(torch.cat(shares), wanted)


class TestStepShape:
    PROGRESS = Progress(4, {}, images_per_step=32, images_per_pass=16)

    def run(self, tmp_path: Path, batch_size: int = 4, accumulate: int = 2) -> Path:
        stored = {"optimizer": {"batch_size": batch_size, "accumulate": accumulate}}
        (tmp_path / "recipe.json").write_text(json.dumps(stored))
        return tmp_path

    @pytest.mark.parametrize(("processes", "batch_size"), [(1, 16), (2, 8), (4, 4), (8, 2)])
    def test_other_processes_share_the_same_images(self, tmp_path: Path, processes: int, batch_size: int) -> None:
        shape = step_shape(StepShape(4, 2, processes), self.run(tmp_path), self.PROGRESS, compares=True)
        assert shape == StepShape(batch_size, 2, processes)
        assert (shape.images_per_pass, shape.images_per_step) == (16, 32)

    def test_a_number_that_does_not_divide(self, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match="got 4 × 2 in 3 processes; leave .* divides 16"):
            step_shape(StepShape(4, 2, 3), self.run(tmp_path), self.PROGRESS, compares=False)

    def test_smaller_batches_that_make_the_same_steps(self, tmp_path: Path) -> None:
        asked = StepShape(8, 4, 1)
        assert step_shape(asked, self.run(tmp_path), self.PROGRESS, compares=False) == asked
        with pytest.raises(RunFolderError, match="expected steps of 32 images, 16 in each of 2 forward passes"):
            step_shape(asked, self.run(tmp_path), self.PROGRESS, compares=True)

    def test_steps_of_another_size(self, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match="expected steps of 32 images"):
            step_shape(StepShape(5, 2, 4), self.run(tmp_path), self.PROGRESS, compares=False)

    def test_a_run_without_a_checkpoint_takes_what_is_asked(self, tmp_path: Path) -> None:
        assert step_shape(StepShape(4, 2, 3), self.run(tmp_path), None, compares=True) == StepShape(4, 2, 3)

    def test_a_checkpoint_that_does_not_say(self, tmp_path: Path) -> None:
        old = Progress(4, {}, images_per_step=8)
        assert step_shape(StepShape(4, 2, 2), self.run(tmp_path), old, compares=False) == StepShape(2, 2, 2)
