"""Gaussians for the tests of Adam, and what an optimiser of them holds."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.fitting import GaussianAdam

SHAPES = {"means": (3,), "scales": (3,), "quaternions": (4,), "opacities": (), "sh": (16, 3), "features": (15, 3)}
RATES = {"means": 1.6e-4, "scales": 5e-3, "quaternions": 1e-3, "opacities": 5e-2, "sh": 2.5e-3, "features": 1e-4}


def parameters(generator: torch.Generator, count: int = 37, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {name: torch.randn(count, *shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def set_gradients(adam: GaussianAdam, generator: torch.Generator, size: float = 1.0) -> None:
    for each in adam.parameters.values():
        each.grad = size * torch.randn(each.shape, generator=generator).to(each)


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in tensors.items()}


def snapshot(adam: GaussianAdam) -> dict[str, Tensor]:
    """Parameters and state, copied."""
    return copies({**adam.parameters, **adam.state_dict()})
