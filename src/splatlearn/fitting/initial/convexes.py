"""First convexes: Gaussians become hulls of points around their centres."""

from __future__ import annotations

from dataclasses import replace

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import CONVEX, CONVEX_NUMBERS, GAUSSIAN, Gaussians
from splatlearn.core.numbers import check_whole
from splatlearn.rendering import as_primitive
from splatlearn.rendering.backends.torch.primitives.convex import (
    FEWEST_POINTS,
    MOST_POINTS,
    USUAL_POINTS,
    convex_shapes,
)


def as_convexes(gaussians: Gaussians, points: int = USUAL_POINTS, *, flat: bool = False) -> Gaussians:
    """Return plain Gaussians as convexes that show about the same.

    - `points`: of each convex, 3 to 8.
    - `flat`: put them on a circle in the plane of the first two axes, where all are corners as seen along the third,
      instead of on a sphere.

    Raises InputError for other primitives, and other numbers of points.
    """
    check_whole("points", points, FEWEST_POINTS, MOST_POINTS)
    if gaussians.primitive != GAUSSIAN:
        raise InputError(f"gaussians: expected plain ones to make convexes of, got {gaussians.primitive!r}")
    shapes = gaussians.opacities.new_tensor(convex_shapes(points, flat=flat))
    return replace(
        gaussians, primitive=CONVEX, shapes=shapes.expand(*gaussians.opacities.shape, len(shapes)).contiguous()
    )


def more_of(gaussians: Gaussians, like: Gaussians) -> Gaussians:
    """Return plain Gaussians that face the camera as the primitive of others, convexes with as many points."""
    if like.primitive != CONVEX or like.shapes is None:
        return as_primitive(gaussians, like.primitive)
    return as_convexes(gaussians, (like.shapes.shape[-1] - CONVEX_NUMBERS) // 3, flat=True)
