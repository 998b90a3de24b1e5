"""What a step of a fit finds and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.strategies.strategy import Edits, Errors, Seen
from splatlearn.rendering import Rendering


@dataclass(frozen=True)
class StepResult:
    """The result of a step.

    - `loss`: of the pictures, before the step, without the terms and the strategy's regularisers.
    - `edits`: of the strategy.
    - `removed`: the number of Gaussians that were removed since they were not finite.
    - `skipped`: whether nothing was moved since the loss, or a term, was not finite.
    - `terms`: the weighted terms of the loss, by name.
    """

    loss: float
    edits: Edits
    removed: int = 0
    skipped: bool = False
    terms: dict[str, float] = field(default_factory=dict)


class Comparison(NamedTuple):
    """The pictures of a batch beside the photographs, with gradients, and the weighted terms by name.

    `errors`: of the pictures, if the strategy wants them.
    """

    gaussians: Gaussians
    cameras: Camera
    rendering: Rendering
    errors: Errors | None
    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


@dataclass
class Descent:
    """Loss and terms of a step before anything is moved; the gradients are with the parameters.

    - `loss`: the mean over views; `terms`: the weighted terms, by name.
    - `is_finite`: whether all of them are.
    """

    loss: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    is_finite: bool = True

    def add(self, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        """Add the loss and the terms of a batch of views."""
        self.loss += float(loss.detach())
        for name, each in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + float(each.detach())
        self.is_finite &= all(bool(each.isfinite()) for each in (loss, *terms.values()))
