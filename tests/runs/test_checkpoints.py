"""Checkpoints of named tensors: written whole or not at all, read back bit by bit, damage named, nothing unpickled."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runs.toy_job import ALONE, NAMES, SCHEMA, read_toy, saved, toy_tensors
from splatlearn.runs import checkpoint_store
from splatlearn.runs.checkpoint_store import CheckpointError, Retention, checkpoint_folders, set_aside
from splatlearn.runs.checkpoints import Contents, UnknownCheckpointError, newest_whole, open_tensors, save


def test_everything_comes_back_bit_by_bit(tmp_path: Path) -> None:
    folder = saved(tmp_path, 7)
    state, files = read_toy(folder)
    assert (state["schema"], state["step"], state["samples"]) == (SCHEMA.newest, 7, 70) and state["splatlearn"]
    for name, wanted in toy_tensors(7).items():
        found = open_tensors(folder, name).all()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in wanted.items())
    assert set(files) == {"scene.safetensors", "moments.safetensors", "recipe.json", "notes.json"}
    for name, checksum in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum
    assert json.loads((folder / "recipe.json").read_text()) == {"rate": 0.5}


def test_a_step_that_is_saved_again_is_replaced(tmp_path: Path) -> None:
    first = saved(tmp_path, 3)
    (first / "scene.safetensors").write_bytes(b"damaged")
    assert saved(tmp_path, 3) == first and newest_whole(tmp_path, read_toy, NAMES) == (first, {})
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_folder_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    half = tmp_path / "checkpoints" / ".tmp-step-00000009"
    half.mkdir()
    (half / "notes.json").write_text("{")
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-00000003"]
    saved(tmp_path, 4)
    assert not half.exists()


def test_a_checkpoint_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    folder = saved(tmp_path, 3)
    folder.rename(folder.with_name(f".tmp-old-{folder.name}"))
    saved(tmp_path, 4)
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-00000003", "step-00000004"]


@pytest.mark.parametrize(
    ("keep", "steps"), [(Retention(2), [5, 6]), (Retention(1, every=2), [2, 4, 6]), (Retention(2, every=3), [3, 5, 6])]
)
def test_the_newest_and_every_so_many_stay(tmp_path: Path, keep: Retention, steps: list[int]) -> None:
    saved(tmp_path, 1, 2, 3, 4, 5, 6, keep=keep)
    assert [int(path.name[5:]) for path in checkpoint_folders(tmp_path)] == steps


@pytest.mark.parametrize("culprit", ["write", "sync"])
def test_a_full_disk_leaves_the_last_one_as_it_was(
    tmp_path: Path, culprit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = saved(tmp_path, 3)
    before = {path.name: path.read_bytes() for path in good.iterdir()}

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    contents = Contents(toy_tensors(4), "{}", write=full if culprit == "write" else lambda folder: None)
    if culprit == "sync":
        monkeypatch.setattr(checkpoint_store, "sync", full)
    with pytest.raises(CheckpointError, match=r"checkpoint of step 4 .* No space left .*step-00000003, is as it was"):
        save(tmp_path, contents, {"step": 4, "samples": 40}, SCHEMA, Retention(1), ALONE)
    assert {path.name: path.read_bytes() for path in good.iterdir()} == before
    assert [path.name for path in good.parent.iterdir()] == [good.name]


def test_the_first_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="there is no earlier one"):
        save(tmp_path, Contents({}, "{}", write=full), {"step": 1}, SCHEMA, Retention(1), ALONE)
    assert newest_whole(tmp_path, read_toy, NAMES) == (None, {})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


class TestDamage:
    @pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
    @pytest.mark.parametrize("name", ["scene.safetensors", "moments.safetensors", "notes.json", "recipe.json"])
    def test_it_is_named_and_the_one_before_is_used(
        self, tmp_path: Path, name: str, damage: Callable[[Path], None]
    ) -> None:
        newest = saved(tmp_path, 3, 4, 5)
        damage(newest / name)
        folder, problems = newest_whole(tmp_path, read_toy, NAMES)
        assert folder is not None and folder.name == "step-00000004"
        assert list(problems) == [newest] and name in problems[newest]

    @pytest.mark.parametrize("text", ["", "[]", '{"schema": 3, "st', '{"schema": 3}', '{"schema": 2, "files": {}}'])
    def test_a_torn_description(self, tmp_path: Path, text: str) -> None:
        newest = saved(tmp_path, 3, 4)
        (newest / "training.json").write_text(text)
        folder, problems = newest_whole(tmp_path, read_toy, NAMES)
        assert folder is not None and folder.name == "step-00000003" and "training.json" in problems[newest]

    def test_none_is_whole(self, tmp_path: Path) -> None:
        for folder in (saved(tmp_path, 3), saved(tmp_path, 4)):
            cut(folder / "scene.safetensors")
        with pytest.raises(CheckpointError, match=r"no checkpoint of .* is whole: .*step-00000004.*step-00000003"):
            newest_whole(tmp_path, read_toy, NAMES)

    def test_tensors_that_every_checkpoint_has(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 3)
        with pytest.raises(CheckpointError, match="expected colours.safetensors in the checkpoint, found none"):
            newest_whole(tmp_path, read_toy, (*NAMES, "colours"))
        with pytest.raises(CheckpointError, match="expected a readable training.json, found none"):
            read_toy(folder.parent)

    def test_it_is_set_aside_and_nothing_of_it_is_lost(self, tmp_path: Path) -> None:
        for _ in range(2):
            newest = saved(tmp_path, 3, 4)
            cut(newest / "scene.safetensors")
            left = (newest / "scene.safetensors").read_bytes()
            aside = set_aside(newest)
            assert aside.name == "damaged-step-00000004" and (aside / "scene.safetensors").read_bytes() == left
            assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-00000003"]


class TestSchemas:
    def test_an_older_one_is_migrated(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 3)
        (folder / "training.json").write_text(json.dumps({"schema": 1, "step": 3}))
        assert read_toy(folder) == ({"schema": 3, "step": 3, "samples": 30, "files": {}}, {})
        assert newest_whole(tmp_path, read_toy, NAMES) == (folder, {})

    def test_a_newer_one_is_not_passed_over(self, tmp_path: Path) -> None:
        newest = saved(tmp_path, 3, 4)
        state = json.loads((newest / "training.json").read_text()) | {"schema": 99}
        (newest / "training.json").write_text(json.dumps(state))
        for read in (lambda: read_toy(newest), lambda: newest_whole(tmp_path, read_toy, NAMES)):
            with pytest.raises(UnknownCheckpointError, match="expected toy schema 3 or older, got 99; update"):
                read()


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [pickle.dump, torch.save])
@pytest.mark.parametrize("name", ["scene.safetensors", "training.json"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, name: str, write: Callable) -> None:
    mark = tmp_path / "it ran"
    folder = saved(tmp_path / "run", 3)
    with (folder / name).open("wb") as file:
        write(Bomb(mark), file)
    if name != "training.json":
        state = json.loads((folder / "training.json").read_text())
        state["files"][name] = checkpoint_store.checksum(folder / name)
        (folder / "training.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=name):
        newest_whole(tmp_path / "run", read_toy, NAMES)
    assert not mark.exists()
    # The bomb itself works.
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("at", ["write", "finish"])
def test_a_kill_while_it_is_written_leaves_the_one_before(tmp_path: Path, at: str) -> None:
    saved(tmp_path, 3)
    process = os.fork()
    if not process:
        if at == "finish":
            checkpoint_store.replace_folder = lambda *arguments: os._exit(9)
        contents = Contents(toy_tensors(4), "{}", write=lambda folder: os._exit(9) if at == "write" else None)
        save(tmp_path, contents, {"step": 4, "samples": 40}, SCHEMA, Retention(1), ALONE)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    folder, problems = newest_whole(tmp_path, read_toy, NAMES)
    assert folder is not None and folder.name == "step-00000003" and not problems
    assert load_file(folder / "scene.safetensors").keys() == toy_tensors(3)["scene"].keys()
    saved(tmp_path, 4)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["step-00000003", "step-00000004"]
