"""Strategies: objects that edit the Gaussians of a fit after each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.cameras import WHOLE_PICTURE, Camera, PixelGrid
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.rendering.scene_function import SceneInfo

PUBLISHED_STEPS = 30_000
"""Steps of the fits that the options of strategies were published for."""
FIRST_EDIT, BETWEEN = 500, 100
"""Published numbers of steps before the first edit and between two."""


def calendar(steps: int) -> tuple[int, int]:
    """Return the steps before the first edit and between two, for a fit of `steps` steps.

    Both are the published ones from 7,000 and 4,000 steps on, and a fourteenth and a fortieth of shorter fits.
    """
    return min(FIRST_EDIT, round(steps / 14)), max(1, min(BETWEEN, steps // 40))


@dataclass(frozen=True, eq=False)
class Errors:
    """How far the pictures of V views are from their photographs.

    - `cameras` [V]; `values` [V, h, w]: mean absolute differences of colours, weighted as the photographs' pixels are,
      of the pixels on `grid`.
    """

    cameras: Camera
    values: Float[Tensor, "V h w"]
    grid: PixelGrid = WHOLE_PICTURE


@dataclass(frozen=True, eq=False)
class Seen:
    """Views of one size that were rendered together.

    - `size`: height and width of the pictures; `views`: their number.
    - `info`: what `render` collected, filled by the backward pass; None unless the strategy wants it.
    - `errors`: of the pictures; None unless the strategy wants them.
    """

    size: tuple[int, int]
    views: int
    info: SceneInfo | None = None
    errors: Errors | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """The step that was just made, as a strategy sees it.

    - `number`: of the step, from 1.
    - `extent`: of the scene, world units; `position_rate`: Adam's rate of means in this step, world units.
    - `draws`: the random numbers of this step.
    - `seen`: the views of the step, all of them, in groups of one size.
    - `loss`: the mean over all views, before the step.
    """

    number: int
    extent: float
    position_rate: float
    draws: Draws
    seen: tuple[Seen, ...]
    loss: float

    @property
    def views(self) -> int:
        """The number of pictures that the loss is the mean of."""
        return sum(each.views for each in self.seen)


@dataclass(frozen=True)
class Edits:
    """How many Gaussians were cloned, split in two, pruned, relocated and added, and whether opacities were reset."""

    cloned: int = 0
    split: int = 0
    pruned: int = 0
    relocated: int = 0
    added: int = 0
    reset: bool = False


@runtime_checkable
class Strategy(Protocol):
    """Edits the Gaussians of a fit.

    A strategy keeps what it has seen in tensors that `state_dict` returns, and draws its random numbers from
    `Step.draws`, so that a resumed fit repeats its edits.
    """

    def info(self, number: int) -> bool | tuple[str, ...]:
        """Return what `render` is to collect in step `number`, counted from 1."""
        ...

    def wants_errors(self, number: int) -> bool:
        """Return whether it looks at the errors of pictures after step `number`."""
        ...

    @property
    def cap(self) -> int | None:
        """The number of Gaussians that it never exceeds, None for no limit."""
        ...

    def before_backward(self, gaussians: Gaussians, extent: float) -> Float[Tensor, ""] | None:
        """Return what is added to the loss, with gradients to the Gaussians; None for nothing.

        `extent`: of the scene, world units.
        """
        ...

    def after_step(self, optimizer: GaussianAdam, step: Step) -> Edits:
        """Edit the parameters of `optimizer`, which are those of `scene_parameters`, and their moments.

        The parameters still have the gradients of the step.
        """
        ...

    def follow(self, kept: Bool[Tensor, " K"]) -> None:
        """Forget the Gaussians that the fit itself removed."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return what has been seen since the last edit."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names."""
        ...
