"""The smoothness of a self-organising grid: Gaussians that are neighbours in a picture become alike.

Letters in shapes: K Gaussians, P pixels of the grid, F numbers of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import FormatError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_whole
from splatlearn.files.grid import grid_order
from splatlearn.files.stored import morton_order
from splatlearn.fitting.terms.term import TermInputs
from splatlearn.fitting.terms.weight import Weight

ROTATION, OPACITY = 10.0, 1.0
"""The published weights of differences of quaternions and opacities."""
REACH, SPREAD = 2, 3.0
"""The published blur with which pixels are compared: 5 × 5, of a standard deviation of 3 pixels."""


class GridSmoothness:
    """Mean Huber loss between a grid of Gaussians and its blur, of rotations and opacities.

    Gaussians are sorted onto the grid by position, colour and scales (`grid_order`) after each `every` steps, and, from
    a Morton curve on, when their number changes. The blur is a constant: pixels move towards their neighbours, not
    these towards them.

    Source: Morgenstern et al. 2024 (Self-Organizing Gaussians), section 4.3.
    """

    needs_depth = False

    def __init__(self, weight: Weight, every: int, name: str = "grid") -> None:
        check_whole("every", every, 1)
        self.weight, self.every, self.name = weight, every, name
        self._order = torch.empty(0, dtype=torch.int64)

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""] | None:
        """Return the weighted mean over pixels; None for a single Gaussian."""
        gaussians = inputs.gaussians
        if gaussians.count < 2:
            return None
        columns = math.ceil(math.sqrt(gaussians.count))
        if len(self._order) != gaussians.count or (inputs.number - 1) % self.every == 0:
            start = self._order
            if len(start) != gaussians.count:
                # From a random order, a sort takes many times as long, and a strategy changes the number often.
                start = torch.from_numpy(morton_order(gaussians.means.detach().float().cpu().numpy()).copy())
            self._order = grid_order(sorted_by(gaussians), columns, start=start).to(gaussians.means.device)
        quaternions = torch.nn.functional.normalize(gaussians.quaternions, dim=-1)
        # A rotation has two quaternions, of which neighbours are to have the nearer ones.
        quaternions = quaternions * torch.where(quaternions[:, :1] < 0, -1.0, 1.0)
        values = torch.cat([quaternions, gaussians.opacities[:, None]], dim=1)[self._order]
        errors = torch.nn.functional.huber_loss(values, _blurred(values.detach(), columns), reduction="none")
        return ROTATION * errors[:, :4].mean() + OPACITY * errors[:, 4].mean()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the order, unless there is none yet."""
        return {"order": self._order} if len(self._order) else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names."""
        if set(state) - {"order"}:
            raise FormatError(f"state: expected the tensor order, got {', '.join(sorted(state))}")
        self._order = state.get("order", self._order[:0])


def sorted_by(gaussians: Gaussians) -> Float[Tensor, "K F"]:
    """The numbers by which Gaussians [K] are sorted: positions, logarithms of scales and colours, of one spread."""
    means = gaussians.means.detach()
    colors = gaussians.colors if gaussians.sh is None else gaussians.sh[:, 0]
    scales = gaussians.scales.detach().clamp_min(torch.finfo(gaussians.scales.dtype).tiny).log()
    parts = [means.sign() * means.abs().log1p(), scales]
    parts += [] if colors is None else [colors.detach()]
    return torch.cat([_of_one_spread(each.float()) for each in parts], dim=1)


def _of_one_spread(values: Float[Tensor, "K C"]) -> Float[Tensor, "K C"]:
    centered = values - values.mean(dim=0)
    return centered / centered.square().mean().sqrt().clamp_min(torch.finfo(values.dtype).tiny)


def _blurred(values: Float[Tensor, "K F"], columns: int) -> Float[Tensor, "K F"]:
    """A grid filled row by row, blurred; pixels beyond the last Gaussian do not count."""
    count, rows = len(values), math.ceil(len(values) / columns)
    both = values.new_zeros(rows * columns, values.shape[1] + 1)
    both[:count, :-1], both[:count, -1] = values, 1.0
    places = torch.arange(-REACH, REACH + 1, device=values.device)
    line = torch.exp(-0.5 * (places / SPREAD).square()).to(values)
    image = both.T.reshape(-1, 1, rows, columns)
    found = torch.nn.functional.conv2d(image, torch.outer(line, line)[None, None], padding=REACH)
    flat = found.reshape(both.shape[1], -1).T[:count]
    return flat[:, :-1] / flat[:, -1:]
