"""Sets of Gaussians and steps for tests of strategies; the randomness is passed in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fitting.strategies.oracle import Row
from splatlearn.fitting import GaussianAdam
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.strategies.strategy import Seen, Step
from splatlearn.rendering.scene_function import SceneInfo

RATES = {"means": 1e-3, "log_scales": 5e-3, "quaternions": 1e-3, "logits": 0.05, "sh": 2.5e-3}
SHAPES = {"means": (3,), "log_scales": (3,), "quaternions": (4,), "logits": (), "sh": (1, 3)}
SIZE = (40, 60)


def parameters(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    made = {name: torch.randn(count, *shape, generator=generator) for name, shape in SHAPES.items()}
    made["log_scales"] = -5.0 + 0.8 * made["log_scales"]
    return made


def optimizer(values: dict[str, Tensor]) -> GaussianAdam:
    return GaussianAdam(values, {name: RATES[name] for name in values})


def rows_of(adam: GaussianAdam) -> list[Row]:
    arrays = {name: each.detach().double().numpy() for name, each in adam.parameters.items()}
    return [Row({name: each[index].copy() for name, each in arrays.items()}) for index in range(adam.count)]


def info(ids: Tensor, view_ids: Tensor, grad: Tensor | None = None, absgrad: Tensor | None = None) -> SceneInfo:
    return SceneInfo(ids, view_ids, torch.ones(len(ids)), None, None, None, 0, 0, grad, absgrad)


def seen_once(gradients: list[float], size: tuple[int, int] = SIZE) -> SceneInfo:
    """One view that sees all Gaussians, with gradients of these lengths in normalised device coordinates."""
    lengths = torch.tensor(gradients)
    grad = torch.stack([lengths / (size[1] / 2), torch.zeros_like(lengths)], dim=-1)
    return info(torch.arange(len(lengths)), torch.zeros(len(lengths), dtype=torch.int64), grad, grad)


def step(number: int, **changed: Any) -> Step:
    """A step whose views, `views` of them with `info`, are of one size, unless `seen` says otherwise."""
    values: dict[str, Any] = {"extent": 1.0, "position_rate": 1e-3, "draws": Draws(7, number), "loss": 0.1}
    values["seen"] = (Seen(SIZE, changed.pop("views", 1), changed.pop("info", None)),)
    return Step(number, **(values | changed))


def random_gradients(adam: GaussianAdam, generator: torch.Generator) -> dict[str, np.ndarray]:
    """Set a gradient of every parameter, and return them in float64."""
    found = {}
    for name, each in adam.parameters.items():
        each.grad = torch.randn(each.shape, generator=generator)
        found[name] = each.grad.double().numpy()
    return found


def largest_difference(adam: GaussianAdam, rows: list[Row]) -> dict[str, float]:
    """Of parameters and moments, by name."""
    assert adam.count == len(rows)
    state = adam.state_dict()
    found = {}
    for name, each in adam.parameters.items():
        for kind, ours, theirs in (
            (name, each.detach(), [row.values[name] for row in rows]),
            (f"{name}.exp_avg", state[f"{name}.exp_avg"], [row.first[name] for row in rows]),
            (f"{name}.exp_avg_sq", state[f"{name}.exp_avg_sq"], [row.second[name] for row in rows]),
        ):
            found[kind] = float((ours.double() - torch.from_numpy(np.stack(theirs))).abs().max())
    return found
