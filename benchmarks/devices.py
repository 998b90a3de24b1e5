"""What the benchmarks that also run on GPUs share: clocks, ceilings of the device, and who it is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from splatlearn.runs.folder import environment

COPIED = {"cpu": 2**26, "cuda": 2**30}
"""Bytes of the copy that measures memory, by device: many times what caches hold."""
MULTIPLIED = {"cpu": 512, "cuda": 8192}
"""Side of the float32 matrices whose product measures arithmetic."""


def milliseconds(calls: Sequence[Callable[[], object]], device: str, rounds: int, warm_up: int = 3) -> list[float]:
    """Time of each of `rounds` calls, which rotate over `calls`, so that caches hold nothing of the call before.

    By device events on CUDA, with all calls queued before the first is waited for, and by the clock elsewhere.
    """
    for index in range(warm_up):
        calls[index % len(calls)]()
    if device != "cuda":
        return [_on_the_clock(calls[index % len(calls)]) for index in range(rounds)]
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    torch.cuda.synchronize()
    for index, (start, end) in enumerate(marks):
        start.record()
        calls[index % len(calls)]()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in marks]


def _on_the_clock(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def ceilings(device: str, rounds: int = 10) -> dict[str, float]:
    """Bytes per second of a copy (read and written) and float32 operations per second of a matrix product."""
    source = torch.zeros(COPIED[device] // 4, device=device)
    target = torch.empty_like(source)
    side = MULTIPLIED[device]
    # Random, for products of zeros draw less power and so run faster than any that are needed.
    one, other = torch.randn(side, side, device=device), torch.randn(side, side, device=device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        copy = statistics.median(milliseconds([lambda: target.copy_(source)], device, rounds))
        product = statistics.median(milliseconds([lambda: one @ other], device, rounds))
    finally:
        torch.set_float32_matmul_precision(before)
    return {"bytes_per_second": 2e3 * COPIED[device] / copy, "float32_per_second": 2e3 * side**3 / product}


def device_facts(device: str) -> dict[str, object]:
    """The environment and the device's name."""
    name = torch.cuda.get_device_name() if device == "cuda" else environment()["processor"]
    return {**environment(), "device": device, "device_name": name, "torch": torch.__version__}
