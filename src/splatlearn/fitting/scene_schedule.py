"""The schedule of a scene's fit: learning rates and other choices as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from splatlearn.core.geometry.harmonics import C0, MAX_DEGREE
from splatlearn.core.numbers import check_number, check_whole


@dataclass(frozen=True)
class SceneRates:
    """Adam's step for each kind of parameter; the defaults are those of 3D Gaussian Splatting (Kerbl et al. 2023).

    - `position`, `position_last`: of means in the first and the last step, in extents of the scene.
    - `color`: of harmonics of degree 0; `rest_share`: that of all higher degrees, as a share of it.
    - `opacity`: of logits. The first releases of 3DGS have 0.05, the current one 0.025.
    - `scale`: of logarithms; `rotation`: of a quaternion's numbers.
    - `shape`: of the further numbers of a primitive that has some.

    Raises InputError for numbers out of range.
    """

    position: float = 1.6e-4
    position_last: float = 1.6e-6
    color: float = 2.5e-3
    rest_share: float = 1 / 20
    opacity: float = 0.05
    scale: float = 5e-3
    rotation: float = 1e-3
    shape: float = 5e-3

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
        if "shapes" in parameters:
            rates["shapes"] = self.shape
        if "sh" in parameters:
            each = torch.full((parameters["sh"].shape[1], 1), self.color * self.rest_share, dtype=torch.float64)
            each[0] = self.color
            rates["sh"] = each
        else:
            # A colour is C0 times the coefficient of degree 0.
            rates["colors"] = self.color * C0
        return rates


ANNEALED = 0.1
"""Share of their rates that parameters have at the end of annealing; a longer fit still moves them by as much."""


@dataclass(frozen=True)
class SceneSchedule:
    """The choices of a step as functions of its number; the defaults are those of 3D Gaussian Splatting.

    - `steps`: after which means have their last rate; a fit may go on after them.
    - `rates`: Adam's, see `SceneRates`.
    - `anneal`: share of the steps, at their end, in which the rates of all parameters but means fall evenly to
      `ANNEALED` of their values; 0: they never fall. Otherwise the last photographs would weigh more than the others.
    - `degree`, `degree_every`: the degree of harmonics rises by one after each `degree_every` steps up to `degree`.
      Harmonics of a start with a higher degree keep it.
    - `ssim_weight`: λ of the loss (1 − λ)·L1 + λ·(1 − SSIM).
    - `selective`: do not move Gaussians that no picture of a step sees (see `GaussianAdam`).
    - `backend`: see `splatlearn.rendering`.
    - `seed`: of all random numbers, in [0, 2**64).

    Raises InputError for numbers out of range.
    """

    steps: int = 30_000
    rates: SceneRates = field(default_factory=SceneRates)
    anneal: float = 0.0
    degree: int = 3
    degree_every: int = 1_000
    ssim_weight: float = 0.2
    selective: bool = False
    backend: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)
        check_number("anneal", self.anneal, least=0, most=1)
        check_whole("degree", self.degree, 0, MAX_DEGREE)
        check_whole("degree_every", self.degree_every, 1)
        check_number("ssim_weight", self.ssim_weight, least=0, most=1)
        check_whole("seed", self.seed, 0, 2**64 - 1)

    def rates_at(self, number: int, extent: float, parameters: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """The rates of parameters in step `number`, from 1, annealed; see `SceneRates.at`."""
        rates = self.rates.at(number, self.steps, extent, parameters)
        left = (self.steps - number) / (self.anneal * self.steps) if self.anneal else 1.0
        if left >= 1.0:
            return rates
        share = ANNEALED + (1.0 - ANNEALED) * max(0.0, left)
        return {name: rate if name == "means" else share * rate for name, rate in rates.items()}
