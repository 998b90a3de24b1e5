"""Plane sweeps over the photographs of a run: first points, and depth maps that supervise it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8

from splatlearn.captures.photographs import Photo, Photographs
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import evenly_spaced
from splatlearn.fitting.initial.cameras import look_at_point
from splatlearn.fitting.priors.plane_sweep import SweepView, plane_sweep, sweep_points
from splatlearn.fitting.priors.prior import PriorMap
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.running.photos import reduced

MOST_VIEWS = 40
"""Photographs that are swept for first points, evenly spread."""
MOST_MAPS = 120
"""Photographs that are swept for depth maps, evenly spread."""
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
    views = [*sweep_views(photographs, MOST_VIEWS, "start").values()]
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


class SweptPrior:
    """The depth maps of a plane sweep as a prior of the photographs that were swept, in the frame of their cameras.

    Raises InputError where no two photographs agree on anything.
    """

    def __init__(self, photographs: Photographs, cameras: Camera) -> None:
        views = sweep_views(photographs, MOST_MAPS, "depth_prior")
        found = plane_sweep([*views.values()], *depth_range(cameras))
        self._maps = dict(zip(views, found, strict=True))
        if not any(bool(each.depth.any()) for each in found):
            raise InputError(
                f"depth_prior: expected photographs that agree on some depths, got {len(views)} that agree on none"
            )

    def __call__(self, photo: Photo) -> PriorMap | None:
        """Return the map of a photograph, each pixel that of the nearest one of the sweep."""
        if (found := self._maps.get(photo.name)) is None:
            return None
        size = (photo.camera.height, photo.camera.width)
        both = torch.stack([found.depth, found.confidence])[None]
        depth, confidence = torch.nn.functional.interpolate(both, size, mode="nearest-exact")[0]
        return PriorMap(depth, "depth", confidence, is_scaled=True)


def sweep_views(photographs: Photographs, most: int, option: str) -> dict[str, SweepView]:
    """Return at most `most` of the readable photographs, evenly spread and scaled down, by their names.

    - `option`: that errors name.

    Raises InputError for panoramas, and for fewer than two photographs.
    """
    found: dict[str, SweepView] = {}
    chosen = evenly_spaced(len(photographs), most)
    photographs.prefetch(chosen)
    for index in chosen:
        try:
            photo = photographs[index]
        except UnreadableImage:
            # The run itself names it.
            continue
        if photo.camera.projection.is_spherical:
            raise InputError(f"{option}: expected photographs of pinhole cameras for a plane sweep, got panoramas")
        camera, colors, opacity = reduced(photo, SIDE)
        found[photo.name] = SweepView(camera, colors, opacity > 0.5)
    if len(found) < 2:
        raise InputError(f"{option}: expected at least two photographs for a plane sweep, got {len(found)}")
    return found
