"""Options of a reconstruction: views, pixels and rates of a step, and the number of Gaussians over the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from splatlearn.core.errors import InputError
from splatlearn.runs.recipe import check_range


@dataclass(frozen=True)
class PaceOptions:
    """Views, pixels and rates of a step, and the number of Gaussians over the steps."""

    views_per_step: int = 1
    """Number of photographs in each step, whose gradients are averaged; a step takes as much longer."""
    stride: int = 1
    """After the coarse steps, render every n-th pixel in each direction, from another one in each step: n² times fewer
    pixels, each as in the whole photograph."""
    anneal: float | None = None
    """Share of the steps, at the end, in which all learning rates but those of positions fall to a tenth. Default: fast
    0.1, others 0."""
    budget_exponent: float | Literal["none"] | None = None
    """Let the number of Gaussians follow Turbo-GS's curve with this exponent up to --max-gaussians: below 1 early, at 1
    evenly, above 1 late. Not for the strategy mcmc. none: add those whose gradients are large; convexes, which always
    have a budget, then take 1. Default: fast 0, others none; convexes 1."""
    budget_adapts: bool = False
    """Raise the exponent of the budget while the loss falls faster than before, and lower it when it slows down."""
    color_growth: float = 0.0
    """Share of the edits in which Gaussians are also added where colours are pulled; Turbo-GS has 0.2. For the
    strategies default and absgrad."""
    cross_rays: bool = False
    """With --views-per-step 2 or more: also add Gaussians where rays of two photographs cross in whose windows of
    largest error both are worst, as MVGS does. For the strategies default and absgrad."""
    prune: float = 0.0
    """Share of the Gaussians to remove once no more are added: those that the photographs miss least; Turbo-GS removes
    0.6. For the strategies default and absgrad."""

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_range("a number above 0", lambda value: value > 0, views_per_step=self.views_per_step, stride=self.stride)
        if self.budget_exponent != "none":
            wanted = "none or a number from -10 to 10"
            check_range(wanted, lambda value: -10 <= value <= 10, budget_exponent=self.budget_exponent)
        shares = {"color_growth": self.color_growth, "anneal": self.anneal}
        check_range("a number from 0 to 1", lambda value: 0 <= value <= 1, **shares)
        check_range("a number from 0, below 1", lambda value: 0 <= value < 1, prune=self.prune)
        if self.cross_rays and self.views_per_step < 2:
            raise InputError(f"cross_rays: expected a views_per_step of 2 or more, got {self.views_per_step}")
        if self.budget_adapts and self.budget_exponent == "none":
            raise InputError("budget_adapts: expected a budget_exponent that it changes, got none")
