"""Checks that need a process of their own: forked workers, and tracing, which cannot see through run-time shape checks.

Run as a script with the names of checks; it prints "ok" when they have passed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch.autograd import forward_ad
from torch.utils.data import DataLoader, Dataset

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import render

NAMES = ("means", "scales", "quaternions", "colors", "opacities")


def gaussians_of(*tensors: torch.Tensor) -> Gaussians:
    return Gaussians(**dict(zip(NAMES, tensors, strict=True)))


def some_gaussians(seed: int, count: int = 30) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(4, count, *shape, generator=generator)

    return gaussians_of(uniform(3) * 2 - 1, uniform(3) + 0.1, uniform(4) - 0.5, uniform(3), uniform())


class Pictures(Dataset):
    """A data set that renders, where its workers do."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return render(some_gaussians(index), Camera.gmae(40, 40), backend="cpu").color


def check_workers() -> None:
    """Workers forked after their parent rendered on two threads render the same pictures, and the parent goes on."""
    torch.set_num_threads(2)
    pictures = Pictures()
    before = [pictures[index] for index in range(6)]
    for _ in range(2):
        loader = DataLoader(pictures, batch_size=None, num_workers=2, multiprocessing_context="fork")
        assert all(torch.equal(one, other) for one, other in zip(before, loader, strict=True))
        assert torch.equal(pictures[0], before[0])


def check_compile(backend: str = "cpu", count: int = 30) -> None:
    """A compiled function with `render` in it is one graph and has the same values and gradients."""
    gaussians, camera = some_gaussians(0, count), Camera.gmae(24, 20)

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        rendering = render(gaussians_of(*tensors), camera, backend=backend)
        assert rendering.depth is not None
        return rendering.color.square().sum() + rendering.alpha.sum() + rendering.depth.sum()

    def values(function: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        inputs = [getattr(gaussians, name).clone().requires_grad_() for name in NAMES]
        value = function(*inputs)
        return [value.detach(), *torch.autograd.grad(value, inputs)]

    traced = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for plain, compiled in zip(values(loss), values(traced), strict=True):
        # Gradients of mean depths are rounded in another order, by parts in a million of the largest.
        torch.testing.assert_close(compiled, plain, atol=3e-6 * max(1.0, float(plain.abs().max())), rtol=1e-5)


def check_compile_triton() -> None:
    """The same through the GPU kernels, which the environment may have interpreted: few Gaussians."""
    check_compile("triton", 2)


def check_transforms() -> None:
    """Forward-mode derivatives through a compiled function, and in one, are those of the function as it stands."""
    made, camera = some_gaussians(0, 6), Camera.gmae(8, 9)
    tensors = [getattr(made, name) for name in NAMES]
    along = [torch.randn(each.shape, generator=torch.Generator().manual_seed(1)) for each in tensors]

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        return render(gaussians_of(*tensors), camera).color.square().sum()

    def tangent(function: Callable[..., torch.Tensor]) -> torch.Tensor:
        with forward_ad.dual_level():
            result = function(*(forward_ad.make_dual(*pair) for pair in zip(tensors, along, strict=True)))
            change = forward_ad.unpack_dual(result).tangent
        assert change is not None
        return change

    def slope(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(loss, tensors, tuple(along))[1]

    wanted, traced = tangent(loss), torch.compile(loss, backend="aot_eager")
    # Without tangents first: what was traced then has none.
    torch.testing.assert_close(traced(*tensors), loss(*tensors))
    torch.testing.assert_close(tangent(traced), wanted, rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.compile(slope, backend="aot_eager")(*tensors), wanted, rtol=1e-4, atol=0)


CHECKS = {
    "workers": check_workers,
    "compile": check_compile,
    "compile triton": check_compile_triton,
    "transforms": check_transforms,
}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        torch.compiler.reset()
        CHECKS[name]()
    print("ok")
