"""Parameters with one row for each photograph, and Adam with a count of steps for each row.

Letters in shapes: N photographs, V views of a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.numbers import check_number, check_whole

BETAS = (0.9, 0.999)
EPS = 1e-15
"""Decay rates and epsilon of Adam, as for Gaussians."""
MOMENTS = ("exp_avg", "exp_avg_sq")
STEPS = "steps"
"""Name of the tensor of the numbers of steps of rows."""


@dataclass(frozen=True)
class Rate:
    """Adam's step as a function of the number of the step.

    - `first`, `last`: in the first and the last step, with exponential decay between them; 0 for both holds the
      parameter.
    - `begin`: the fraction of the steps before which the parameter is held.

    Raises InputError for numbers out of range.
    """

    first: float
    last: float
    begin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("first", "last"):
            check_number(name, getattr(self, name), least=0)
        check_number("begin", self.begin, least=0, most=1)
        if (self.first == 0) != (self.last == 0):
            raise InputError(f"first, last: expected two numbers above 0 or two of 0, got {self.first} and {self.last}")

    def at(self, number: int, steps: int) -> float:
        """The rate in step `number` of `steps`, counted from 1."""
        done = min(1.0, number / steps)
        if self.first == 0 or done < self.begin:
            return 0.0
        return math.exp((1.0 - done) * math.log(self.first) + done * math.log(self.last))


class ViewRows:
    """Tensors [N, *] by name, of which a step moves the rows of the views that it sees, by Adam (arXiv 1412.6980).

    - `parameters`: floating-point tensors with one leading axis N; they are copied.
    - `rates`: the rate of each.

    A row has its own number of steps, by which Adam corrects its moments: a photograph that is seen for the first time
    after a thousand steps moves as one that is seen in the first. Raises InputError for rates of other names, and for
    tensors that do not share N.
    """

    def __init__(self, parameters: Mapping[str, Float[Tensor, "N ..."]], rates: Mapping[str, Rate]) -> None:
        if not parameters or set(parameters) != set(rates):
            raise InputError(f"rates: expected one for each of {_listed(parameters)}, got {_listed(rates)}")
        counts = {name: each.shape[:1] for name, each in parameters.items()}
        if len(set(counts.values())) != 1 or () in counts.values():
            shapes = ", ".join(f"{name} {list(each.shape)}" for name, each in parameters.items())
            raise InputError(f"parameters: expected tensors with one leading axis N, got {shapes}")
        self.rates = dict(rates)
        self.parameters = {name: each.detach().clone().requires_grad_() for name, each in parameters.items()}
        self._moments = {
            name: [torch.zeros_like(each.detach()) for _ in MOMENTS] for name, each in self.parameters.items()
        }
        self._steps = torch.zeros(self.count, dtype=torch.int64)

    @property
    def count(self) -> int:
        """N, the number of photographs."""
        return next(iter(self.parameters.values())).shape[0]

    def __getitem__(self, name: str) -> Float[Tensor, "N ..."]:
        """The parameter of a name, with gradients."""
        return self.parameters[name]

    def of(self, name: str, ids: Int64[Tensor, " V"]) -> Float[Tensor, "V ..."]:
        """The rows of some photographs, with gradients to the parameter."""
        parameter = self.parameters[name]
        return parameter[ids.to(parameter.device)]

    @torch.no_grad()
    def step(self, ids: Int64[Tensor, " V"], number: int, steps: int) -> None:
        """Move the rows of the views of step `number` of `steps`, and remove all gradients."""
        check_whole("number", number, 1)
        rows = ids.unique()
        self._steps[rows] += 1
        for name, parameter in self.parameters.items():
            gradient, rate = parameter.grad, self.rates[name].at(number, steps)
            parameter.grad = None
            if gradient is None:
                continue
            here = rows.to(parameter.device)
            done = self._steps[rows].to(parameter).reshape(-1, *(1,) * (parameter.ndim - 1))
            first, second = self._moments[name]
            first[here] = BETAS[0] * first[here] + (1 - BETAS[0]) * gradient[here]
            second[here] = BETAS[1] * second[here] + (1 - BETAS[1]) * gradient[here].square()
            size = (second[here] / (1 - BETAS[1] ** done)).sqrt() + EPS
            parameter[here] -= rate * first[here] / (1 - BETAS[0] ** done) / size

    def zero_grad(self) -> None:
        """Remove all gradients."""
        for each in self.parameters.values():
            each.grad = None

    def to(self, device: torch.device | str) -> None:
        """Move parameters and moments to a device."""
        self.parameters = {name: each.detach().to(device).requires_grad_() for name, each in self.parameters.items()}
        self._moments = {name: [each.to(device) for each in pair] for name, pair in self._moments.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return NAME, NAME.exp_avg and NAME.exp_avg_sq of each parameter, and steps [N]; nothing is copied."""
        found: dict[str, Tensor] = {STEPS: self._steps}
        for name, each in self.parameters.items():
            found[name] = each.detach()
            found.update({f"{name}.{kind}": of for kind, of in zip(MOMENTS, self._moments[name], strict=True)})
        return found

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; the tensors are copied.

        Raises FormatError for missing and unknown names, and for other shapes.
        """
        wanted = self.state_dict()
        if set(state) != set(wanted):
            raise FormatError(f"state: expected the tensors {_listed(wanted)}, got {_listed(state)}")
        for name, each in state.items():
            if each.shape != wanted[name].shape:
                raise FormatError(f"state: expected {name} {list(wanted[name].shape)}, got {list(each.shape)}")
        with torch.no_grad():
            for name, each in wanted.items():
                each.copy_(state[name])


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
