"""Photographs that are out of focus: Gaussians that a view sees wider than they are.

Letters in shapes: N photographs, V views of a step, W pictures, K Gaussians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.core.numbers import check_number
from splatlearn.fitting.views.view_model import OwnNumber, SeenViews, ViewModel
from splatlearn.fitting.views.view_rows import Rate, ViewRows
from splatlearn.rendering.choice import check_filter
from splatlearn.rendering.formula import EPS2D

BLUR, FOCUS, DEPTH = "log_blur", "log_focus", "depth"
"""Names of the parameters [N]: logarithms of an angle in radians and of a depth in world units, and the depth at which
the focus began, which stays."""
FACTOR, WIDTH = "log_factor", "log_width"
"""Names of a parameter [N] of photographs and of a number of each Gaussian: logarithms of a factor and of world
units."""


@dataclass(frozen=True)
class WidenOptions:
    """How defocus is fitted.

    - `blur`: the first angle of the circle of confusion far from the focus, radians: its standard deviation. It is
      above 0, and so is its gradient.
    - `rate`: first rate of both logarithms; it falls to a hundredth.
    - `filter`: of the renderings; see `render`.

    Raises InputError for numbers out of range.
    """

    blur: float = 1e-2
    rate: float = 5e-2
    filter: str = "point"

    def __post_init__(self) -> None:
        check_number("blur", self.blur, above=0)
        check_number("rate", self.rate, above=0)
        check_filter(self.filter)


class Widen(ViewModel):
    """Defocus of each photograph by a thin lens: two numbers, the size of the blur and the depth that is sharp.

    - `depths` [N]: a depth for each photograph at which its focus begins, world units, such as the median depth of what
      it shows.
    - `options`: see `WidenOptions`.

    A point at depth z has a circle of confusion whose standard deviation is the angle `a·|1/z − 1/z_f|·z_0`:
    z_f is the depth in focus and z_0 that of `depths`, which makes a the angle far from the focus. This is added in
    quadrature to each Gaussian as the camera sees it: scales become √(scales² + s²) for the width s that the angle has
    at its depth, which keeps axes and turns, since s²·I has the eigenvectors of every covariance. Opacities fall as the
    areas grow, so that a Gaussian gives as much light as before. Scenes are sharp as they are rendered without it.

    Source: the defocus of Deblurring 3D Gaussian Splatting (arXiv 2401.00834), with a lens in place of its network,
    whose factors begin where their gradient is 0 and end at 1.1.
    """

    name: ClassVar[str] = "widen"

    def __init__(self, depths: Float[Tensor, " N"], options: WidenOptions | None = None) -> None:
        options = options or WidenOptions()
        _check_depths(depths)
        self.options = options
        start = depths.detach().float()
        rate = Rate(options.rate, options.rate / 100)
        super().__init__(
            ViewRows(
                {BLUR: torch.full_like(start, math.log(options.blur)), FOCUS: start.log(), DEPTH: start},
                {BLUR: rate, FOCUS: rate, DEPTH: Rate(0.0, 0.0)},
            )
        )

    def angles(self, seen: SeenViews, z: Float[Tensor, "W K"]) -> Float[Tensor, "W K"]:
        """Return the standard deviations of circles of confusion at depths, radians, with gradients."""
        blur, focus = (self.rows.of(name, seen.ids).exp()[:, None] for name in (BLUR, FOCUS))
        start = self.rows.of(DEPTH, seen.ids).detach()[:, None]
        return blur * start * (1 / z - 1 / focus).abs()

    def gaussians(self, seen: SeenViews, cameras: Camera, gaussians: Gaussians) -> Gaussians:
        """Return the Gaussians [W, K] as the cameras see them."""
        z = _depths(cameras, gaussians)
        filtered = _filter_variances(cameras, z, self.options.filter)
        return widened(gaussians, z * self.angles(seen, z), cameras.directions(gaussians.means).to(z), filtered)

    def found(self) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """The angle of each photograph's blur far from its focus, radians, and the depth in focus, world units."""
        blur, focus = (self.rows[name].detach().exp() for name in (BLUR, FOCUS))
        return blur * self.rows[DEPTH].detach() / focus, focus


class OwnWidths(ViewModel):
    """Defocus of each photograph by a width of each Gaussian and a factor of each photograph.

    - `depths` [N]: a typical depth for each photograph, world units, at which `options.blur` makes the first width.
    - `options`: see `WidenOptions`.

    A photograph sees a Gaussian with (f·s)²·I added to its covariance: s is the Gaussian's own width, world units, and
    f the photograph's factor, which is 1 at first. No lens is assumed, so it can explain any blur of a place that all
    photographs share up to their factors, and not one that depends on the distance. Scenes are sharp as they are
    rendered without it.

    Source: the per-Gaussian widths of Deblurring 3D Gaussian Splatting (arXiv 2401.00834), as free numbers in place of
    its network, and without its range from 1 to 1.1 times a Gaussian's scales.
    """

    name: ClassVar[str] = "own_widths"

    def __init__(self, depths: Float[Tensor, " N"], options: WidenOptions | None = None) -> None:
        options = options or WidenOptions()
        _check_depths(depths)
        self.options = options
        rate = Rate(options.rate, options.rate / 100)
        first = math.log(options.blur * float(depths.median()))
        super().__init__(
            ViewRows({FACTOR: torch.zeros_like(depths.detach().float())}, {FACTOR: rate}),
            {WIDTH: OwnNumber(first, rate)},
        )

    def gaussians(self, seen: SeenViews, cameras: Camera, gaussians: Gaussians) -> Gaussians:
        """Return the Gaussians [W, K] as the cameras see them."""
        z = _depths(cameras, gaussians)
        widths = (self.rows.of(FACTOR, seen.ids)[:, None] + seen.own[WIDTH]).exp()
        filtered = _filter_variances(cameras, z, self.options.filter)
        return widened(gaussians, widths, cameras.directions(gaussians.means).to(z), filtered)

    def found(self) -> Float[Tensor, " N"]:
        """The factor of each photograph."""
        return self.rows[FACTOR].detach().exp()


def _check_depths(depths: Tensor) -> None:
    if depths.ndim != 1 or not len(depths) or not bool((depths > 0).all() & depths.isfinite().all()):
        raise InputError(f"depths: expected numbers [N] above 0, got {list(depths.shape)}")


def _depths(cameras: Camera, gaussians: Gaussians) -> Float[Tensor, "W K"]:
    """The depths of Gaussians before cameras [W], at least those of their near planes."""
    view = cameras.viewmats.to(gaussians.means)
    places = (gaussians.means @ view[:, :3, :3].mT + view[:, None, :3, 3]).unbind(-1)
    return cameras.projection.depth(*places).clamp_min(cameras.near)


def _filter_variances(cameras: Camera, z: Float[Tensor, "W K"], filter: str) -> Float[Tensor, "W K"]:
    """The variance that the renderer adds to every splat, in the world; the filter "mip" makes up for it."""
    focal = torch.stack([torch.as_tensor(each, dtype=z.dtype) for each in (cameras.fx, cameras.fy)]).mean(0).to(z)
    added = EPS2D if filter == "point" else 0.0
    return added * (z / (focal[:, None] if focal.ndim else focal)).square()


def widened(
    gaussians: Gaussians,
    widths: Float[Tensor, "W K"],
    directions: Float[Tensor, "W K 3"],
    filtered: Float[Tensor, "W K"] | float = 0.0,
) -> Gaussians:
    """Return Gaussians [W, K] whose covariances have s²·I added, and which give as much light as before.

    - `gaussians`: [K] or [W, K]; `widths`: s, world units; `directions`: of view, of any length.
    - `filtered`: a variance that the renderer adds to each picture of a Gaussian, as world units².

    Opacities are multiplied by the ratio of the areas that Gaussians show along the directions of view.
    """
    count = len(widths)
    each = gaussians if gaussians.batch_shape else gaussians.map(lambda one: one.expand(count, *one.shape))
    variances = each.scales.square()
    wide = variances + widths.square().unsqueeze(-1)
    turns = quaternions_to_matrices(each.quaternions)
    along = torch.nn.functional.normalize(directions, dim=-1)
    shares = (turns.mT @ along.unsqueeze(-1)).squeeze(-1).square()
    extra = filtered.unsqueeze(-1) if isinstance(filtered, Tensor) else filtered
    ratio = (_squared_area(variances + extra, shares) / _squared_area(wide + extra, shares)).sqrt()
    return replace(each, scales=wide.sqrt(), opacities=each.opacities * ratio)


def _squared_area(variances: Float[Tensor, "*B 3"], shares: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    """det Σ · dᵀΣ⁻¹d in the axes of a Gaussian: the determinant of its covariance across a direction d."""
    x, y, z = variances.unbind(-1)
    found = (shares * torch.stack([y * z, x * z, x * y], dim=-1)).sum(-1)
    return found.clamp_min(torch.finfo(found.dtype).tiny)
