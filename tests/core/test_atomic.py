"""Files and folders that are written whole or not at all."""

import ast
import os
from pathlib import Path

import pytest

import splatlearn
from splatlearn.core.disk.atomic import (
    filling,
    is_unfinished,
    place_folder,
    read_object,
    replace_folder,
    replacing,
    write_whole,
)
from splatlearn.core.errors import FormatError, InputError


def test_a_file_takes_its_name_when_it_is_complete(tmp_path: Path):
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as beside:
        beside.write_text("half")
        assert not path.exists() and is_unfinished(beside)
    assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]


def test_what_was_there_survives_a_failure(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(KeyError), replacing(path) as beside:
        beside.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_leftovers_of_killed_processes_go_and_fresh_ones_stay(tmp_path: Path):
    old, fresh, other = tmp_path / ".a.txt.1.tmp", tmp_path / ".a.txt.2.tmp", tmp_path / ".b.txt.1.tmp"
    for each in (old, fresh, other):
        each.write_text("")
    for each in (old, other):
        os.utime(each, (0, 0))
    write_whole(tmp_path / "a.txt", "new")
    assert not old.exists() and fresh.exists() and other.exists()


@pytest.mark.parametrize(
    "name", ["n" * 255, "ä" * 80, "ä" * 127, "山" * 85, "😀" * 63, "x" + "é山😀" * 28, "a" * 199 + "山" * 18]
)
def test_names_of_up_to_255_bytes_can_be_written(tmp_path: Path, name: str):
    assert len(name.encode()) <= 255
    path = tmp_path / name
    write_whole(path, "old")
    with replacing(path) as beside:
        beside.write_text("text")
        assert is_unfinished(beside) and beside.name.encode().decode() == beside.name
    assert path.read_text() == "text" and list(tmp_path.iterdir()) == [path]


def test_long_names_that_begin_alike_do_not_meet(tmp_path: Path):
    first, second = tmp_path / ("山" * 80 + "1"), tmp_path / ("山" * 80 + "2")
    with replacing(first) as one, replacing(second) as other:
        one.write_text("one")
        other.write_text("other")
    assert (first.read_text(), second.read_text()) == ("one", "other")


def test_what_a_killed_process_left_of_a_long_name_goes(tmp_path: Path):
    path, left = tmp_path / ("ä" * 120), ""
    with pytest.raises(KeyError), replacing(path) as beside:
        left = beside.name.replace(f".{os.getpid()}.", ".1.")
        raise KeyError
    (tmp_path / left).write_text("half")
    os.utime(tmp_path / left, (0, 0))
    write_whole(path, "new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_filled_with_the_named_file_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moved: list[str] = []
    real = os.replace

    def note(source: Path, target: Path) -> None:
        moved.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr("splatlearn.core.disk.atomic.os.replace", note)
    target = tmp_path / "model"
    target.mkdir()
    (target / "README.md").write_text("mine")
    with filling(target, "config.json", lambda name: name == "README.md") as beside:
        for name in ("config.json", "README.md", "weights"):
            (beside / name).write_text("new")
    assert moved == ["weights", "config.json"]
    assert (target / "README.md").read_text() == "mine"
    assert sorted(each.name for each in target.iterdir()) == ["README.md", "config.json", "weights"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(KeyError), filling(tmp_path / "model", "config.json") as beside:
        (beside / "weights").write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "model").write_text("")
    with pytest.raises(InputError, match="folder: expected a folder, got the file"), filling(tmp_path / "model", "x"):
        pass


def test_a_folder_replaces_another(tmp_path: Path):
    for name in ("new", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    replace_folder(tmp_path / "new", tmp_path / "target", tmp_path / "old")
    assert (tmp_path / "target" / "a").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("there", ["nothing", "an empty folder"])
def test_a_folder_takes_a_free_name(tmp_path: Path, there: str):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").write_text("new")
    if there == "an empty folder":
        (tmp_path / "target").mkdir()
    place_folder(tmp_path / "new", tmp_path / "target")
    assert (tmp_path / "target" / "a").read_text() == "new" and os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("there", ["a folder", "a file", "a link", "a link to nothing"])
def test_a_folder_takes_no_name_that_is_in_use(tmp_path: Path, there: str):
    target, other = tmp_path / "target", tmp_path / "other"
    for name in ("new", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    if there == "a folder":
        other.rename(target)
    elif there == "a file":
        target.write_text("mine")
    else:
        target.symlink_to(other if there == "a link" else tmp_path / "nothing")
    with pytest.raises(FileExistsError, match="expected nothing"):
        place_folder(tmp_path / "new", target)
    assert (tmp_path / "new" / "a").read_text() == "new"
    if there == "a file":
        assert target.read_text() == "mine"
    elif there != "a link to nothing":
        assert (target / "a").read_text() == "other"


@pytest.mark.parametrize("text", ["[]", "{", "3", "", "[" * 100_000])
def test_json_that_is_no_object_is_named(tmp_path: Path, text: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"a\.json: expected"):
        read_object(path)


def test_files_take_names_in_this_module_alone():
    """Renaming is left to `core.disk.atomic`, but for whole checkpoint folders that are set aside or put back."""
    package = Path(splatlearn.__file__).parent
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"replace", "rename"}
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert found <= {"core/disk/atomic.py", "runs/checkpoint_store.py"}
