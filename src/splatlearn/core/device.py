"""Where to compute, and in which precision."""

from __future__ import annotations

import functools
import logging
import os

import torch
from torch import Tensor

from splatlearn.core.errors import InputError

KINDS = ("cpu", "cuda", "mps")
NOT_MPS = (
    "device: auto takes the CPU, not this Mac's GPU, on which splatlearn has not been tested yet; --device mps tries it"
)


def choose_device(name: str) -> torch.device:
    """The device for a name; "auto" takes a CUDA device, else the CPU, and logs why where there is Apple's GPU.

    Raises InputError for a device that torch does not know, that the library cannot use, or that this machine lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            _say_once(NOT_MPS)
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {name!r}") from error
    if device.type not in KINDS or (device.type != "cuda" and device.index):
        raise InputError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {name!r}")
    missing = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if missing or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise InputError(
            f"device: {name} is not available on this machine; use --device auto (see `splatlearn doctor`)"
        )
    return device


@functools.cache
def _say_once(text: str) -> None:
    """Log a sentence once in a process; without a handler of the program's own it goes to stderr as it is."""
    logging.getLogger("splatlearn").warning(text)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices natively, so that bf16 is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # There is no public name for these yet.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def choose_precision(name: str, device: torch.device) -> str:
    """ "fp32" or "bf16" for "auto", "fp32" or "bf16"; raises InputError for anything else."""
    if name == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    if name not in {"fp32", "bf16"}:
        raise InputError(f"precision: expected auto, fp32 or bf16, got {name!r}")
    return name


def in_float64(values: Tensor) -> Tensor:
    """The values in float64, on their device where that has such numbers, else on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def reading_workers(device: torch.device) -> int:
    """How many workers read images for a model on a device: up to 16 for a GPU, one beside a model on the CPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(16, cores) if device.type == "cuda" else 1
