"""The Triton kernels: whether they can be used, what they take, and where they are launched.

With TRITON_INTERPRET=1 in the environment the kernels run on the CPU, one program after the other: slow, and for tests.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

import torch
from torch import Tensor

from splatlearn.rendering.formula import MAX_CHANNELS

CAPABILITY = (8, 0)
"""The oldest GPUs that the kernels compile for."""

_INSTALLED = find_spec("triton") is not None


def status() -> str:
    """ "ok", or why the kernels cannot be used and what to do."""
    if not _INSTALLED:
        return "Triton is not installed: pip install 'splatlearn[gpu]'"
    if torch.cuda.is_available() or is_interpreted():
        return "ok"
    return "no CUDA device"


def is_interpreted() -> bool:
    """Whether the environment asks for Triton's interpreter, in which kernels take CPU tensors."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def refusal(means2d: Tensor, channels: int) -> str | None:
    """Why the backend cannot take these inputs, or None."""
    device = means2d.device.type
    if device != "cuda" and not (device == "cpu" and is_interpreted()):
        return f"it takes CUDA tensors, got {device}"
    if device == "cuda" and torch.cuda.get_device_capability(means2d.device) < CAPABILITY:
        return f"it needs a GPU of compute capability {'.'.join(map(str, CAPABILITY))}"
    if means2d.dtype == torch.float64:
        return f"it computes in float32, got {means2d.dtype}"
    if channels > MAX_CHANNELS:
        return f"it takes up to {MAX_CHANNELS} channels, got {channels}"
    return None


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Launches go to the tensor's device, whichever is the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def float32(*tensors: Tensor) -> list[Tensor]:
    """Return tensors as contiguous float32, detached."""
    return [tensor.detach().to(torch.float32).contiguous() for tensor in tensors]
