"""Where to compute, and in which precision."""

from __future__ import annotations

import torch

from splatlearn.core.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device for a name; "auto" takes a CUDA device, then Apple's, then the CPU.

    Raises InputError for a device that torch does not know or that this machine lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {name!r}") from error
    missing = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if missing or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise InputError(f"device: {name} is not on this machine; use --device auto (see `splatlearn doctor`)")
    return device


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
