"""Smooth convexes: the hull of a few points, with edges as soft as they need to be (3DCS, Held et al. 2025)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.core.gaussians import CONVEX, CONVEX_NUMBERS
from splatlearn.rendering.backends.torch.primitives.gaussian import clamped
from splatlearn.rendering.backends.torch.primitives.hull import Hull, hull_of
from splatlearn.rendering.backends.torch.primitives.primitive import Alpha, Gradients, Packed, Placed, Primitive
from splatlearn.rendering.formula import ALPHA_MIN, EPS2D, JACOBIAN_LIMIT, THINNEST

FEWEST_POINTS, MOST_POINTS = 3, 8
"""Numbers of points that a convex may have."""
USUAL_POINTS = 6
"""Points of a convex unless another number is chosen."""
RADIUS, SMOOTHNESS, SHARPNESS = 1.5, 4.0, 3.0
"""Radius, in standard deviations, and numbers of a convex that shows about what its Gaussian shows."""
FITTED = 1e3
"""The largest smoothness and sharpness that a fit may reach; the smallest ones are the inverse."""
AHEAD = 0.05
"""Depth of a point, in depths of the centre, up to which a convex is not drawn: it may reach behind the camera."""
EDGE = 5
"""Index of the first edge among the packed parameters, after the conic, smoothness and sharpness."""
LEAST = -80.0
"""Lower clamp of exponents: what underflows takes vector units ten times as long."""
FAR = 1e15
"""Distance in px inside of an edge that is none, for convexes with fewer edges than points."""


def convex_shapes(points: int = USUAL_POINTS, *, flat: bool = False) -> tuple[float, ...]:
    """Return the `shapes` of a round convex: smoothness, sharpness, and the coordinates of points around the centre.

    - `points`: their number; they lie on a sphere (Fibonacci's), or on a circle in the plane of the first two axes if
      `flat`.
    """
    index = torch.arange(points, dtype=torch.float64)
    turn = 2.0 * torch.pi / points if flat else torch.pi * (3.0 - 5.0**0.5)
    height = torch.zeros_like(index) if flat else 1.0 - (2.0 * index + 1.0) / points
    across = (1.0 - height.square()).sqrt()
    places = torch.stack([across * (turn * index).cos(), across * (turn * index).sin(), height], dim=-1)
    return (SMOOTHNESS, SHARPNESS, *(RADIUS * places).flatten().tolist())


class Convex(Primitive):
    """The convex hull of P points on the image, with a smooth edge.

    With the hull's n edges, their outward unit normals n_j and the signed distances L_j(p) = n_j·(p − v_j) of a pixel
    from their lines, px, α is

        φ(p) = 1/δ' · log Σ_j exp(δ' L_j(p)),        α = opacity / (1 + exp(σ' φ(p)))

    (equations 2 to 4 of the paper). δ, the smoothness, rounds corners; σ, the sharpness, is the steepness of edges. For
    δ and σ → ∞ this is the polygon. Both count in sizes s of the Gaussian, the root of its mean squared scale, and are
    scaled by the depth z of its centre: δ' = δ·z/(f s) and σ' = σ·z/(f s), so that neither distance nor resolution
    changes what is blurred. `shapes` are δ, σ, and the points in the Gaussian's axes, in its scales.

    The published code leaves 1/δ out and multiplies L_j by the length of the edge, so that δ is steepness too, and an
    edge of no length would be everywhere. Which points belong to the hull has no derivative. A convex with a point less
    than AHEAD of its depth away, or of a picture thinner than THINNEST, is not drawn.
    """

    name = CONVEX
    filters = ("point",)
    parameters = ("delta", "sigma", *(f"{axis}{index}" for index in range(USUAL_POINTS) for axis in "xyz"))
    neutral = convex_shapes()
    draws_panoramas = False

    def wanted(self, count: int) -> str | None:
        points, rest = divmod(count - CONVEX_NUMBERS, 3)
        if rest == 0 and FEWEST_POINTS <= points <= MOST_POINTS:
            return None
        return f"delta, sigma and 3 numbers for each of {FEWEST_POINTS} to {MOST_POINTS} points"

    def refusal(self, shapes: Float[Tensor, "*B K S"]) -> str | None:
        smallest = float(shapes[..., :CONVEX_NUMBERS].min()) if shapes.numel() else 1.0
        return None if smallest > 0.0 else f"smoothness and sharpness above 0, got {smallest:.4g}"

    def free(self, shapes: Float[Tensor, "*B K S"]) -> Float[Tensor, "*B K S"]:
        numbers, points = shapes[..., :CONVEX_NUMBERS], shapes[..., CONVEX_NUMBERS:]
        return torch.cat([numbers.clamp(1.0 / FITTED, FITTED).log(), points], dim=-1)

    def bound(self, numbers: Float[Tensor, "*B K S"]) -> Float[Tensor, "*B K S"]:
        logarithms, points = numbers[..., :CONVEX_NUMBERS], numbers[..., CONVEX_NUMBERS:]
        return torch.cat([logarithms.exp().clamp(1.0 / FITTED, FITTED), points], dim=-1)

    def pack(self, placed: Placed) -> Packed:
        shapes = placed.shapes
        assert shapes is not None, "check_primitive sees to it"
        places, is_ahead = _on_image(placed, shapes[..., CONVEX_NUMBERS:].unflatten(-1, (-1, 3)))
        hull = hull_of(places.detach())
        size = (placed.axes.square().sum((-1, -2)) / 3.0).clamp_min(torch.finfo(shapes.dtype).tiny).sqrt()
        radius = size * _pixels_per_unit(placed)
        is_drawn = is_ahead & hull.is_thick(THINNEST) & (radius > THINNEST)
        edges = _edges(places, hull, is_drawn)
        numbers = shapes[..., :CONVEX_NUMBERS] / torch.where(is_drawn, radius, 1.0).unsqueeze(-1)
        packed = torch.cat([_conics(places.detach()), numbers, edges.flatten(-2)], dim=-1)
        return Packed(packed, torch.where(is_drawn, placed.opacities, 0.0))

    def bounds(self, packed: Float[Tensor, "B K P"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K 2"]:
        """Return the box of the polygon between the lines φ = t, since φ is no less than each distance."""
        x, y, offset, is_edge = _unpacked(packed)
        sharpness = packed[..., EDGE - 1]
        level = torch.log((opacities / ALPHA_MIN - 1.0).clamp_min(torch.finfo(packed.dtype).tiny)) / sharpness
        reach = level.clamp_min(0.0).unsqueeze(-1) - offset
        count = is_edge.sum(-1, keepdim=True)
        # The corner of each edge with the next.
        index = torch.arange(x.shape[-1], device=x.device)
        after = torch.where(index + 1 < count, index + 1, 0)
        next_x, next_y, next_reach = (each.gather(-1, after) for each in (x, y, reach))
        turn = x * next_y - y * next_x
        corners = torch.stack([reach * next_y - next_reach * y, next_reach * x - reach * next_x], dim=-1)
        corners = torch.where(is_edge.unsqueeze(-1), corners / turn.unsqueeze(-1), 0.0)
        half = 1.01 * corners.abs().amax(-2) + 0.01
        half = torch.where(half.isfinite().all(-1, keepdim=True), half, torch.inf)
        return torch.where((opacities < ALPHA_MIN).unsqueeze(-1), -torch.inf, half)

    def alpha_off(
        self,
        dx: Float[Tensor, "B K P"],
        dy: Float[Tensor, "B K P"],
        packed: Float[Tensor, "B K N"],
        opacities: Float[Tensor, "B K"],
    ) -> Alpha:
        smoothness, sharpness = (packed[..., i : i + 1] for i in (EDGE - 2, EDGE - 1))
        distances = [
            packed[..., i : i + 1] * dx + packed[..., i + 1 : i + 2] * dy + packed[..., i + 2 : i + 3]
            for i in range(EDGE, packed.shape[-1], 3)
        ]
        largest = torch.stack([each.detach() for each in distances]).amax(0)
        powers = [torch.exp((smoothness * (each - largest)).clamp_min(LEAST)) for each in distances]
        total = torch.stack(powers).sum(0)
        phi = largest + total.log() / smoothness
        falloff = torch.sigmoid(-sharpness * phi)
        made = clamped(dx, dy, torch.zeros_like(phi), falloff, opacities)
        return made._replace(more=(*made.more, phi, *(each / total for each in powers)))

    def alpha_gradients(
        self, packed: Float[Tensor, "B K N"], at: Alpha, alpha_gradient: Float[Tensor, "B K P"]
    ) -> Gradients:
        spread, phi, *weights = at.more
        smoothness, sharpness = (packed[..., i : i + 1] for i in (EDGE - 2, EDGE - 1))
        scaled = alpha_gradient * spread * at.falloff * (1.0 - at.falloff)
        by_phi = -scaled * sharpness
        mean = torch.zeros_like(phi)
        by_edges: list[Tensor] = []
        by_x, by_y = torch.zeros_like(packed[..., 0]), torch.zeros_like(packed[..., 0])
        for weight, i in zip(weights, range(EDGE, packed.shape[-1], 3), strict=True):
            x, y, offset = (packed[..., i + axis : i + axis + 1] for axis in range(3))
            # A distance beside φ: the lines that are none are FAR, with no weight.
            mean = mean + weight * (x * at.dx + y * at.dy + offset - phi)
            each = by_phi * weight
            total = each.sum(-1)
            by_edges += [(each * at.dx).sum(-1), (each * at.dy).sum(-1), total]
            by_x, by_y = by_x - x.squeeze(-1) * total, by_y - y.squeeze(-1) * total
        unused = torch.zeros_like(by_x)
        return (
            torch.stack([by_x, by_y], dim=-1),
            torch.stack(
                [
                    *(unused, unused, unused),
                    (by_phi * mean).sum(-1) / smoothness.squeeze(-1),
                    -(scaled * phi).sum(-1),
                    *by_edges,
                ],
                dim=-1,
            ),
            (alpha_gradient * at.falloff).sum(-1),
        )


class _Edges(NamedTuple):
    x: Tensor
    y: Tensor
    offset: Tensor
    is_edge: Tensor


def _unpacked(packed: Float[Tensor, "B K N"]) -> _Edges:
    """Normals and offsets [B, K, P] of lines, and which of them are edges."""
    x, y, offset = packed[..., EDGE:].unflatten(-1, (-1, 3)).unbind(-1)
    return _Edges(x, y, offset, offset > -0.5 * FAR)


def _on_image(placed: Placed, points: Float[Tensor, "B K P 3"]) -> tuple[Float[Tensor, "B K P 2"], Bool[Tensor, "B K"]]:
    """The points on the image, px from the picture of the centre, and whether all of them are ahead of the camera."""
    model, lens = placed.model, placed.lens
    assert model is not None and lens is not None, "panoramas are refused before"
    shape = points.shape[:-1]
    # Lenses of several views have one axis for K.
    center = [each.unsqueeze(-1).expand(shape).flatten(-2) for each in placed.points]
    moved = [
        own + (points * axis.unsqueeze(-2)).sum(-1).flatten(-2)
        for own, axis in zip(center, placed.axes.unbind(-2), strict=True)
    ]
    depths = model.depth(moved[0], moved[1], moved[2])
    shows = (depths > AHEAD * model.depth(center[0], center[1], center[2])) & model.shows(
        moved[0], moved[1], moved[2], lens
    )
    is_ahead = shows.reshape(shape).all(-1)
    # Those that are not drawn stay where their projection is finite.
    is_safe = is_ahead.unsqueeze(-1).expand(shape).flatten(-2)
    x, y, z = (torch.where(is_safe, each, own) for each, own in zip(moved, center, strict=True))
    pairs = zip(
        model.project_extents(x, y, z, lens), model.project_extents(center[0], center[1], center[2], lens), strict=True
    )
    return torch.stack([(each - own).reshape(shape) for each, own in pairs], dim=-1), is_ahead


def _pixels_per_unit(placed: Placed) -> Float[Tensor, "B K"]:
    """Pixels that a world unit across takes at the depths of the centres."""
    model, lens = placed.model, placed.lens
    assert model is not None and lens is not None
    x, y, z = placed.points
    jacobian = model.jacobian(x, y, z, lens, JACOBIAN_LIMIT)
    return (jacobian[..., 0, 0] * jacobian[..., 1, 1]).abs().sqrt()


def _edges(places: Float[Tensor, "B K P 2"], hull: Hull, is_drawn: Bool[Tensor, "B K"]) -> Float[Tensor, "B K P 3"]:
    """Outward normals and offsets of the hull's edges, the missing ones FAR away."""
    first, second = (_taken(places, each) for each in (hull.order, hull.after))
    is_edge = hull.is_corner & is_drawn.unsqueeze(-1)
    x, y = torch.where(is_edge.unsqueeze(-1), second - first, 1.0).unbind(-1)
    normal = torch.stack([y, -x], dim=-1) / (x * x + y * y).sqrt().unsqueeze(-1)
    offset = -(normal * first).sum(-1, keepdim=True)
    none = places.new_tensor((0.0, 0.0, -FAR))
    return torch.where(is_edge.unsqueeze(-1), torch.cat([normal, offset], dim=-1), none)


def _taken(places: Float[Tensor, "B K P 2"], index: Int64[Tensor, "B K P"]) -> Float[Tensor, "B K P 2"]:
    return places.gather(-2, index.unsqueeze(-1).expand(places.shape))


def _conics(places: Float[Tensor, "B K P 2"]) -> Float[Tensor, "B K 3"]:
    """The inverse of the points' second moments, where splats have their conic; α does not depend on it."""
    x, y = places.unbind(-1)
    xx, yy, xy = (each.mean(-1) for each in (x * x, y * y, x * y))
    determinant = (xx + EPS2D) * (yy + EPS2D) - xy * xy
    return torch.stack([yy + EPS2D, -xy, xx + EPS2D], dim=-1) / determinant.clamp_min(EPS2D**2).unsqueeze(-1)
