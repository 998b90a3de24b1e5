"""Weights in a safetensors file: what its header says of them, and the tensors."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from splatlearn.core.checks import check_stored
from splatlearn.core.errors import FormatError

FLOATING = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""Types of stored numbers that become float32; the header names them so."""


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a safetensors file, from its header alone.

    Raises FormatError for a file that cannot be read, and for tensors that are no floating-point numbers.
    """
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            types = {name: str(each.get_dtype()) for name, each in slices.items()}
            shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
    except (SafetensorError, KeyError, OSError) as error:
        raise unreadable(path, error) from error
    for name, kind in types.items():
        if kind not in FLOATING:
            raise FormatError(f"{path}: {name}: expected floating-point numbers, got {kind}")
    return shapes


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; raises as `read_shapes` does, and for numbers that are not finite."""
    read_shapes(path)
    weights = read_tensors(path)
    for name, value in weights.items():
        try:
            check_stored(name, value)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
    return weights


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, of any type; raises FormatError for a file that cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, OSError) as error:
        raise unreadable(path, error) from error


def looks_like_safetensors(path: Path) -> bool:
    """Whether a file begins as those of safetensors do, whatever its name is: the length of a header, and a header."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8


def unreadable(path: Path, error: Exception) -> FormatError:
    """The error for a file that safetensors cannot read."""
    return FormatError(f"{path}: expected a readable safetensors file, got {error or type(error).__name__}")
