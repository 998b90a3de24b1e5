"""Loss terms: objects that take a step's rendering and return a number with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Shaped
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.terms.moments import Moments, depth_moments
from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.fitting.terms.weight import Weight
from splatlearn.rendering import Rendering
from splatlearn.rendering.compositing import Background


@dataclass(frozen=True, eq=False)
class TermInputs:
    """The inputs of a term in a step of V views.

    - `number`: of the step, from 1; `extent`: of the scene, world units.
    - `gaussians` [K] and their `rendering`, with gradients. The rendering has a depth if a term asks for it.
    - `cameras` [V], `targets` [V, 3 or 4, H, W], `masks` [V, H, W] or None, `background`: as `SceneFit.step` has them.
    - `depth`: known depths of the views, None where there are none.
    - `draws`: the random numbers of the step; `backend`, `filter`: of further renderings.
    """

    number: int
    extent: float
    gaussians: Gaussians
    rendering: Rendering
    cameras: Camera
    targets: Shaped[Tensor, "V C H W"]
    masks: Float[Tensor, "V H W"] | None
    background: Background
    depth: DepthTargets | None
    draws: Draws
    backend: str = "auto"
    filter: str = "point"

    @cached_property
    def moments(self) -> Moments:
        """Moments of inverse depths along each ray: one more rendering, made when it is first asked for."""
        return depth_moments(self.gaussians, self.cameras, self.backend, self.filter)


@runtime_checkable
class Term(Protocol):
    """A part of the loss beside the comparison of pictures.

    A term is a function of `TermInputs` and of its own state, which knows nothing of single Gaussians: strategies move
    these about. It draws random numbers from `TermInputs.draws`, so that a resumed fit repeats them.
    """

    @property
    def name(self) -> str:
        """The name in logs and checkpoints, different from those of the fit's other terms."""
        ...

    @property
    def weight(self) -> Weight:
        """By which the fit multiplies it. A term of weight 0 is not computed."""
        ...

    @property
    def needs_depth(self) -> bool:
        """Whether `render` is to make a depth map."""
        ...

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""] | None:
        """Return the term, with gradients to Gaussians or rendering; None where the step has nothing for it."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the term as named tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names."""
        ...


class Stateless:
    """The state of a term that has none."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over nothing; raises FormatError for a state."""
        if state:
            raise FormatError(f"state: expected none of {type(self).__name__}, got {', '.join(sorted(state))}")


def check_terms(terms: Sequence[Term]) -> None:
    """Raise InputError for two terms of one name, and for names that a state could not hold."""
    names = [term.name for term in terms]
    for name in names:
        if not name or "." in name or names.count(name) > 1:
            raise InputError(f"terms: expected different names without a point, got {', '.join(map(repr, names))}")


def active(terms: Sequence[Term], number: int) -> list[tuple[Term, float]]:
    """Return the terms that count in step `number`, and their weights."""
    weighed = ((term, term.weight.at(number)) for term in terms)
    return [(term, weight) for term, weight in weighed if weight]
