"""Floaters: Gaussians that hang in space by themselves, or that hardly any view shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.rendering import render
from splatlearn.rendering.scenes import scene_backend

SOLID = 0.05
"""Opacity from which a Gaussian counts as a neighbour."""
NORMAL_MAD = 1.4826
"""Standard deviations of a normal distribution for a median absolute deviation of 1."""
REACH = 3.0
"""Standard deviations of a Gaussian that reach towards its neighbours."""


@dataclass(frozen=True)
class FloaterOptions:
    """What counts as a floater.

    - `neighbours`: whose mean distance is looked at.
    - `deviations`: robust standard deviations of the logarithms of these distances above their median from which a
      Gaussian is alone.
    - `least_weight`: the largest blending weight over all pixels below which a Gaussian contributes nothing that a byte
      shows.

    Raises InputError for numbers out of range.
    """

    neighbours: int = 8
    deviations: float = 4.0
    least_weight: float = 1 / 255

    def __post_init__(self) -> None:
        check_whole("neighbours", self.neighbours, 1)
        check_number("deviations", self.deviations, above=0)
        check_number("least_weight", self.least_weight, least=0, most=1)


@dataclass(frozen=True, eq=False)
class Floaters:
    """Which Gaussians [K] are floaters: `alone` in space, and `unseen` by the cameras that were given."""

    alone: Bool[Tensor, " K"]
    unseen: Bool[Tensor, " K"]

    @property
    def kept(self) -> Bool[Tensor, " K"]:
        """The others; all, if none would be left."""
        kept = ~(self.alone | self.unseen)
        return kept if bool(kept.any()) else torch.ones_like(kept)

    @property
    def count(self) -> int:
        """How many are not kept."""
        return int((~self.kept).sum())


def find_floaters(
    gaussians: Gaussians,
    cameras: Iterable[Camera] = (),
    options: FloaterOptions | None = None,
    filter: str = "point",
) -> Floaters:
    """Find the Gaussians [K] of a scene that hang in space, and those that no camera sees.

    - `cameras`: single ones, of any sizes; without them nothing counts as unseen.
    - `filter`: that the scene was fitted with; see `render`.

    A Gaussian is alone if its mean distance to its solid neighbours is far above that of the others, and its own size
    does not reach half as far: large Gaussians of a background stand apart but touch. `gaussians.select(found.kept)`
    is the scene without them.
    """
    options = options or FloaterOptions()
    with torch.no_grad():
        alone = _alone(gaussians, options)
        weights = largest_weights(gaussians, cameras, filter)
        unseen = torch.zeros_like(alone) if weights is None else weights < options.least_weight
    return Floaters(alone, unseen)


def neighbour_means(
    means: Float[np.ndarray, "K 3"], solid: Bool[np.ndarray, " K"], count: int
) -> Float[np.ndarray, " K"]:
    """Return the mean distance of each point to its `count` nearest solid ones other than itself; inf without any."""
    # Importing SciPy's trees is slow, and few callers need them.
    from scipy.spatial import KDTree

    if int(solid.sum()) < 2:
        return np.full(len(means), np.inf)
    most = min(count + 1, int(solid.sum()))
    distances, found = KDTree(means[solid]).query(means, k=most)
    # A solid point finds itself, at a place among those at distance 0 that nobody knows.
    own = np.flatnonzero(solid)[found] == np.arange(len(means))[:, None]
    own[~own.any(axis=1), -1] = True
    return np.where(own, 0.0, distances).sum(axis=1) / max(1, most - 1)


def largest_weights(
    gaussians: Gaussians, cameras: Iterable[Camera], filter: str = "point"
) -> Float[Tensor, " K"] | None:
    """Return the largest blending weight T·α of each Gaussian [K] over all pixels of the cameras; None without cameras.

    Raises BackendError where no compiled kernel collects weights.
    """
    largest: Tensor | None = None
    for camera in cameras:
        if scene_backend(gaussians, camera, filter=filter) is None:
            raise BackendError(
                f"cameras: expected a compiled renderer that collects weights with the filter {filter!r}, found none "
                f"for {gaussians.means.device.type}; move the Gaussians to the CPU"
            )
        info = render(gaussians, camera, "black", depth=False, check=False, info=("weights",), filter=filter).info
        assert info is not None and info.weight_maxima is not None
        largest = torch.zeros_like(gaussians.opacities) if largest is None else largest
        largest[info.ids] = torch.maximum(largest[info.ids], info.weight_maxima)
    return largest


def _alone(gaussians: Gaussians, options: FloaterOptions) -> Bool[Tensor, " K"]:
    means = gaussians.means.cpu().double().numpy()
    solid = gaussians.opacities.cpu().numpy() >= SOLID
    distances = neighbour_means(means, solid, options.neighbours)
    if not np.isfinite(distances).all():
        return torch.zeros_like(gaussians.opacities, dtype=torch.bool)
    logs = np.log(np.maximum(distances, np.finfo(np.float64).tiny))
    middle = np.median(logs[solid])
    spread = NORMAL_MAD * np.median(np.abs(logs[solid] - middle))
    reach = REACH * gaussians.scales.amax(dim=-1).cpu().double().numpy()
    found = (logs > middle + options.deviations * max(spread, 1e-6)) & (reach < distances / 2)
    return torch.from_numpy(found).to(gaussians.means.device)
