"""Several view models, one after the other, as the fit of a scene takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.rendering import Rendering
from splatlearn.rendering.compositing import Background, background_colors


class ViewModels:
    """The view models of a fit in their order, from the scene to the photograph; with none, nothing is changed.

    Raises InputError for two models of one name, and for models of different numbers of photographs.
    """

    def __init__(self, models: Sequence[ViewModel] = ()) -> None:
        names = [each.name for each in models]
        if len(set(names)) < len(names):
            raise InputError(f"view_models: expected a name for each, got {', '.join(names)}")
        if len(counts := {each.count for each in models}) > 1:
            raise InputError(f"view_models: expected rows for the same photographs, got {sorted(counts)} of them")
        self.models = tuple(models)
        self.own = {name: number for model in models for name, number in model.own.items()}
        """The numbers that models give each Gaussian, by name."""

    def first_numbers(self, like: Float[Tensor, " K"]) -> dict[str, Float[Tensor, " K"]]:
        """Return the first values of the numbers of single Gaussians, of the dtype and device of a tensor."""
        return {name: torch.full_like(like, each.first) for name, each in self.own.items()}

    def own_rates(self, number: int, steps: int) -> dict[str, float]:
        """Return the rates of these numbers in step `number` of `steps`, counted from 1."""
        return {name: each.rate.at(number, steps) for name, each in self.own.items()}

    def views(
        self,
        ids: Int64[Tensor, " V"] | None,
        count: int,
        number: int,
        seed: int,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> SeenViews | None:
        """The `count` views of a step as the models see them; None without models.

        - `parameters`: of the Gaussians, by name.

        Raises InputError for ids that are missing, too few or too many, or no rows of the models.
        """
        if not self.models:
            return None
        if ids is None or len(ids) != count:
            raise InputError(
                f"views: expected the rows of {count} photographs for the view models "
                f"{', '.join(each.name for each in self.models)}, got {'none' if ids is None else len(ids)}"
            )
        rows, most = ids.cpu(), self.models[0].count
        if int(rows.min()) < 0 or int(rows.max()) >= most:
            raise InputError(f"views: expected rows from 0 to {most - 1}, got {int(rows.min())} to {int(rows.max())}")
        return SeenViews(rows, number, Draws(seed, number), parameters or {})

    def seen(self, views: SeenViews | None, cameras: Camera, gaussians: Gaussians) -> tuple[Camera, Gaussians]:
        """Return the cameras [W] to render and the Gaussians that they see."""
        if views is None:
            return cameras, gaussians
        for model in self.models:
            cameras = model.cameras(views.spread(cameras.batch_shape[0]), cameras)
        for model in self.models:
            gaussians = model.gaussians(views.spread(cameras.batch_shape[0]), cameras, gaussians)
        return cameras, gaussians

    def picture(self, views: SeenViews | None, color: Float[Tensor, "W C H W2"]) -> Float[Tensor, "V C H W2"]:
        """Return the pictures to compare, made from the rendered ones."""
        if views is not None:
            for model in self.models:
                color = model.picture(views.spread(len(color)), color)
        return color

    @torch.no_grad()
    def composed(
        self, views: SeenViews, targets: Shaped[Tensor, "V 4 H W2"], background: Background, count: int
    ) -> Float[Tensor, "V 3 H W2"]:
        """Compose transparent targets over the background as the models change it.

        The models change whole pictures, the background of `count` renderings included. Where a target is transparent,
        it shows the same, so that the background tells nothing about the colours of a photograph.
        """
        pixels = targets.float() / 255 if targets.dtype == torch.uint8 else targets
        colors, alpha = pixels[:, :3], pixels[:, 3:]
        plain = background_colors(background, pixels.new_empty(count, 1, 3))
        shown = self.picture(views, plain[..., None, None].expand(-1, -1, *pixels.shape[2:]))
        return alpha * colors + (1.0 - alpha) * shown

    def penalty(self, views: SeenViews | None) -> Float[Tensor, ""] | None:
        """Return the sum of the penalties of the models, or None if none has one."""
        found = [] if views is None else [model.penalty(views) for model in self.models]
        added = [each for each in found if each is not None]
        return sum(added[1:], added[0]) if added else None

    def move(self, views: SeenViews | None, steps: int) -> None:
        """Move the parameters of the models by their gradients."""
        if views is not None:
            for model in self.models:
                model.move(views, steps)

    def settle(self, parameters: Mapping[str, Tensor]) -> None:
        """Move what all photographs share to the parameters of the Gaussians, in place."""
        for model in self.models:
            model.settle(parameters)

    def zero_grad(self) -> None:
        """Remove the gradients of all models."""
        for model in self.models:
            model.rows.zero_grad()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors of the models, each after the name of its model."""
        return {f"{model.name}.{name}": each for model in self.models for name, each in model.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for tensors of other models."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, each in state.items():
            model, _, name = key.partition(".")
            parts.setdefault(model, {})[name] = each
        if set(parts) != {model.name for model in self.models}:
            wanted = ", ".join(sorted(model.name for model in self.models)) or "none"
            raise FormatError(f"state: expected the view models {wanted}, got {', '.join(sorted(parts)) or 'none'}")
        for model in self.models:
            model.load_state_dict(parts[model.name])


def spread_background(background: Background, count: int) -> Background:
    """A background for `count` pictures, of one for each view."""
    if isinstance(background, Tensor) and background.ndim == 2 and len(background) != count:
        return background.repeat_interleave(count // len(background), 0)
    return background


def middle_of_each(rendering: Rendering, cameras: Camera, count: int) -> tuple[Rendering, Camera]:
    """Return the middle one of the pictures of each of `count` views, without `info`, and its camera."""
    times = cameras.batch_shape[0] // count
    if times == 1:
        return rendering, cameras
    chosen = torch.arange(count, device=rendering.color.device) * times + times // 2
    depth = None if rendering.depth is None else rendering.depth[chosen]
    return Rendering(rendering.color[chosen], rendering.alpha[chosen], depth), cameras[
        chosen.to(cameras.viewmats.device)
    ]
