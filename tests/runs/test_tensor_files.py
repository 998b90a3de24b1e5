"""Tensors by name, in one file or as rows of several, put together whichever way they lie."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from splatlearn.core.errors import InputError, MissingError, SplatlearnError
from splatlearn.runs import tensor_files
from splatlearn.runs.tensor_files import TensorFiles, has_shards, shard_names, write_tensors

WHOLE = {"a": torch.arange(10.0).view(5, 2), "step": torch.tensor(3.0), "none": torch.zeros(0, 4)}


def in_rows(folder: Path, cuts: tuple[int, ...]) -> None:
    """`WHOLE` in files that each hold some rows of `a`; what is not shared out lies in the first."""
    ends = [*cuts, 5]
    for number, (first, last) in enumerate(zip((0, *cuts), ends, strict=True)):
        others = {"step": WHOLE["step"], "none": WHOLE["none"]} if number == 0 else {}
        rows = {"rows": json.dumps({"a": [first, 5]})}
        path = folder / f"scene-{number:05d}-of-{len(ends):05d}.safetensors"
        save_file({"a": WHOLE["a"][first:last].clone(), **others}, path, metadata={"format": "pt", **rows})


@pytest.mark.parametrize("cuts", [None, (), (2,), (1, 2), (3, 5)])
def test_they_come_back_whole_and_in_rows(tmp_path: Path, cuts: tuple[int, ...] | None) -> None:
    if cuts is None:
        assert write_tensors(tmp_path, "scene", WHOLE) == tmp_path / "scene.safetensors"
    else:
        in_rows(tmp_path, cuts)
    assert has_shards(tmp_path) == (cuts is not None)
    assert shard_names(tmp_path) == ([] if cuts is None else ["scene"])
    files = TensorFiles(tmp_path, "scene")
    assert files.shapes == {name: tuple(value.shape) for name, value in WHOLE.items()}
    found = files.all()
    assert all(torch.equal(found[name], value) for name, value in WHOLE.items())
    for first in range(6):
        for count in range(6 - first):
            assert torch.equal(files.rows("a", first, count), WHOLE["a"][first : first + count])
    assert torch.equal(files.like("a", torch.zeros(5, 2)), WHOLE["a"])


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_rows(tmp_path, (2,))
    opened: list[str] = []

    def counted(path: Path, framework: str) -> safe_open:
        opened.append(path.name)
        return safe_open(path, framework=framework)

    monkeypatch.setattr(tensor_files, "safe_open", counted)
    files = TensorFiles(tmp_path, "scene")
    assert files.all().keys() == WHOLE.keys() and len(files.rows("a", 1, 3)) == 3
    assert opened == [f"scene-0000{number}-of-00002.safetensors" for number in range(2)]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="expected scene.safetensors or its shards, found none"):
        TensorFiles(tmp_path, "scene")
    in_rows(tmp_path, (2, 4))
    (tmp_path / "scene-00001-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match="expected 3 shards of scene, got 2; copy the others here"):
        TensorFiles(tmp_path, "scene")
    # Another part in its place has the rows of neither.
    (tmp_path / "scene-00002-of-00003.safetensors").rename(tmp_path / "scene-00001-of-00002.safetensors")
    (tmp_path / "scene-00000-of-00003.safetensors").rename(tmp_path / "scene-00000-of-00002.safetensors")
    with pytest.raises(InputError, match="expected all rows of a in the files of scene, got files without some"):
        TensorFiles(tmp_path, "scene")


@pytest.mark.parametrize("rows", ["[]", "{", '{"a": 3}', '{"a": [0, "4"]}', '{"a": [-1, 4]}', '{"a": []}'])
def test_rows_that_say_nothing(rows: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(4, 2)}, tmp_path / "model.safetensors", metadata={"rows": rows})
    with pytest.raises(SplatlearnError, match="model.safetensors"):
        TensorFiles(tmp_path, "model")


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path = write_tensors(tmp_path, "scene", WHOLE)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="scene.safetensors: expected a readable safetensors file"):
        TensorFiles(tmp_path, "scene")
