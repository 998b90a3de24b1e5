"""First Gaussians of a scene from the points of its capture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.initial.sizes import round_gaussians


@dataclass(frozen=True)
class PointOptions:
    """Options of `point_gaussians`; the defaults are those of 3D Gaussian Splatting.

    - `cap`: points beyond this number are left out at random; None: no limit.
    - `opacity`: of each Gaussian; 0.5 for MCMC in gsplat.
    - `scale`: by which distances to neighbours are multiplied; 0.1 for MCMC in gsplat.
    - `nearest`: points within this distance of a camera are dropped, in extents.
    - `seed`: of the choice under a cap.

    Raises InputError for numbers out of range.
    """

    cap: int | None = None
    opacity: float = 0.1
    scale: float = 1.0
    nearest: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.cap is not None:
            check_whole("cap", self.cap, 1)
        check_number("opacity", self.opacity, above=0, most=1)
        check_number("scale", self.scale, above=0)
        check_number("nearest", self.nearest, least=0)


@dataclass(frozen=True, eq=False)
class PointStart:
    """Gaussians made of points, and the numbers of points that were left out.

    - `gaussians` [K]: with `sh` of degree 0, float32; `kept` [K]: the points that they were made of.
    - `not_finite`: points with coordinates that are NaN or infinite.
    - `near_cameras`: points within a hundredth of the extent of a camera, which would fill its picture; a point in its
      centre even makes gradients NaN.
    - `duplicates`: points at the place of an earlier one, which a neighbour at distance 0 would make vanish.
    - `over_cap`: points left out at random.
    """

    gaussians: Gaussians
    kept: Int64[np.ndarray, " K"]
    not_finite: int
    near_cameras: int
    duplicates: int
    over_cap: int


def point_gaussians(
    points: Float[np.ndarray, "N 3"],
    colors: UInt8[np.ndarray, "N 3"],
    centers: Float[Tensor, "V 3"],
    extent: float,
    options: PointOptions | None = None,
) -> PointStart:
    """Make a round Gaussian of each point, as large as the distance to its neighbours.

    - `points` [N, 3]: float64, in the world of the fit. Far from the origin float32 cannot tell neighbours apart, so
      subtract the middle of the capture first.
    - `colors` [N, 3]: of bytes.
    - `centers` [V, 3]: where the cameras stand; `extent`: of the scene, world units, see `camera_extent`.

    Standard deviations are the root of the mean squared distance to three neighbours, among the points that are kept
    (Kerbl et al. 2023), at most the extent. Which points a cap keeps depends on the seed and on their places in the
    list alone. Raises InputError for shapes that do not fit, and where no point is left.
    """
    options = options or PointOptions()
    check_number("extent", extent, above=0)
    if points.ndim != 2 or points.shape[1:] != (3,) or colors.shape != points.shape or colors.dtype != np.uint8:
        raise InputError(
            f"points, colors: expected shapes [N, 3] and colours of bytes, got {list(points.shape)} and "
            f"{list(colors.shape)} of {colors.dtype}"
        )
    places = points.astype(np.float64)
    rows = np.arange(len(places))
    finite = np.isfinite(places).all(axis=1)
    rows = rows[finite]
    far = ~_near(places[rows], centers.detach().cpu().double().numpy(), options.nearest * extent)
    near, rows = len(rows) - int(far.sum()), rows[far]
    first = _first_at_place(places[rows])
    duplicates, rows = len(rows) - len(first), rows[first]
    if not len(rows):
        raise InputError(
            f"points: expected some to make Gaussians of, got {len(places)}, of which {int((~finite).sum())} are not "
            f"finite and {near} lie at a camera; start from random Gaussians"
        )
    left = Draws(options.seed).subset(len(rows), options.cap or len(rows)).numpy()
    over, rows = len(rows) - len(left), rows[left]
    sh = (torch.from_numpy(colors[rows]).float()[:, None] / 255.0 - 0.5) / C0
    return PointStart(
        round_gaussians(places[rows], sh, options.opacity, options.scale, largest=extent),
        kept=rows,
        not_finite=int((~finite).sum()),
        near_cameras=near,
        duplicates=duplicates,
        over_cap=over,
    )


def _near(
    places: Float[np.ndarray, "N 3"], centers: Float[np.ndarray, "V 3"], distance: float
) -> Bool[np.ndarray, " N"]:
    """Whether each point lies within a distance of a camera."""
    # Importing SciPy's trees is slow, and few callers need them.
    from scipy.spatial import KDTree

    if not len(places) or not len(centers):
        return np.zeros(len(places), dtype=bool)
    nearest, _ = KDTree(centers).query(places)
    return nearest <= distance


def _first_at_place(places: Float[np.ndarray, "N 3"]) -> Int64[np.ndarray, " K"]:
    """The index of the first point at each place that float32 tells apart, in ascending order."""
    # −0 and 0 are one place.
    exact = np.ascontiguousarray(places.astype(np.float32) + 0.0)
    _, first = np.unique(exact, axis=0, return_index=True)
    return np.sort(first)
