"""Learning rates of a scene's parameters as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.numbers import check_number


@dataclass(frozen=True)
class SceneRates:
    """Adam's step for each kind of parameter; the defaults are those of 3D Gaussian Splatting (Kerbl et al. 2023).

    - `position`, `position_last`: of means in the first and the last step, in extents of the scene.
    - `color`: of harmonics of degree 0; `rest_share`: that of all higher degrees, as a share of it.
    - `opacity`: of logits. The first releases of 3DGS have 0.05, the current one 0.025.
    - `scale`: of logarithms; `rotation`: of a quaternion's numbers.

    Raises InputError for numbers out of range.
    """

    position: float = 1.6e-4
    position_last: float = 1.6e-6
    color: float = 2.5e-3
    rest_share: float = 1 / 20
    opacity: float = 0.05
    scale: float = 5e-3
    rotation: float = 1e-3

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in ("position", "position_last"):
                check_number(each.name, value, above=0)
            else:
                check_number(each.name, value, least=0)

    def position_at(self, number: int, steps: int, extent: float) -> float:
        """The rate of means in step `number` of `steps`, counted from 1: exponential decay, in world units."""
        done = min(1.0, number / steps)
        return extent * math.exp((1.0 - done) * math.log(self.position) + done * math.log(self.position_last))

    def at(self, number: int, steps: int, extent: float, parameters: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """The rates of parameters by name.

        - `number`: of the step, from 1; `steps`: after which means have their last rate.
        - `extent`: of the scene, world units.
        - `parameters`: as of `scene_parameters`. Harmonics have a rate [M, 1]: one for each coefficient.
        """
        rates: dict[str, float | Tensor] = {
            "means": self.position_at(number, steps, extent),
            "log_scales": self.scale,
            "quaternions": self.rotation,
            "logits": self.opacity,
        }
        if "sh" in parameters:
            each = torch.full((parameters["sh"].shape[1], 1), self.color * self.rest_share, dtype=torch.float64)
            each[0] = self.color
            rates["sh"] = each
        else:
            # A colour is C0 times the coefficient of degree 0.
            rates["colors"] = self.color * C0
        return rates
