"""The folder of a run: one process at a time, the data that it began with, and never half of it."""

import dataclasses
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from splatlearn.data import ImageList
from splatlearn.models import load_model
from splatlearn.runs.checkpoint_store import checkpoint_folders
from splatlearn.runs.lock import HOLDER, LOCK, RunLock
from splatlearn.training import FinetuneRecipe, Recipe, RunFolderError, finetune, pretrain
from splatlearn.training.consolidate import consolidate
from splatlearn.training.loop import engine
from splatlearn.training.loop.checkpoint import good_checkpoint
from splatlearn.training.training_recipe import RunOptions
from training.small_finetune import labelled, pretrained, small_finetuning
from training.small_run import losses, pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")


@contextmanager
def at_step(number: int, action: Callable[[], object]) -> Iterator[None]:
    """Do something when a run begins its step of this number, counted from 0."""
    step = engine.TrainingLoop._train_step

    def hooked(self: engine.TrainingLoop, *arguments) -> None:
        if self.step == number:
            action()
        step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.TrainingLoop, "_train_step", hooked)
        yield


def snapshot(folder: Path) -> dict[str, bytes]:
    """The files of a folder but for those of the lock."""
    files = (each for each in folder.rglob("*") if each.is_file() and each.name not in (LOCK, HOLDER))
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}


def finetuning(tmp_path: Path, **run) -> FinetuneRecipe:
    model = tmp_path / "model"
    return small_finetuning(model if model.exists() else pretrained(model), tmp_path / "run", **run)


class TestLock:
    def test_a_second_process_is_refused_in_a_sentence_and_changes_nothing(self, tmp_path: Path) -> None:
        out, told = tmp_path / "run", []

        def resume() -> None:
            before = snapshot(out)
            with pytest.raises(RunFolderError) as refused:
                pretrain(small_recipe(out, resume=True), pictures())
            with pytest.raises(RunFolderError, match="is working in"):
                consolidate(out)
            assert snapshot(out) == before
            told.append(str(refused.value))

        with at_step(4, resume):
            pretrain(small_recipe(out, checkpoint_every=2), pictures())
        (sentence,) = told
        assert f"process {os.getpid()} on {socket.gethostname()}" in sentence and str(out) in sentence
        assert list(losses(out)) == list(range(1, 10))
        assert not (out / HOLDER).exists()

    def test_fine_tuning_too(self, tmp_path: Path) -> None:
        def resume() -> None:
            with pytest.raises(RunFolderError, match="out: process .* is working in"):
                finetune(finetuning(tmp_path, resume=True), labelled())

        with at_step(5, resume):
            assert finetune(finetuning(tmp_path, checkpoint_every=4), labelled()).steps == 16

    def test_a_file_system_without_locks_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def unable(self, *arguments, **options) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr("filelock.FileLock.acquire", unable)
        assert pretrain(small_recipe(tmp_path / "run", stop_after=1), pictures()).steps == 1
        said = " ".join(capsys.readouterr().err.split())
        assert (
            "cannot lock it" in said and "Operation not supported" in said and "no other process trains there" in said
        )

    def test_a_failed_run_gives_the_lock_back(self, tmp_path: Path) -> None:
        pretrain(small_recipe(tmp_path / "run", stop_after=1), pictures())
        with pytest.raises(RunFolderError, match="another recipe"):
            pretrain(small_recipe(tmp_path / "run", resume=True, seed=1), pictures())
        assert pretrain(small_recipe(tmp_path / "run", resume=True), pictures()).steps == 9


class TestRemoved:
    """What others remove of a run that trains is there again at its end, and the run can be resumed."""

    @pytest.mark.parametrize(
        "names",
        [
            [],
            ["checkpoints"],
            ["data.json", LOCK],
            *(
                pytest.param([name], marks=pytest.mark.large)
                for name in ("recipe.json", "log.jsonl", "environment.json")
            ),
        ],
        ids=lambda names: ",".join(names) or "all",
    )
    def test_it_is_written_anew(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str]) -> None:
        pretrain(small_recipe(tmp_path / "whole"), pictures())
        out = tmp_path / "run"

        def remove() -> None:
            for path in [out / name for name in names] or [out]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

        with at_step(5, remove):
            pretrain(small_recipe(out, checkpoint_every=4, stop_after=8), pictures())
        assert " was removed while the run trains" in " ".join(capsys.readouterr().err.split())
        assert snapshot(out).keys() >= {"recipe.json", "environment.json", "data.json", "log.jsonl"}
        newest, problems = good_checkpoint(out)
        assert newest is not None and not problems
        assert pretrain(small_recipe(out, resume=True), pictures()).steps == 9
        assert losses(out) == losses(tmp_path / "whole")
        one, other = (load_model(path).state_dict() for path in (out, tmp_path / "whole"))
        assert all(np.array_equal(one[name], other[name]) for name in one)

    def test_at_once_when_the_log_is_written(self, tmp_path: Path) -> None:
        """What is left does not wait for the next checkpoint, which may be hours away."""
        out, seen = tmp_path / "run", []
        with at_step(4, lambda: shutil.rmtree(out)), at_step(7, lambda: seen.extend(checkpoint_folders(out))):
            pretrain(small_recipe(out, checkpoint_every=1000, log_every=3), pictures())
        assert [path.name for path in seen] == ["step-00000006"]

    def test_while_a_checkpoint_is_written(self, tmp_path: Path) -> None:
        out, save, times = tmp_path / "run", engine.save_checkpoint, []

        def removing(*arguments) -> Path:
            times.append(out)
            if len(times) == 2:
                shutil.rmtree(out)
            found = save(*arguments)
            if len(times) == 4:
                shutil.rmtree(out)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "save_checkpoint", removing)
            pretrain(small_recipe(out, checkpoint_every=3), pictures())
        assert list(losses(out)) == list(range(1, 10))
        assert pretrain(small_recipe(out, resume=True), pictures()).done == 0

    def test_another_run_in_its_place_is_left_alone(self, tmp_path: Path) -> None:
        out, other = tmp_path / "run", tmp_path / "other"
        pretrain(small_recipe(other, "mae", stop_after=2), pictures())
        before = snapshot(other)

        def replace() -> None:
            shutil.rmtree(out)
            shutil.copytree(other, out)

        said = "holds something else now, .* up to step 6 was saved in .*run-rescued"
        with at_step(5, replace), pytest.raises(RunFolderError, match=said):
            pretrain(small_recipe(out), pictures())
        assert snapshot(out) == before
        rescued = tmp_path / "run-rescued"
        assert list(losses(rescued)) == list(range(1, 7))
        assert pretrain(small_recipe(rescued, resume=True), pictures()).done == 3

    def test_a_run_that_trains_in_its_place_is_left_alone(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        lock = RunLock(out)

        def take() -> None:
            shutil.rmtree(out)
            out.mkdir()
            lock.acquire()

        with at_step(5, take), pytest.raises(RunFolderError, match="go on with --out .*run-rescued --resume"):
            pretrain(small_recipe(out), pictures())
        assert not snapshot(out) and (tmp_path / "run-rescued" / "recipe.json").exists()
        lock.release()

    def test_fine_tuning_leaves_no_half_of_a_run(self, tmp_path: Path) -> None:
        with at_step(7, lambda: shutil.rmtree(tmp_path / "run")):
            finetune(finetuning(tmp_path), labelled())
        assert {"recipe.json", "data.json", "log.jsonl", "finetune.json"} <= snapshot(tmp_path / "run").keys()
        assert finetune(finetuning(tmp_path, resume=True), labelled()).done == 0


def without(source: ImageList, *places: int) -> ImageList:
    """The pictures but for some."""
    kept = [index for index in range(len(source)) if index not in places]
    return ImageList([source[index].image for index in kept], [source[index].name for index in kept])


class TestOtherData:
    @pytest.mark.parametrize("count", [16, 40])
    def test_another_number_of_images_is_refused_naming_both(self, tmp_path: Path, count: int) -> None:
        pretrain(small_recipe(tmp_path / "run", stop_after=2), pictures())
        before = snapshot(tmp_path / "run")
        with pytest.raises(RunFolderError) as refused:
            pretrain(small_recipe(tmp_path / "run", resume=True), pictures(count))
        said = str(refused.value)
        assert "learns from 24 samples" in said and f"got {count} samples" in said
        assert "--allow-other-data" in said and "--start-from" in said
        assert snapshot(tmp_path / "run") == before

    def test_as_many_others_are_refused(self, tmp_path: Path) -> None:
        pretrain(small_recipe(tmp_path / "run", stop_after=2), pictures())
        with pytest.raises(RunFolderError, match=r"24 samples \(fingerprint \w+\), got 24 samples \(fingerprint \w+\)"):
            pretrain(small_recipe(tmp_path / "run", resume=True), without(pictures(25), 7))

    def test_they_are_allowed_where_they_are_wanted_and_are_the_run_s_from_then_on(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        pretrain(small_recipe(out, stop_after=2), pictures())
        result = pretrain(small_recipe(out, resume=True, allow_other_data=True, stop_after=5), pictures(40))
        assert (result.steps, result.total) == (5, 15)
        with pytest.raises(RunFolderError, match="learns from 40 samples"):
            pretrain(small_recipe(out, resume=True), pictures())
        assert pretrain(small_recipe(out, resume=True), pictures(40)).steps == 15

    def test_a_run_without_a_checkpoint_has_learned_from_none(self, tmp_path: Path) -> None:
        assert pretrain(small_recipe(tmp_path / "run", stop_after=0), pictures()).steps == 0
        assert pretrain(small_recipe(tmp_path / "run", resume=True), pictures(16)).steps == 6
        with pytest.raises(RunFolderError, match="learns from 16 samples"):
            pretrain(small_recipe(tmp_path / "run", resume=True), pictures())

    def test_an_older_run_without_a_fingerprint_is_resumed_and_gets_one(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        pretrain(small_recipe(tmp_path / "whole"), pictures())
        pretrain(small_recipe(out, stop_after=2), pictures())
        for name in ("data.json", LOCK):
            (out / name).unlink()
        stored = json.loads((out / "recipe.json").read_text())
        del stored["run"]["allow_other_data"]
        stored["run"] |= {"stop_after": 2, "trackers": ["none"]}
        (out / "recipe.json").write_text(json.dumps(stored))
        pretrain(small_recipe(out, resume=True, stop_after=4), pictures())
        with pytest.raises(RunFolderError, match="learns from 24 samples"):
            pretrain(small_recipe(out, resume=True), pictures(40))
        assert pretrain(small_recipe(out, resume=True), pictures()).steps == 9
        assert losses(out) == losses(tmp_path / "whole")

    def test_fine_tuning_looks_at_labels_and_validation_too(self, tmp_path: Path) -> None:
        finetune(finetuning(tmp_path, stop_after=4), labelled())
        with pytest.raises(RunFolderError, match="learns from 16 samples .*got 20 samples.* into another --out"):
            finetune(finetuning(tmp_path, resume=True), labelled(20))
        data = labelled()
        swapped = data.train.part(np.arange(16))
        swapped.labels = 1 - swapped.labels
        with pytest.raises(RunFolderError, match="learns from 16 samples"):
            finetune(finetuning(tmp_path, resume=True), dataclasses.replace(data, train=swapped))
        fewer = data.val.part(np.arange(6))
        with pytest.raises(RunFolderError, match="is validated on 8 samples .*got 6"):
            finetune(finetuning(tmp_path, resume=True), dataclasses.replace(data, val=fewer))
        assert finetune(finetuning(tmp_path, resume=True), data).steps == 16


class TestFinished:
    def test_pretraining_again_takes_no_step_and_changes_nothing(self, tmp_path: Path) -> None:
        first = pretrain(small_recipe(tmp_path / "run"), pictures())
        before = snapshot(tmp_path / "run")
        again = pretrain(small_recipe(tmp_path / "run", resume=True), pictures())
        assert (again.done, again.steps, again.interrupted) == (0, 9, False)
        assert again.loss == losses(tmp_path / "run")[9] and np.isfinite(first.loss)
        assert snapshot(tmp_path / "run") == before

    def test_fine_tuning_again_knows_its_scores(self, tmp_path: Path) -> None:
        first = finetune(finetuning(tmp_path), labelled())
        before = snapshot(tmp_path / "run")
        again = finetune(finetuning(tmp_path, resume=True), labelled())
        assert again.done == 0 and (again.top1, again.top1_average) == (first.top1, first.top1_average)
        assert snapshot(tmp_path / "run") == before


class TestBeginning:
    def test_a_disk_without_room_for_a_checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Usage:
            free = 1000

        monkeypatch.setattr("splatlearn.runs.folder.shutil.disk_usage", lambda path: Usage)
        with pytest.raises(RunFolderError, match=r"out: expected .* MB of free space for a checkpoint in .*, got 0 MB"):
            pretrain(small_recipe(tmp_path / "new" / "run"), pictures())
        assert not (tmp_path / "new").exists()

    def test_a_claimed_folder_may_hold_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        assert pretrain(small_recipe(tmp_path, stop_after=1), pictures(), claimed=True).steps == 1
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_what_belongs_to_one_call_is_not_stored(self, tmp_path: Path) -> None:
        recipe = small_recipe(tmp_path / "run", resume=True, allow_other_data=True, stop_after=1, trackers=("none",))
        pretrain(recipe, pictures())
        for path in (tmp_path / "run", checkpoint_folders(tmp_path / "run")[-1]):
            stored = Recipe.read(path / "recipe.json").run
            assert (stored.resume, stored.allow_other_data, stored.stop_after) == (False, False, None)
        assert RunOptions(out="x", trackers=("none",)).trackers == ()
