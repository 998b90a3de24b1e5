"""Memory of compiled code; run as a script with the names of checks (Linux).

Each check is made in a process of its own, forked when everything is imported and nothing has been computed. It prints
"ok" when all have passed.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import compiled
from splatlearn.models.nn import layers
from splatlearn.rendering import Rendering, render
from splatlearn.rendering.backends.cpu import support as cpu_support

COUNT, SIZE, THREADS = 2**19, (200, 16), 2
SLACKS = (3, 20, 50, 75, 125)
"""MiB that may be allocated: the arrays of splats, the moments and the copies of bands come one after the other."""


def array(*shape: int, fill: float = 0.5) -> np.ndarray:
    return np.full(shape, fill, dtype=np.float32)


def renderer(threads: int = THREADS) -> dict[str, Callable[[], None]]:
    """Each entry point of the renderer, with results to write to that are there before memory is short."""
    native = cpu_support._native
    assert native is not None
    rows = (1, COUNT)
    conics = array(*rows, 3)
    conics[..., 1] = 0.0
    # Wide splats that are hardly seen, a few of them on each band's rows.
    means2d, colors, opacities, background = array(*rows, 2), array(*rows, 3), array(*rows, fill=0.01), array(1, 3)
    means2d[..., 1] = np.arange(COUNT) % SIZE[0]
    splats = (means2d, conics, opacities, colors, background)
    pictures = array(1, 3, *SIZE), array(1, *SIZE)
    results = [np.empty_like(each) for each in splats]
    lens, views = [8.0, 8.0, 8.0, 8.0, 0.01, 1.0, 1.0], np.eye(4, dtype=np.float32)[None]
    order = np.zeros(rows, np.int32)
    cloud = array(*rows, 3), array(*rows, 3), array(*rows, 4), colors, opacities
    sorted_out = results[0], results[1], array(*rows), results[3], results[2]
    return {
        "forward": lambda: native.forward(*splats, *pictures, threads),
        "backward": lambda: native.backward(*splats, *pictures, *pictures, *results, threads),
        "project": lambda: native.project(*cloud, views, "gmae", lens, *sorted_out, order, threads),
    }


def transformer() -> dict[str, Callable[[], None]]:
    """The compiled layers that allocate, on arrays of zeros of which no page is there before it is read."""
    native = layers.native
    assert native is not None
    queries, heads, width = 8192, 1, 16
    tokens = np.zeros((queries, 3 * width), dtype=np.float32)
    place = native.Tokens(tokens.ctypes.data, 0, 3 * width)
    out = native.Tokens(np.zeros_like(tokens).ctypes.data, 0, 3 * width)
    keys = native.MOST_KEYS
    rows, columns = 2**20, 256
    long, sums = np.zeros((rows, columns), dtype=np.float32), np.zeros(2 * columns, dtype=np.float32)
    statistics = np.ones((2, rows), dtype=np.float32)
    at = [each.ctypes.data for each in (long, sums, statistics, long, long, long, sums)]
    keep = (tokens, long, sums, statistics)

    def attend() -> None:
        native.float32.attend(native.Sizes(1, heads, 1, keys, 2**14), place, place, place, out, THREADS)

    def attend_backward() -> None:
        native.float32.attend_backward(native.Sizes(1, heads, queries, keys, width), *[place] * 4, *[out] * 3, THREADS)

    def column_sums() -> None:
        native.float32.column_sums(keep[1].ctypes.data, keep[2].ctypes.data, rows, columns, THREADS)

    def norm_backward() -> None:
        native.float32.norm_backward(*at, rows, columns, THREADS)

    return {function.__name__: function for function in (attend, attend_backward, column_sums, norm_backward)}


def fitting() -> dict[str, Callable[[], None]]:
    """The compiled loss and optimiser of fits; both allocate before their threads start."""
    native = compiled.native
    assert native is not None
    picture, sums = array(1, 3, 20, 30), np.zeros((1, 2))
    row = array(2**20)

    def photometric() -> None:
        native.photometric(picture, picture, array(1, 3), None, 0, 1.0, 1.0, sums, np.empty_like(picture), 64)

    def adam() -> None:
        native.adam(row, row, row, row, row, None, (0.9, 0.999), 1.0, 1.0, THREADS)

    return {function.__name__: function for function in (photometric, adam)}


def fails(work: Callable[[], None], slack: int) -> bool:
    """Whether `work` raises MemoryError when `slack` MiB more may be allocated than now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + slack * 2**20, unlimited[1]))
    try:
        work()
    except MemoryError as error:
        assert "not enough memory for these images and Gaussians or tokens" in str(error), error
        return True
    finally:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
    return False


def check_errors() -> None:
    """Every entry point that allocates raises MemoryError where it cannot, and works once it can."""
    torch.set_num_threads(THREADS)
    # The threads are there before memory is short: libgomp itself ends a process where it cannot start one.
    (torch.rand(2**20) + 1).sum()
    for name, work in renderer().items():
        work()
        failed = [slack for slack in SLACKS if fails(work, slack)]
        assert SLACKS[0] in failed, name
        assert name == "project" or SLACKS[1] in failed, name
        assert not fails(work, 4096), name
    for name, work in (transformer() | fitting()).items():
        assert fails(work, SLACKS[0]), name


def resident(kind: str) -> int:
    """Bytes of memory that the process has (VmRSS), or has had at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def check_scene(threads: int = 8) -> None:
    """Both passes of a scene take at most 200 bytes a Gaussian, 40 a pixel and 16 an intersection beside gradients."""
    torch.set_num_threads(threads)
    count, height, width = 400_000, 500, 700
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(count, 3, generator=generator) * 2 - 1
    tensors = {
        "means": places + torch.tensor([0.0, 0.0, 3.0]),
        "scales": 0.004 * torch.randn(count, 3, generator=generator).exp(),
        "quaternions": torch.randn(count, 4, generator=generator),
        "opacities": torch.rand(count, generator=generator),
        "sh": torch.randn(count, 4, 3, generator=generator),
    }
    leaves = {name: each.requires_grad_() for name, each in tensors.items()}
    camera = Camera.pinhole(height, width)
    upstream = torch.ones(3, height, width)

    def work() -> tuple[Rendering, tuple[torch.Tensor, ...]]:
        made = render(Gaussians.of(leaves), camera, "black", depth=False, info=True)
        return made, torch.autograd.grad(made.color, list(leaves.values()), upstream)

    # The first call loads code and starts threads.
    work()
    cpu_support.kernels().free_kept_memory()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    made, _ = work()
    assert made.info is not None
    took = resident("VmHWM") - before - sum(4 * each.numel() for each in leaves.values())
    allowed = 200 * count + 40 * height * width + 16 * made.info.intersections
    # `info` has 20 bytes of each visible Gaussian, and its gradients of means2d 8 of each Gaussian, twice.
    slack = 4 * 2**20 + 36 * count
    assert took < allowed + slack, (took, allowed)


def check_no_memory_for_scenes() -> None:
    """A scene that does not fit raises MemoryError, and is rendered once there is room."""
    torch.set_num_threads(THREADS)
    count = 2**19
    tensors = {
        "means": torch.zeros(count, 3) + torch.tensor([0.0, 0.0, 3.0]),
        "scales": torch.full((count, 3), 0.01),
        "quaternions": torch.ones(count, 4),
        "opacities": torch.full((count,), 0.5),
        "colors": torch.ones(count, 3),
    }
    gaussians, camera = Gaussians.of(tensors), Camera.pinhole(40, 50)
    render(gaussians.select(slice(20_000)), camera)
    (torch.rand(2**20) + 1).sum()

    def work() -> None:
        leaves = gaussians.map(lambda each: each.detach().requires_grad_())
        render(leaves, camera, check=False, depth=False).color.sum().backward()

    assert all(fails(work, slack) for slack in (3, 20, 40, 60))
    assert not fails(work, 4096)


def check_one_image() -> None:
    """Many threads need no more memory for one image than its moments and its bands' splats: 75 MiB a band."""
    work = renderer(threads=32)["backward"]
    # The first call starts the threads, whose stacks and heaps are reserved.
    work()
    assert not fails(work, 512)


if __name__ == "__main__":
    checks = {
        "errors": check_errors,
        "one image": check_one_image,
        "scene": check_scene,
        "no memory for scenes": check_no_memory_for_scenes,
    }
    for name in sys.argv[1:]:
        process = os.fork()
        if not process:
            checks[name]()
            sys.stdout.flush()
            os._exit(0)
        if os.waitpid(process, 0)[1]:
            sys.exit(f"{name}: failed")
    print("ok")
