"""Adam over the parameters of Gaussians, one row each, with a state that follows their edits.

Letters in shapes: K Gaussians, N of them after an edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from splatlearn.core.checks import check_floating, check_shape
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.optimizers.adam_step import Rows, Rule, adam_step, seen_rows

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names of the state's tensors, as in PyTorch's Adam."""


class GaussianAdam:
    """Adam (arXiv 1412.6980) over named tensors [K, *], such as means, scales, quaternions, opacities and sh.

    - `parameters`: floating-point leaves of the autograd graph with one leading axis K; they are made to require
      gradients. `self.parameters` holds them, and other tensors after an edit.
    - `rates`: the learning rate of each, a number or a tensor that fits a row (for sh [K, M, 3] one of [M, 1] gives
      each degree its own). `self.rates` may be changed between steps.
    - `betas`, `eps`: as in `torch.optim.Adam`; 3D Gaussian Splatting has an `eps` of 1e-15.
    - `selective`: skip the Gaussians whose gradients are all 0, such as those that no camera of the step sees. Their
      parameters and moments stay, where Adam would move them on and let their moments decay: another result in less
      time (Mallick et al. 2024, Taming 3DGS). Biases are corrected by the number of steps, not of a row's own.

    Without `selective` a step is that of `torch.optim.Adam` without weight decay. float32 tensors on a CPU are moved by
    one compiled pass over parameters, gradients and moments, with the same bits for any number of threads. It takes
    denormal numbers for 0, so that a squared gradient below 1.2e-38 counts as 0 and moments that decay end in 0. Other
    tensors are moved by PyTorch. Raises InputError for rates of other names, tensors that do not share K or are no
    leaves, and numbers out of range.
    """

    def __init__(
        self,
        parameters: Mapping[str, Float[Tensor, "K ..."]],
        rates: Mapping[str, float | Tensor],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-15,
        selective: bool = False,
    ) -> None:
        for name, value in zip(("betas[0]", "betas[1]"), betas, strict=True):
            check_number(name, value, least=0, below=1)
        check_number("eps", eps, least=0)
        if not parameters or set(rates) != set(parameters):
            raise InputError(f"rates: expected one for each of {_listed(parameters)}, got {_listed(rates)}")
        self.rates = dict(rates)
        self.betas, self.eps, self.selective = (float(betas[0]), float(betas[1])), float(eps), selective
        self.parameters: dict[str, Tensor] = {}
        self._replace(parameters)
        self._steps = dict.fromkeys(parameters, 0)
        self._moments = {name: _no_moments(each) for name, each in self.parameters.items()}

    @property
    def count(self) -> int:
        """K, the number of Gaussians."""
        return next(iter(self.parameters.values())).shape[0]

    def step(self, visible: Bool[Tensor, " K"] | None = None) -> None:
        """Move the parameters that have a gradient.

        `visible`: the Gaussians to move; the others are skipped as by `selective`, which this takes the place of.
        Raises InputError for a mask of another shape and for negative rates.
        """
        moved = {name: each for name, each in self.parameters.items() if each.grad is not None}
        for name in moved:
            _check_rate(name, self.rates[name], self.parameters[name])
        gradients = [each.grad for each in moved.values() if each.grad is not None]
        if visible is not None:
            _check_rows("visible", visible, torch.bool, self.count)
            visible = visible.to(self._device)
        elif self.selective:
            visible = seen_rows(gradients, self.count, self._device)
        for (name, parameter), gradient in zip(moved.items(), gradients, strict=True):
            self._steps[name] += 1
            rule = Rule(self.rates[name], self.betas, self.eps, self._steps[name])
            adam_step(Rows(parameter, gradient, *self._moments[name]), rule, visible)

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters."""
        for each in self.parameters.values():
            each.grad = None

    def gather(self, index: Shaped[Tensor, " N"], fresh: Bool[Tensor, " N"] | None = None) -> None:
        """Select, order and repeat Gaussians: row i becomes the earlier row `index[i]`, with its moments.

        - `index`: rows as int64, or a mask [K] of those that stay.
        - `fresh`: the new rows whose moments begin at 0; none by default.

        `self.parameters` has new tensors without gradients afterwards. Raises InputError for an index out of range.
        """
        rows = self._rows("index", index)
        if fresh is not None:
            _check_rows("fresh", fresh, torch.bool, len(rows))
            fresh = fresh.to(self._device)
        self._replace({name: each.detach()[rows] for name, each in self.parameters.items()})
        for name, moments in self._moments.items():
            self._moments[name] = tuple(each[rows] for each in moments)
            if fresh is not None:
                for each in self._moments[name]:
                    each[fresh] = 0.0

    def append(self, rows: int | Mapping[str, Float[Tensor, "N ..."]]) -> None:
        """Add Gaussians behind the others, with moments of 0: tensors [N, *] by name, or a number of rows of zeros.

        `self.parameters` has new tensors without gradients afterwards. Raises InputError for missing names and for
        other shapes than the parameters'.
        """
        if not isinstance(rows, Mapping):
            check_whole("rows", rows, least=0)
            rows = {name: each.new_zeros(rows, *each.shape[1:]) for name, each in self.parameters.items()}
        if set(rows) != set(self.parameters):
            raise InputError(f"rows: expected tensors for {_listed(self.parameters)}, got {_listed(rows)}")
        count = next(iter(rows.values())).shape[0]
        for name, each in rows.items():
            check_shape(name, each, (count, *self.parameters[name].shape[1:]))
        more = {name: rows[name].detach().to(each) for name, each in self.parameters.items()}
        for name, moments in self._moments.items():
            self._moments[name] = tuple(torch.cat([each, torch.zeros_like(more[name])]) for each in moments)
        self._replace({name: torch.cat([each.detach(), more[name]]) for name, each in self.parameters.items()})

    def widen(self, name: str, columns: int) -> None:
        """Fill a parameter [K, M, *] and its moments up with zeros to [K, columns, *], for a next degree of harmonics.

        `self.parameters` has a new tensor without a gradient afterwards. Raises InputError for an unknown name, and for
        fewer columns than the parameter has.
        """
        if name not in self.parameters:
            raise InputError(f"name: expected one of {_listed(self.parameters)}, got {name!r}")
        before = self.parameters[name].detach()
        if before.ndim < 2 or columns < before.shape[1]:
            raise InputError(f"columns: expected at least those of {name} {list(before.shape)}, got {columns}")

        def wider(each: Tensor) -> Tensor:
            more = each.new_zeros(each.shape[0], columns - each.shape[1], *each.shape[2:])
            return torch.cat([each, more], dim=1)

        self._replace({**{key: each.detach() for key, each in self.parameters.items()}, name: wider(before)})
        self._moments[name] = tuple(wider(each) for each in self._moments[name])

    def reset(self, index: Shaped[Tensor, " N"] | None = None, names: Iterable[str] | None = None) -> None:
        """Set moments to 0, as after parameters were overwritten: of rows (`index` as in `gather`) of named parameters.

        All rows and all names by default. Raises InputError for an unknown name and an index out of range.
        """
        rows = slice(None) if index is None else self._rows("index", index)
        for name in self.parameters if names is None else names:
            if name not in self._moments:
                raise InputError(f"names: expected some of {_listed(self.parameters)}, got {name!r}")
            for each in self._moments[name]:
                each[rows] = 0.0

    def moments(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the moments of a parameter: decaying means of its gradient and of the square, without copies."""
        first, second = self._moments[name]
        return first, second

    def state_dict(self) -> dict[str, Tensor]:
        """Return NAME.step, NAME.exp_avg and NAME.exp_avg_sq of each parameter; the moments are not copied.

        With the parameters this is all that a run needs to go on with the same bits; rates belong to its schedule.
        """
        found: dict[str, Tensor] = {}
        for name, moments in self._moments.items():
            found[f"{name}.step"] = torch.tensor(self._steps[name])
            found.update({f"{name}.{kind}": each for kind, each in zip(MOMENTS, moments, strict=True)})
        return found

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; the tensors are copied.

        Raises FormatError for missing and unknown names, and for moments of other shapes than the parameters'.
        """
        wanted = self.state_dict()
        if set(state) != set(wanted):
            raise FormatError(f"state: expected the tensors {_listed(wanted)}, got {_listed(state)}")
        for name, each in state.items():
            if each.shape != wanted[name].shape:
                raise FormatError(
                    f"state: expected {name} of shape {list(wanted[name].shape)}, got {list(each.shape)}; "
                    "load the parameters of the same step first"
                )
        for name, parameter in self.parameters.items():
            self._steps[name] = int(state[f"{name}.step"])
            kept = [state[f"{name}.{kind}"].detach().to(parameter).clone() for kind in MOMENTS]
            self._moments[name] = tuple(each.contiguous() for each in kept)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.parameters.values())).device

    def _replace(self, parameters: Mapping[str, Tensor]) -> None:
        count = next(iter(parameters.values())).shape[:1]
        for name, each in parameters.items():
            check_floating(name, each)
            if not each.ndim or each.shape[:1] != count or not each.is_leaf:
                shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in parameters.items())
                raise InputError(f"{name}: expected leaves of the autograd graph with one leading axis K, got {shapes}")
        self.parameters = {name: each.requires_grad_() for name, each in parameters.items()}

    def _rows(self, name: str, index: Tensor) -> Int64[Tensor, " N"]:
        if index.dtype == torch.bool:
            _check_rows(name, index, torch.bool, self.count)
            return index.to(self._device).nonzero().squeeze(1)
        _check_rows(name, index, torch.int64, None)
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < self.count:
            raise InputError(
                f"{name}: expected rows from 0 to {self.count - 1}, got {int(index.min())} to {int(index.max())}"
            )
        return index.to(self._device)


def _no_moments(parameter: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(parameter.detach(), memory_format=torch.contiguous_format) for _ in MOMENTS)


def _check_rate(name: str, rate: float | Tensor, parameter: Tensor) -> None:
    if not isinstance(rate, Tensor):
        check_number(f"rates[{name!r}]", rate, least=0)
        return
    shape = parameter.shape[1:]
    last = shape[len(shape) - rate.ndim :]
    if rate.ndim > len(shape) or any(size not in (1, each) for size, each in zip(rate.shape, last, strict=True)):
        raise InputError(f"rates[{name!r}]: expected a tensor that fits rows {list(shape)}, got {list(rate.shape)}")


def _check_rows(name: str, value: Tensor, dtype: torch.dtype, count: int | None) -> None:
    if value.dtype != dtype:
        raise InputError(f"{name}: expected {dtype}, got {value.dtype}")
    check_shape(name, value, (count if count is not None else "N",))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
