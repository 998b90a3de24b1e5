"""One step of Adam on rows of parameters: compiled on a CPU, else in PyTorch.

Letters in shapes: K rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.fitting import compiled


@dataclass(frozen=True, eq=False)
class Rows:
    """Parameters [K, *], their gradients and both moments, all of one shape; the step overwrites all but gradients."""

    parameters: Float[Tensor, "K ..."]
    gradients: Float[Tensor, "K ..."]
    first: Float[Tensor, "K ..."]
    second: Float[Tensor, "K ..."]


@dataclass(frozen=True)
class Rule:
    """Constants of a step, as in `torch.optim.Adam`; `rate` is a number or a tensor that fits a row."""

    rate: float | Tensor
    betas: tuple[float, float]
    eps: float
    step: int
    """Steps including this one, by which the moments' bias is corrected."""

    @property
    def corrections(self) -> tuple[float, float]:
        """What the rate is divided by, and the root of the second moment multiplied by."""
        first, second = self.betas
        return 1.0 - first**self.step, 1.0 / math.sqrt(1.0 - second**self.step)


def adam_step(rows: Rows, rule: Rule, seen: Bool[Tensor, " K"] | None = None) -> None:
    """Move parameters and moments by one step; rows that are not seen stay as they are.

    The compiled step takes denormal numbers for 0 in every thread, PyTorch's does not.
    """
    if compiled.native is None or not _compiled_can_take(rows):
        plain_step(rows, rule, seen)
        return
    if not rows.parameters.numel():
        return
    first_correction, root_scale = rule.corrections
    shape = rows.parameters.shape[1:]
    rate = rule.rate if isinstance(rule.rate, Tensor) else torch.tensor(rule.rate, dtype=torch.float64)
    rates = (rate.detach().double() / first_correction).float().expand(shape).reshape(-1)
    compiled.native.adam(
        _flat(rows.parameters),
        _flat(rows.gradients.contiguous()),
        _flat(rows.first),
        _flat(rows.second),
        compiled.array(rates.contiguous()),
        None if seen is None else compiled.array(seen.contiguous()).view(np.uint8),
        rule.betas,
        root_scale,
        rule.eps,
        torch.get_num_threads(),
    )
    for each in (rows.parameters, rows.first, rows.second):
        torch.autograd.graph.increment_version(each)


@torch.no_grad()
def plain_step(rows: Rows, rule: Rule, seen: Bool[Tensor, " K"] | None = None) -> None:
    """`adam_step` in PyTorch."""
    before = [each.clone() for each in (rows.parameters, rows.first, rows.second)] if seen is not None else []
    first_beta, second_beta = rule.betas
    first_correction, root_scale = rule.corrections
    rows.first.mul_(first_beta).add_(rows.gradients, alpha=1.0 - first_beta)
    rows.second.mul_(second_beta).addcmul_(rows.gradients, rows.gradients, value=1.0 - second_beta)
    change = rows.first / (rows.second.sqrt() * root_scale + rule.eps)
    rate = rule.rate.to(change) if isinstance(rule.rate, Tensor) else rule.rate
    rows.parameters.sub_(change * (rate / first_correction))
    for now, old in zip((rows.parameters, rows.first, rows.second), before, strict=False):
        assert seen is not None
        now.copy_(torch.where(seen.view(-1, *[1] * (now.ndim - 1)), now, old))


def seen_rows(gradients: Iterable[Float[Tensor, "K ..."]], count: int, device: torch.device) -> Bool[Tensor, " K"]:
    """Return which rows have a gradient other than 0 in any of the tensors; NaN is one."""
    seen = torch.zeros(count, dtype=torch.bool, device=device)
    for each in gradients:
        if compiled.native is not None and device.type == "cpu" and each.dtype == torch.float32:
            flags = compiled.array(seen).view(np.uint8)
            compiled.native.mark_seen(_flat(each.contiguous()), flags, torch.get_num_threads())
        else:
            # A second axis, of size 1 for opacities.
            seen |= (each != 0).unsqueeze(1).flatten(1).any(dim=1)
    return seen


def _compiled_can_take(rows: Rows) -> bool:
    return all(
        each.device.type == "cpu" and each.dtype == torch.float32 and (each is rows.gradients or each.is_contiguous())
        for each in vars(rows).values()
    )


def _flat(tensor: Tensor) -> np.ndarray:
    return compiled.array(tensor).reshape(-1)
