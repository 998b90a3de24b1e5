"""Checks of tensor arguments whose messages name the argument, what was expected and what came."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.core.errors import InputError


def check_shape(name: str, value: Tensor, expected: tuple[int | str, ...], leading: tuple[int, ...] = ()) -> None:
    """Raise InputError unless `value` has the leading shape followed by `expected` (a letter fits any size)."""
    shape = tuple(value.shape)
    wanted = (*leading, *expected)
    fits = len(shape) == len(wanted) and all(
        isinstance(want, str) or size == want for size, want in zip(shape, wanted, strict=True)
    )
    if not fits:
        text = ", ".join(str(size) for size in wanted)
        raise InputError(f"{name}: expected shape [{text}], got {list(shape)}")


def check_floating(name: str, value: Tensor) -> None:
    """Raise TypeError unless `value` is a floating-point tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a floating-point tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {value.dtype}; convert it with .float()")


def check_same_device(reference_name: str, reference: Tensor, **others: Tensor) -> None:
    """Raise InputError unless all tensors lie on the device of the reference."""
    for name, value in others.items():
        if value.device != reference.device:
            raise InputError(
                f"{name}: expected a tensor on {reference.device} like {reference_name}, got one on {value.device}; "
                f"move it with .to({str(reference.device)!r})"
            )


def check_finite(**values: Tensor) -> None:
    """Raise InputError when a tensor holds NaN or infinity, naming the tensor and how many entries are bad."""
    for name, value in values.items():
        finite = torch.isfinite(value)
        if not bool(finite.all()):
            bad = int((~finite).sum())
            raise InputError(
                f"{name}: expected finite values, got {bad} of {value.numel()} that are NaN or infinite; "
                "a learning rate that is too high is the usual cause in training"
            )
