"""Parts of a batch side by side on a CPU's cores, each with its own forward and backward pass.

All cores on one small product wait for one another, and so they do at everything between the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")
Pass = Callable[[], tuple[Tensor, Result]]
"""A forward pass: a scalar to differentiate, and what else came of it."""

LEAST_PATCHES = 1024
"""Patches of a part's images: with fewer, adding up the parts' gradients takes what they save."""
MOST_BYTES = 2**31
"""Largest size of the gradients of all parts together, in bytes."""


def parts_worth_it(images: int, patches: int, parameters: Iterable[nn.Parameter]) -> int:
    """Number of equal parts to cut a batch into: the most that PyTorch's threads can share, or 1.

    - `images`: of the batch; `patches`: of an image.
    """
    threads = torch.get_num_threads()
    size = sum(each.numel() * each.element_size() for each in parameters)

    def fits(parts: int) -> bool:
        whole = threads % parts == 0 and images % parts == 0
        return whole and images // parts * patches >= LEAST_PATCHES and parts * size <= MOST_BYTES

    return next((parts for parts in range(min(threads, images), 1, -1) if fits(parts)), 1)


class SideBySide:
    """Threads that run passes at the same time, and share PyTorch's threads between them while they do.

    Gradients are added up in the order of the passes, whichever ends first: the same passes give the same bits.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(thread_name_prefix="part", max_workers=torch.get_num_threads())

    def __call__(self, passes: Sequence[Pass[Result]], parameters: Sequence[nn.Parameter]) -> list[Result]:
        """Run the passes, add the gradients of their scalars to those of the parameters, return what else came."""
        threads = torch.get_num_threads()
        each = max(1, threads // len(passes))

        def run(forward: Pass[Result]) -> tuple[tuple[Tensor | None, ...], Result]:
            # Of the calling thread, but for MKL's, which all threads share.
            torch.set_num_threads(each)
            loss, result = forward()
            return torch.autograd.grad(loss, parameters, allow_unused=True), result

        try:
            done = list(self._pool.map(run, passes))
        finally:
            torch.set_num_threads(threads)
        for gradients, _ in done:
            _add(parameters, gradients)
        return [result for _, result in done]

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()


def _add(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to those of the parameters."""
    sums, summands = [], []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            sums.append(parameter.grad)
            summands.append(gradient)
    if sums:
        torch._foreach_add_(sums, summands)  # pyright: ignore[reportPrivateImportUsage]
