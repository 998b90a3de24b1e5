"""The folder of a run: begun when nothing else can be wrong, locked, and put back where others remove it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from runs.toy_job import ALONE, Toy, ToyPlace, saved
from splatlearn.runs.data_identity import DataIdentity
from splatlearn.runs.folder import NAMES, UNFINISHED, RunFolder, RunFolderError, entered
from splatlearn.runs.lock import HOLDER, LOCK, RunLock

DATA = {"train": DataIdentity(24, "a1")}
TEXTS = {"recipe.json", "environment.json", "data.json"}


def begun(out: Path, **run) -> RunFolder:
    """A toy's folder, entered and made."""
    toy = Toy(ToyPlace(str(out), **run))
    folder = RunFolder(toy.run)
    folder.enter()
    folder.check_recipe(toy)
    folder.make(toy, DATA, 1)
    return folder


def names(folder: Path) -> set[str]:
    """What lies in a folder beside the lock."""
    return {path.name for path in folder.iterdir()} - {LOCK, HOLDER}


class TestBeginning:
    def test_a_new_run_has_its_recipe_environment_and_data(self, tmp_path: Path) -> None:
        out = tmp_path / "new" / "run"
        folder = begun(out, stop_after=3)
        assert names(out) == TEXTS and not folder.saved and folder.unlocked is None
        assert Toy.read(out / "recipe.json") == Toy(ToyPlace(str(out)))
        assert json.loads((out / "data.json").read_text()) == {"train": {"samples": 24, "fingerprint": "a1"}}
        assert json.loads((out / "environment.json").read_text())["versions"]["splatlearn"]
        with pytest.raises(RunFolderError, match="is working in"):
            RunLock(out).acquire()
        folder.leave()
        with RunLock(out):
            pass

    def test_nothing_is_made_before_it_is_needed(self, tmp_path: Path) -> None:
        toy = Toy(ToyPlace(str(tmp_path / "run")))
        with entered(toy.run, ALONE) as folder:
            folder.check_recipe(toy)
            assert folder.removed() == []
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("kind", ["file", "run", "saved run", "thesis"])
    def test_what_is_in_the_way(self, tmp_path: Path, kind: str) -> None:
        out = tmp_path / "run"
        if kind == "file":
            out.write_text("precious")
        elif kind == "thesis":
            out.mkdir()
            (out / "thesis.tex").write_text("precious")
        else:
            begun(out).leave()
        if kind == "saved run":
            saved(out, 3)
        message = {
            "file": "expected a folder, got the file",
            "run": r"already holds a run \(no checkpoint yet\); add --resume",
            "saved run": r"already holds a run \(newest checkpoint step-00000003\); add --resume",
            "thesis": "which holds thesis.tex and no run",
        }[kind]
        with pytest.raises(RunFolderError, match=message), entered(ToyPlace(str(out)), ALONE):
            pass

    def test_what_a_killed_beginning_left_is_not_in_the_way(self, tmp_path: Path) -> None:
        for name in (UNFINISHED, LOCK, HOLDER):
            (tmp_path / name).write_text("{")
        begun(tmp_path).leave()
        assert names(tmp_path) == TEXTS | {UNFINISHED}

    def test_a_claimed_folder_may_hold_files_but_none_of_a_run_s(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with entered(ToyPlace(str(tmp_path)), ALONE, claimed=True):
            pass
        for name in set(NAMES) - {"recipe.json"}:
            (tmp_path / name).write_text("mine")
            with pytest.raises(RunFolderError, match=f"which holds {name}"):
                RunFolder(ToyPlace(str(tmp_path)), claimed=True).enter()
            (tmp_path / name).unlink()

    @pytest.mark.parametrize("file", sorted(TEXTS))
    def test_a_folder_that_cannot_be_written_is_taken_away(
        self, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, text: str) -> None:
            if path.name == file:
                raise OSError(28, "No space left on device")
            path.write_text(text)

        monkeypatch.setattr("splatlearn.runs.folder.write_whole", full)
        with pytest.raises(RunFolderError, match="cannot write into .*: No space left on device"):
            begun(tmp_path / "new" / "run")
        assert not list(tmp_path.iterdir())

    def test_a_disk_without_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Usage:
            free = 1_000_000

        monkeypatch.setattr("splatlearn.runs.folder.shutil.disk_usage", lambda path: Usage)
        toy = Toy(ToyPlace(str(tmp_path / "run")))
        with pytest.raises(RunFolderError, match=r"out: expected 5 MB of free space for a checkpoint in .*, got 1 MB"):
            RunFolder(toy.run).make(toy, DATA, 5_000_000)
        assert not list(tmp_path.iterdir())


class TestResuming:
    def test_it_keeps_the_recipe_and_the_environment_that_it_began_with(self, tmp_path: Path) -> None:
        begun(tmp_path).leave()
        (tmp_path / "environment.json").write_text('{"command": "of before"}')
        recipe = (tmp_path / "recipe.json").read_bytes()
        begun(tmp_path, resume=True, device="cuda").leave()
        assert (tmp_path / "recipe.json").read_bytes() == recipe
        assert (tmp_path / "environment.json").read_text() == '{"command": "of before"}'

    def test_a_folder_in_use_is_refused(self, tmp_path: Path) -> None:
        folder = begun(tmp_path)
        with pytest.raises(RunFolderError, match="is working in"), entered(ToyPlace(str(tmp_path), True), ALONE):
            pass
        folder.leave()

    def test_another_recipe_is_refused_naming_what_differs(self, tmp_path: Path) -> None:
        begun(tmp_path).leave()
        toy = replace(Toy(ToyPlace(str(tmp_path), resume=True)), rate=0.25, batch=8)
        with pytest.raises(
            RunFolderError, match=r"another recipe \(there, here\): rate: 0.5, 0.25; batch: 4, 8; resume"
        ):
            RunFolder(toy.run).check_recipe(toy)
        saved(tmp_path, 3)
        with pytest.raises(RunFolderError, match=r": rate: 0.5, 0.25; resume with"):
            RunFolder(toy.run).check_recipe(toy)
        (tmp_path / "recipe.json").write_text("{}")
        with pytest.raises(RunFolderError, match="expected the recipe of such a run in .* got another one"):
            RunFolder(toy.run).check_recipe(toy)

    @pytest.mark.parametrize("other", [DataIdentity(25, "a1"), DataIdentity(24, "b2")], ids=["more", "others"])
    def test_other_data_are_refused_once_it_has_learned(self, tmp_path: Path, other: DataIdentity) -> None:
        begun(tmp_path).leave()
        toy = Toy(ToyPlace(str(tmp_path), resume=True))

        def resume(toy: Toy, data: dict[str, DataIdentity]) -> None:
            with entered(toy.run, ALONE) as folder:
                folder.make(toy, data, 1)

        resume(toy, {"train": other})
        resume(toy, DATA)
        saved(tmp_path, 3)
        with pytest.raises(RunFolderError) as refused:
            resume(toy, {"train": other})
        assert f"learns from {DATA['train']}, got {other}" in str(refused.value)
        assert f"start another toy instead of {tmp_path}" in str(refused.value)
        resume(toy, {**DATA, "validation": other})
        with pytest.raises(RunFolderError, match="is validated on"):
            resume(toy, {**DATA, "validation": DataIdentity(1, "c3")})
        resume(replace(toy, run=replace(toy.run, allow_other_data=True)), {"train": other})
        assert json.loads((tmp_path / "data.json").read_text())["train"]["samples"] == other.samples


class TestRemoved:
    @pytest.mark.parametrize("gone", ["recipe.json", "environment.json", "data.json", LOCK, "checkpoints"])
    def test_a_part_is_named_and_written_anew(self, tmp_path: Path, gone: str) -> None:
        folder = begun(tmp_path)
        saved(tmp_path, 3)
        folder.saved = True
        before = {name: (tmp_path / name).read_bytes() for name in TEXTS}
        assert folder.removed() == []
        path = tmp_path / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert folder.removed() == [gone] and folder.restore()
        assert {name: (tmp_path / name).read_bytes() for name in TEXTS} == before
        # Checkpoints are the job's to write.
        assert folder.removed() == ([gone] if gone == "checkpoints" else [])
        with pytest.raises(RunFolderError, match="is working in"):
            RunLock(tmp_path).acquire()
        folder.leave()

    def test_all_of_it(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        folder = begun(out)
        shutil.rmtree(out)
        assert folder.removed() == [*NAMES] and folder.restore()
        assert names(out) == TEXTS and folder.path == out
        folder.leave()

    @pytest.mark.parametrize("other", ["run", "locked"])
    def test_another_in_its_place_is_left_alone(self, tmp_path: Path, other: str) -> None:
        out = tmp_path / "run"
        (tmp_path / "run-rescued").mkdir()
        folder = begun(out)
        shutil.rmtree(out)
        out.mkdir()
        lock = RunLock(out)
        if other == "locked":
            lock.acquire()
        else:
            (out / "recipe.json").write_text("of another")
        assert not folder.restore() and folder.path == tmp_path / "run-rescued1"
        assert names(folder.path) == TEXTS and names(out) == ({"recipe.json"} if other == "run" else set())
        folder.leave()
        lock.release()
