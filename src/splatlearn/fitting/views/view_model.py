"""View models: parameters of single photographs, applied between the scene and the picture that is compared.

A camera's pose may be wrong, the camera may have moved while it exposed, the lens may have been out of focus, and the
exposure may differ from photograph to photograph. Each of these is one subclass of `ViewModel`, and `SceneFit` takes a
tuple of them. A step with V views passes through the models in the order of the tuple, which is that from the scene to
the photograph (poses, motion, focus, colours):

1. `cameras`: the cameras to render, [V] or more. A model may return n cameras for each one, such as the instants of an
   exposure, side by side: camera v becomes the cameras n·v to n·v + n − 1.
2. `gaussians`: the Gaussians that these cameras see, one set [K] for all, or one for each camera [W, K].
3. `picture`: the pictures to compare, made from the rendered pictures [W, 3, H, W']. The model that returned n cameras
   for one also takes their n pictures together here.
4. `penalty`: a term of the loss, such as the total variation of a grid.

Models see the views as `SeenViews`: the rows of the photographs among those that are fitted, and the number of the
step. A model before one that multiplies cameras has one camera a view in `cameras` and n in `picture`; `SeenViews` has
one row for each row of the argument beside it.

The parameters of a model are tensors with one row for each photograph, which `ViewRows` holds and moves, and which go
into a checkpoint by name. A model may also give each Gaussian a number of its own (`own`), which the fit moves and
stores along with the Gaussian's other parameters, so that it follows their edits. Random numbers are functions of the
seed and the step, so that a fit goes on to the bit. To add a model, write a subclass with a `name` of its own and the
methods that it needs.

Letters in shapes: V views of a step, W pictures that are rendered, N photographs of a fit, K Gaussians.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.views.view_rows import Rate, ViewRows


@dataclass(frozen=True, eq=False)
class SeenViews:
    """The views of a step.

    - `ids` [V]: the rows of the photographs, on the CPU.
    - `number`: of the step, from 1; `draws`: the random numbers of this step.
    - `own`: the parameters [K] of the Gaussians, by name, with gradients; those of `ViewModel.own` are among them.
    """

    ids: Int64[Tensor, " V"]
    number: int
    draws: Draws
    own: Mapping[str, Tensor] = field(default_factory=dict)

    def spread(self, count: int) -> SeenViews:
        """The same views for `count` pictures, which are a multiple of them."""
        times = count // len(self.ids)
        return self if times == 1 else replace(self, ids=self.ids.repeat_interleave(times))


class OwnNumber(NamedTuple):
    """A number that each Gaussian of a fit has for a view model: its first value, and Adam's rate."""

    first: float
    rate: Rate


class ViewModel:
    """Parameters of single photographs; this class changes nothing, and has the methods that a subclass overrides.

    - `name`: of the model, by which its tensors are stored.
    - `rows`: the parameters of the model, one row for each of the N photographs.
    - `own`: numbers of single Gaussians, by names that no other parameter of a scene has.
    """

    name: ClassVar[str] = "none"

    def __init__(self, rows: ViewRows, own: Mapping[str, OwnNumber] | None = None) -> None:
        self.rows, self.own = rows, dict(own or {})

    @property
    def count(self) -> int:
        """N, the number of photographs."""
        return self.rows.count

    def cameras(self, seen: SeenViews, cameras: Camera) -> Camera:
        """Return the cameras [W] to render in place of `cameras` [V], with gradients to the parameters."""
        return cameras

    def gaussians(self, seen: SeenViews, cameras: Camera, gaussians: Gaussians) -> Gaussians:
        """Return the Gaussians that `cameras` [W] see, [K] or [W, K], with gradients to the parameters."""
        return gaussians

    def picture(self, seen: SeenViews, color: Float[Tensor, "W C H W2"]) -> Float[Tensor, "V C H W2"]:
        """Return the pictures to compare, made from the rendered ones."""
        return color

    def penalty(self, seen: SeenViews) -> Float[Tensor, ""] | None:
        """Return a term of the step's loss, or None."""
        return None

    def move(self, seen: SeenViews, steps: int) -> None:
        """Move the parameters of the views of a step by their gradients.

        `steps`: after which rates have their last value.
        """
        self.rows.step(seen.ids, seen.number, steps)

    def settle(self, parameters: Mapping[str, Tensor]) -> None:
        """Move what all photographs share to the Gaussians, after a step.

        - `parameters`: of the Gaussians, by name (`scene_parameters`), which are changed in place.
        """

    def to(self, device: torch.device | str) -> None:
        """Move the parameters to a device."""
        self.rows.to(device)

    def state_dict(self) -> dict[str, Tensor]:
        """Return named tensors with which the model goes on; nothing is copied."""
        return self.rows.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names and shapes."""
        self.rows.load_state_dict(state)
