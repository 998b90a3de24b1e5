"""LARS: momentum whose step is scaled layer by layer (You et al. 2017, arXiv 1708.03888)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from splatlearn.core.errors import InputError


class LARS(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum, each layer's step in proportion to the norm of its weights.

    - `lr`: the global rate; `trust`: a step's norm over the weights' norm, before momentum and rate.
    - `momentum`, `weight_decay`: as usual; the decay is added to the gradient.

    Biases and other vectors take the plain momentum step without decay, and so do layers whose weights or gradients
    are all zero. Raises InputError for negative numbers. Source: algorithm 1; what vectors take is MAE's recipe.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        for name, value in settings.items():
            if not value >= 0:
                raise InputError(f"{name}: expected a number ≥ 0, got {value}")
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take a step; parameters without a gradient stay. `closure` is evaluated first where it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if parameter.ndim > 1:
            gradient = gradient + group["weight_decay"] * parameter
            weight_norm, gradient_norm = parameter.norm(), gradient.norm()
            usable = (weight_norm > 0) & (gradient_norm > 0)
            gradient = gradient * torch.where(usable, group["trust"] * weight_norm / gradient_norm, 1.0)
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(group["momentum"]).add_(gradient)
        parameter.sub_(group["lr"] * state["momentum"])
