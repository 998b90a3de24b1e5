"""Tensors by name in safetensors files: whole in one file, or rows of them in one file of each process.

`NAME.safetensors` holds whole tensors. `NAME-00001-of-00004.safetensors` and its like each hold consecutive rows of
tensors that were shared out over processes; what is not shared out lies in the first. Their header says under `rows`
which rows, as JSON `{tensor: [first row, rows of the whole tensor]}`. Nothing is pickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from splatlearn.core.disk.atomic import parse_object
from splatlearn.core.errors import FormatError, InputError, MissingError
from splatlearn.core.typed import shown
from splatlearn.runs.processes import Processes

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


def write_tensors(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> Path:
    """Write whole tensors to one file and return it; raises OSError where it cannot be written."""
    whole = {key: value.detach().contiguous() for key, value in tensors.items()}
    return _save(whole, folder / f"{name}.safetensors", {})


def write_rows(folder: Path, name: str, tensors: Mapping[str, Tensor], processes: Processes) -> Path:
    """Write this process's rows of tensors to its file and return it; raises OSError where it cannot be written."""
    mine: dict[str, Tensor] = {}
    rows: dict[str, list[int]] = {}
    for key, value in tensors.items():
        if isinstance(value, DTensor):
            mine[key] = value.to_local().detach().contiguous()
            rows[key] = [first_row(value), value.shape[0]]
        elif processes.main:
            mine[key] = value.detach().contiguous()
    path = folder / f"{name}-{processes.rank:05d}-of-{processes.count:05d}.safetensors"
    return _save(mine, path, {"rows": json.dumps(rows)})


def _save(tensors: dict[str, Tensor], path: Path, more: dict[str, str]) -> Path:
    try:
        save_file(tensors, path, metadata={"format": "pt", **more})
    except SafetensorError as error:
        # Safetensors has errors of its own for what the system refuses, such as a full disk.
        raise OSError(f"{path.name}: {error}") from error
    return path


def first_row(tensor: DTensor) -> int:
    """The row of the whole tensor at which this process's part begins; parts are chunks of equal size but the last."""
    mesh = tensor.device_mesh
    size = -(-tensor.shape[0] // mesh.size())
    return min(mesh.get_local_rank() * size, tensor.shape[0])


def has_shards(folder: Path) -> bool:
    """Whether a folder holds tensors in files of several processes."""
    return any(_SHARD.fullmatch(path.name) for path in folder.glob("*.safetensors"))


def shard_names(folder: Path) -> list[str]:
    """The names whose tensors lie in files of several processes."""
    found = (_SHARD.fullmatch(path.name) for path in folder.glob("*.safetensors"))
    return sorted({match["name"] for match in found if match})


class TensorFiles:
    """The tensors of a name in a folder, however many files they lie in; `shapes` has those of the whole tensors.

    The files stay open as long as the object lives. Raises FileNotFoundError where there are none, and ValueError for
    files that cannot be read or are missing.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._parts: dict[str, list[tuple[int, int, safe_open]]] = {}
        for path in _files(folder, name):
            self._index(path)
        for key, parts in self._parts.items():
            parts.sort(key=lambda part: part[:2])
            if sum(count for _, count, _ in parts) != (self.shapes[key] or (1,))[0]:
                raise InputError(
                    f"{folder}: expected all rows of {key} in the files of {name}, got files without some of them; "
                    "copy all files here"
                )

    def _index(self, path: Path) -> None:
        try:
            file = safe_open(path, framework="pt")
            rows = _rows(parse_object((file.metadata() or {}).get("rows", "{}"), str(path)), path)
            for key in file.keys():
                shape = tuple(file.get_slice(key).get_shape())
                first, total = rows.get(key, (0, shape[0] if shape else 1))
                self.shapes[key] = (total, *shape[1:]) if shape else ()
                self._parts.setdefault(key, []).append((first, shape[0] if shape else 1, file))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: expected a readable safetensors file, got {error}") from error

    def whole(self, key: str) -> Tensor:
        """A tensor, put together."""
        if not self.shapes[key]:
            return self._parts[key][0][2].get_tensor(key)
        return self.rows(key, 0, self.shapes[key][0])

    def all(self) -> dict[str, Tensor]:
        """Every tensor, put together."""
        return {key: self.whole(key) for key in self.shapes}

    def rows(self, key: str, first: int, count: int) -> Tensor:
        """Some rows of a tensor; only these are read."""
        read = []
        for start, length, file in self._parts[key]:
            low, high = max(first, start), min(first + count, start + length)
            if low < high:
                read.append(file.get_slice(key)[low - start : high - start])
        if not read:
            return self._parts[key][0][2].get_slice(key)[0:0]
        return read[0] if len(read) == 1 else torch.cat(read)

    def like(self, key: str, tensor: Tensor) -> Tensor:
        """The part of a stored tensor that this process holds: all of it, or its rows."""
        if not isinstance(tensor, DTensor):
            return self.whole(key)
        return self.rows(key, first_row(tensor), tensor.to_local().shape[0])


def _rows(stored: dict[str, Any], path: Path) -> dict[str, tuple[int, int]]:
    """The first row and the rows of the whole tensor, by name; raises FormatError for anything else."""
    for name, value in stored.items():
        if not (isinstance(value, list) and len(value) == 2 and all(type(each) is int and each >= 0 for each in value)):
            raise FormatError(f"{path}: rows of {shown(name)}: expected two integers, got {shown(value)}")
    return {name: (first, total) for name, (first, total) in stored.items()}


def _files(folder: Path, name: str) -> list[Path]:
    one = folder / f"{name}.safetensors"
    if one.is_file():
        return [one]
    found = {path: match for path in folder.glob(f"{name}-*.safetensors") if (match := _SHARD.fullmatch(path.name))}
    files = sorted(path for path, match in found.items() if match["name"] == name)
    if not files:
        raise MissingError(f"{folder}: expected {one.name} or its shards, found none")
    count = int(found[files[0]]["count"])
    if len(files) != count:
        raise InputError(f"{folder}: expected {count} shards of {name}, got {len(files)}; copy the others here")
    return files
