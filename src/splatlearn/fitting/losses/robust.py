"""Weights of pixels for photographs with passers-by: pixels that stay far from the rendering count less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from splatlearn.core.errors import FormatError
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.losses.residuals import residuals
from splatlearn.rendering.compositing import Background


@dataclass(frozen=True)
class RobustOptions:
    """Options of `RobustWeights`.

    - `scale`: residuals of this many typical ones weigh a quarter.
    - `block`: pixels along a side of the squares over which residuals are averaged, so that single pixels of fine
      detail count in full and things of some size do not. At most a quarter of the picture's shorter side is taken.
    - `quantile`: of a picture's residuals that is typical.
    - `memory`: share of the typical residual that a step keeps of those before.
    - `begin`: the first step whose pixels are weighed; before, all count 1.

    Raises InputError for numbers out of range.
    """

    scale: float = 3.0
    block: int = 9
    quantile: float = 0.5
    memory: float = 0.95
    begin: int = 1

    def __post_init__(self) -> None:
        check_number("scale", self.scale, above=0)
        check_whole("block", self.block, 1)
        check_number("quantile", self.quantile, above=0, below=1)
        check_number("memory", self.memory, least=0, below=1)
        check_whole("begin", self.begin, 1)


class RobustWeights:
    """Weights (1 + (r / (s·t))²)⁻² of residuals r, t being the typical residual of the last steps and s its factor.

    They are those of a Geman-McClure loss with iteratively reweighted least squares, for residuals that are averaged
    over squares, since passers-by cover many pixels. The scale follows the fit, so that coarse first renderings
    leave out nothing, and photographs without passers-by hardly anything.

    Source: Geman and McClure 1987; Sabour et al. 2023 (RobustNeRF), section 4, for the smoothing of residuals over
    neighbourhoods and the running quantile.
    """

    def __init__(self, options: RobustOptions | None = None) -> None:
        self.options = options or RobustOptions()
        self.typical: float | None = None
        """The typical residual, None before the first step."""
        self._seen: list[float] = []

    @torch.no_grad()
    def weigh(
        self,
        number: int,
        images: Float[Tensor, "V 3 H W"],
        targets: Shaped[Tensor, "V C H W"],
        background: Background,
        masks: Float[Tensor, "V H W"] | None,
    ) -> Float[Tensor, "V H W"] | None:
        """Return weights of pixels for step `number`, multiplied by those of `masks`.

        Pixels that are masked out are no part of their neighbours' residuals. Pictures that are not finite keep the
        masks that they have. `commit` takes the residuals over.
        """
        found = residuals(images, targets, background, masks).unsqueeze(1)
        if not bool(found.isfinite().all()):
            return masks
        counts = torch.ones_like(found) if masks is None else (masks > 0).to(found).unsqueeze(1)
        smooth = self._smoothed(found, counts)
        known = smooth[counts > 0]
        if not len(known):
            return masks
        # Sorting, because `torch.quantile` refuses large pictures.
        here = float(known.sort().values[int(self.options.quantile * (len(known) - 1))])
        self._seen.append(here)
        typical = here if self.typical is None else self.typical
        if number < self.options.begin:
            return masks
        scale = max(self.options.scale * typical, torch.finfo(smooth.dtype).eps)
        weights = (1.0 + (smooth / scale).square()).square().reciprocal().squeeze(1)
        return weights if masks is None else weights * masks

    def commit(self) -> None:
        """Remember the residuals of a step that was made."""
        if self._seen:
            here = sum(self._seen) / len(self._seen)
            memory = self.options.memory
            self.typical = here if self.typical is None else memory * self.typical + (1.0 - memory) * here
        self.drop()

    def drop(self) -> None:
        """Forget the residuals of a step that is made again or not at all."""
        self._seen = []

    def _smoothed(self, values: Float[Tensor, "V 1 H W"], counts: Float[Tensor, "V 1 H W"]) -> Tensor:
        """Means over squares around each pixel, of the pixels that count."""
        side = max(1, min(self.options.block, min(values.shape[-2:]) // 4)) // 2 * 2 + 1

        def mean(each: Tensor) -> Tensor:
            return F.avg_pool2d(each, side, stride=1, padding=side // 2)

        return mean(values * counts) / mean(counts).clamp_min(1e-6)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the typical residual, as it is after the last step."""
        return {} if self.typical is None else {"typical": torch.tensor(self.typical, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names."""
        if not set(state) <= {"typical"}:
            raise FormatError(f"state: expected typical, got {', '.join(sorted(state))}")
        self.typical = float(state["typical"]) if "typical" in state else None
        self.drop()
