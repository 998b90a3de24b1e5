"""PyTorch's files: the state dict among tensors and plain values, and what stands in the way of reading others.

Nothing is unpickled but what PyTorch reads with `weights_only`, and namespaces of command-line arguments.
"""

from __future__ import annotations

import argparse
import io
import pickletools
import re
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splatlearn.core.errors import FormatError, some_of
from splatlearn.core.typed import shown

STATE_DICTS = (
    "model", "state_dict", "model_state_dict", "model_state", "module", "teacher", "student", "model_ema", "ema", "net",
    "network", "backbone", "encoder", "weights", "params",
)  # fmt: skip
"""Keys under which checkpoints keep their weights; the first that is there counts."""
NESTED = 4
"""Levels of such keys."""
MOST_EXPANSION = 4
"""Times its size that a file may need in memory; `torch.save` compresses nothing."""
NAMED = 4
"""Names of what a refused file holds that its message has."""
MOST_SCANNED = 2**24
"""Bytes of a refused pickle that are searched for what it holds."""
_HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)|argparse\.Namespace|_codecs\.encode|(builtins|__builtin__)\.set|"
    r"torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_\w+|nn\.parameter\.Parameter|storage\.(Un)?[Tt]ypedStorage|"
    r"\w*Storage|Tensor|Size|device|dtype|b?float\d*\w*|double|half|u?int\d*|long|short|bool|complex\d*)"
)
"""Names that files of tensors and plain values hold too."""


def read_torch_file(file: Path) -> tuple[dict[str, Tensor], Mapping[str, object]]:
    """The tensors of a file that `torch.save` wrote, and the command-line arguments stored beside them.

    Raises FormatError for files that are damaged, hold no tensors, would expand to far more than their size, or hold
    anything but tensors and plain values, which the message then names.
    """
    with file.open("rb"):  # what the system refuses is said as it is
        _check_archive(file)
    content = _content(file)
    if not isinstance(content, Mapping):
        raise FormatError(f"{file}: expected a dictionary of tensors, got {type(content).__name__}")
    inside: Mapping[Any, Any] = content
    for _ in range(NESTED):
        inside = next((inside[key] for key in STATE_DICTS if isinstance(inside.get(key), Mapping)), inside)
    weights = {name: value for name, value in inside.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if not weights:
        found = ", ".join(key if isinstance(key, str) and len(key) < 60 else shown(key) for key in list(inside)[:NAMED])
        raise FormatError(
            f"{file}: expected a dictionary of tensors, got {f'one of {found}' if found else 'an empty one'}"
        )
    arguments = content.get("args")
    if isinstance(arguments, argparse.Namespace):
        arguments = vars(arguments)
    return weights, arguments if isinstance(arguments, Mapping) else {}


def _content(file: Path) -> object:
    # Official training checkpoints hold their command-line arguments, in nothing more than a namespace.
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # PyTorch's readers raise whatever a damaged file makes them stumble over
            names = _refused(file)
            if not names:
                raise FormatError(
                    f"{file}: expected a PyTorch file of tensors and plain values alone, got one that cannot be read "
                    f"({type(error).__name__}): it is damaged, cut short or of another kind; fetch or save it again"
                ) from error
            raise FormatError(
                f"{file}: expected a PyTorch file of tensors and plain values alone, got one that holds "
                f"{some_of(names, NAMED)}, which is refused, because reading it could run code; save the "
                'state dict alone where the file comes from: torch.save(model.state_dict(), "weights.pth")'
            ) from error


def _check_archive(file: Path) -> None:
    """Raise FormatError for an archive that is damaged, or expands to far more than its size."""
    size = file.stat().st_size
    try:
        if not zipfile.is_zipfile(file):
            return
        with zipfile.ZipFile(file) as archive:
            needed = sum(each.file_size for each in archive.infolist())
    except Exception as error:  # zipfile raises whatever a damaged archive makes it stumble over
        raise FormatError(
            f"{file}: expected a PyTorch file, got an archive that is damaged or cut short ({type(error).__name__}); "
            "fetch or save it again"
        ) from error
    if needed > MOST_EXPANSION * size:
        raise FormatError(
            f"{file}: expected a file that needs at most {MOST_EXPANSION} times its size in memory, got one of "
            f"{size:,} bytes that expands to {needed:,}; save it again with torch.save"
        )


def _refused(file: Path) -> list[str]:
    """The names of what a file's pickles hold beside tensors and plain values; none where it is too damaged to say."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                name = next((each for each in archive.namelist() if each.endswith("data.pkl")), "data.pkl")
                with archive.open(name) as stream:
                    start = stream.read(MOST_SCANNED)
        else:
            with file.open("rb") as stream:
                start = stream.read(MOST_SCANNED)
    except Exception:  # as above
        return []
    return sorted(name for name in _globals_in(io.BytesIO(start)) if not _HARMLESS.fullmatch(name))


def _globals_in(stream: io.BytesIO) -> set[str]:
    """Names of the globals in one pickle after another, as far as they can be followed; nothing is executed."""
    names: set[str] = set()
    try:
        while True:
            for name in _globals_of_one(stream):
                names.add(name)
    except Exception:  # the end of the pickles, or of what is sound of them
        return names


def _globals_of_one(stream: io.BytesIO) -> Iterator[str]:
    texts: deque[str] = deque(maxlen=2)
    kept: dict[object, str | None] = {}
    last: str | None = None
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts)
        elif operation.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            kept[len(kept) if argument is None else argument] = last
            continue
        last = kept.get(argument) if operation.name in ("GET", "BINGET", "LONG_BINGET") else None
        if isinstance(argument, str) and operation.name not in ("GLOBAL", "INST"):
            last = argument
        if last is not None:
            texts.append(last)
