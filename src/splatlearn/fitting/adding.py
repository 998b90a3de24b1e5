"""More Gaussians where a fit is worst."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.initial.images import gaussians_at, origin_depths
from splatlearn.fitting.sampling import draw_sites
from splatlearn.rendering import Rendering

FORWARD = 0.02
"""World units by which an added Gaussian lies in front of what is seen at its place."""
SIGMA = 1.5
"""Standard deviation of an added Gaussian, pixels."""


def new_gaussians(
    rendering: Rendering,
    images: Float[Tensor, "B 3 H W"],
    count: int,
    camera: Camera,
    generator: torch.Generator,
) -> Gaussians:
    """`count` Gaussians at pixels drawn by their squared error, in the images' colours, in front of what is there.

    `rendering` needs a depth map.
    """
    assert rendering.depth is not None
    wrong = (rendering.color.detach() - images).square().sum(dim=1, keepdim=True)
    # One Gaussian covers a few pixels: an average over as many keeps single noisy ones from being chosen.
    wrong = F.avg_pool2d(wrong, 3, stride=1, padding=1, count_include_pad=False).flatten(1)
    sites = draw_sites(wrong + 1e-12, count, generator)
    depth, alpha = rendering.depth.detach().flatten(1), rendering.alpha.detach().flatten(1)
    empty = origin_depths(camera).to(depth)
    depths = torch.where(alpha > 0.05, depth, empty).gather(1, sites) - FORWARD
    return gaussians_at(images, sites, depths, SIGMA, camera)


def join_state(before: torch.optim.Adam, after: torch.optim.Adam, count: int) -> torch.optim.Adam:
    """Give `after` what `before` knows of the Gaussians that it already had; `count` new ones start without moments."""
    for old, new in zip(before.param_groups, after.param_groups, strict=True):
        (value,), (longer,) = old["params"], new["params"]
        state = before.state[value]

        def longer_by(moments: Tensor) -> Tensor:
            return torch.cat([moments, moments.new_zeros(moments.shape[0], count, *moments.shape[2:])], dim=1)

        after.state[longer] = {
            "step": state["step"],
            "exp_avg": longer_by(state["exp_avg"]),
            "exp_avg_sq": longer_by(state["exp_avg_sq"]),
        }
    return after
