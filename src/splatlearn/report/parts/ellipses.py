"""Gaussians of an image as ellipses."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from numpy.typing import NDArray


def add_ellipses(axes: Axes, means2d: NDArray[Any], conics: NDArray[Any], **style: Any) -> EllipseCollection:
    """Add the ellipses at one standard deviation of K Gaussians to axes in pixels, the first one lowest.

    - `means2d` [K, 2]: centres in pixels, x then y; `conics` [K, 3]: (a, b, c) of the inverse covariances, px⁻².
    - `style`: keyword arguments of `EllipseCollection`, such as `facecolors`.
    """
    a, b, c = np.asarray(conics, dtype=np.float64).T
    eigenvalues, vectors = np.linalg.eigh(np.stack([np.stack([a, b], -1), np.stack([b, c], -1)], -2))
    diameters = 2 * eigenvalues.clip(1e-12) ** -0.5
    angles = np.degrees(np.arctan2(vectors[:, 1, 0], vectors[:, 0, 0]))
    ellipses = EllipseCollection(
        diameters[:, 0], diameters[:, 1], angles, units="xy", offsets=means2d, offset_transform=axes.transData, **style
    )
    axes.add_collection(ellipses)
    return ellipses
