"""First points of a run by a plane sweep over its photographs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8

from splatlearn.captures import Photographs
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import evenly_spaced
from splatlearn.fitting.initial.cameras import look_at_point
from splatlearn.fitting.priors.plane_sweep import SweepView, plane_sweep, sweep_points
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.running.photos import reduced

MOST_VIEWS = 40
"""Photographs that are swept, evenly spread."""
SIDE = 160
"""Pixels of their longer side."""
AROUND = (0.3, 4.0)
"""Range of depths where cameras look at a common point, in their median distance from it."""
ELSEWHERE = (0.4, 10.0)
"""Range of depths where they do not, in extents."""


def swept_points(
    photographs: Photographs, cameras: Camera
) -> tuple[Float[np.ndarray, "N 3"], UInt8[np.ndarray, "N 3"]]:
    """Return points [N, 3] on the surfaces that photographs show, in the frame of their cameras, and their colours.

    `cameras` [V]: those of all photographs. Raises InputError where no two photographs agree on anything.
    """
    views = [*_views(photographs)]
    if len(views) < 2:
        raise InputError(f"start: expected at least two photographs for 'planes', got {len(views)}")
    places, colors, _ = sweep_points(views, plane_sweep(views, *depth_range(cameras)))
    if not len(places):
        raise InputError(
            f"start: expected photographs that agree on some depths, got {len(views)} that agree on none; use random"
        )
    return places, colors


def depth_range(cameras: Camera) -> tuple[float, float]:
    """Return the depths, in units of a capture's frame, between which its surfaces are looked for."""
    point = look_at_point(cameras)
    if point is None:
        return ELSEWHERE
    distances = (cameras.centers.detach().cpu().double() - torch.from_numpy(point)).norm(dim=-1)
    distance = float(distances.median())
    return AROUND[0] * distance, AROUND[1] * distance


def _views(photographs: Photographs) -> Iterator[SweepView]:
    chosen = evenly_spaced(len(photographs), MOST_VIEWS)
    photographs.prefetch(chosen)
    for index in chosen:
        try:
            photo = photographs[index]
        except UnreadableImage:
            # The run itself names it.
            continue
        if photo.camera.projection.is_spherical:
            raise InputError("start: expected photographs of pinhole cameras for 'planes', got panoramas")
        camera, colors, opacity = reduced(photo, SIDE)
        yield SweepView(camera, colors, opacity > 0.5)
