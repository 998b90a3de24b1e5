"""Surfels: flat discs in space, met by the rays of pixels (2D Gaussian Splatting, Huang et al. 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import SURFEL
from splatlearn.rendering.backends.torch.primitives.gaussian import clamped, filtered_conics
from splatlearn.rendering.backends.torch.primitives.primitive import Alpha, Gradients, Packed, Placed, Primitive
from splatlearn.rendering.formula import ALPHA_MIN, EDGE_ON, NOWHERE, SURFEL_FLOOR, THINNEST


class Surfel(Primitive):
    """A disc in the plane of a Gaussian's first two axes; the third scale counts for nothing.

    With the axes a and b as long as their scales, the centre c in camera space, and r the point at depth 1 of a pixel,
    the pixel's ray meets the plane at u·a + v·b from the centre, at depth z:

        u = r·(b × c) / r·(a × b),    v = r·(c × a) / r·(a × b),    z = c·(a × b) / r·(a × b)

    On the image, d pixels from the centre's picture, this is u = A·d / (1 + n·d), v = B·d / (1 + n·d) and
    z = c_z / (1 + n·d). A, B and n [2] are what is packed, after the conic of the flat Gaussian. α is

        opacity · exp(−½·min(u² + v², |d|² / SURFEL_FLOOR))

    (equations 8 to 11 of the paper, whose floor has the variance ½ px²). The floor lies at the centre's depth. A disc
    that is seen from its edge, thinner than THINNEST pixels, or whose ray runs along its plane shows its floor alone.
    """

    name = SURFEL
    filters = ("point",)
    draws_panoramas = False

    def pack(self, placed: Placed) -> Packed:
        model, lens = placed.model, placed.lens
        if model is None or lens is None or model.name != "pinhole":
            got = "a panorama" if model is None else model.name
            raise InputError(f"camera: expected pinhole cameras for surfels, which rays meet, got {got}")
        a, b = placed.axes[..., 0], placed.axes[..., 1]
        z = placed.points[2]
        c = torch.stack(placed.points, dim=-1)
        normal = torch.linalg.cross(a, b)
        facing = (normal * c).sum(-1) / z
        long, wide = a.norm(dim=-1), b.norm(dim=-1)
        least = THINNEST * z / lens.fx
        is_drawn = (facing.abs() > EDGE_ON * long * wide) & (long > least) & (wide > least)
        focal = torch.stack([torch.zeros_like(z) + lens.fx, torch.zeros_like(z) + lens.fy], dim=-1)
        scale = 1.0 / (focal * torch.where(is_drawn, facing, 1.0).unsqueeze(-1))
        rows = torch.cat(
            [
                torch.linalg.cross(b, c)[..., :2] * scale,
                torch.linalg.cross(c, a)[..., :2] * scale,
                normal[..., :2] * scale,
            ],
            dim=-1,
        )
        hidden = rows.new_tensor((NOWHERE, 0.0, 0.0, NOWHERE, 0.0, 0.0))
        across, down = (torch.nn.functional.pad(row[..., :2], (0, 1)) for row in placed.on_image)
        conics = filtered_conics((across, down))
        return Packed(torch.cat([conics, torch.where(is_drawn.unsqueeze(-1), rows, hidden)], dim=-1), placed.opacities)

    def bounds(self, packed: Float[Tensor, "B K P"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K 2"]:
        """Return the box around floor and ellipse; it is infinite for a disc that reaches behind the camera."""
        first, second, lean = (packed[..., i : i + 2] for i in (3, 5, 7))
        reach = 2.0 * (torch.log(opacities / ALPHA_MIN) + 1e-3)
        area, of_first, of_second = _across(first, second), _across(first, lean), _across(second, lean)
        determinant = area * area - reach * (of_first * of_first + of_second * of_second)
        is_closed = determinant > 1e-4 * area * area

        def form(i: int, j: int) -> Tensor:
            return first[..., i] * first[..., j] + second[..., i] * second[..., j] - reach * lean[..., i] * lean[..., j]

        xx, xy, yy = form(0, 0), form(0, 1), form(1, 1)
        x, y = lean.unbind(-1)
        middle = (reach / determinant).unsqueeze(-1) * torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1)
        size = reach * (1.0 + (lean * middle).sum(-1)) / determinant
        half = middle.abs() + (size.unsqueeze(-1) * torch.stack([yy, xx], dim=-1)).sqrt()
        half = torch.maximum(1.01 * half, torch.sqrt(reach * SURFEL_FLOOR).unsqueeze(-1)) + 0.01
        half = torch.where((is_closed & half.isfinite().all(-1)).unsqueeze(-1), half, torch.inf)
        return torch.where((opacities < ALPHA_MIN).unsqueeze(-1), -torch.inf, half)

    def alpha_off(
        self,
        dx: Float[Tensor, "B K P"],
        dy: Float[Tensor, "B K P"],
        packed: Float[Tensor, "B K N"],
        opacities: Float[Tensor, "B K"],
    ) -> Alpha:
        first, second, lean = (packed[..., i : i + 1] * dx + packed[..., i + 1 : i + 2] * dy for i in (3, 5, 7))
        lean = 1.0 + lean
        is_ahead = lean > EDGE_ON
        inverse = 1.0 / torch.where(is_ahead, lean, 1.0)
        u, v = first * inverse, second * inverse
        disc, floor = u * u + v * v, (dx * dx + dy * dy) / SURFEL_FLOOR
        is_disc = is_ahead & (disc < floor)
        power = 0.5 * torch.where(is_disc, disc, floor)
        made = clamped(dx, dy, power, torch.exp(-power), opacities)
        return made._replace(more=(*made.more, u, v, torch.where(is_disc, inverse, 1.0), is_disc))

    def depths_at(self, at: Alpha, depths: Float[Tensor, "B K"]) -> Float[Tensor, "B K P"]:
        return depths.unsqueeze(-1) * at.more[3]

    def alpha_gradients(
        self, packed: Float[Tensor, "B K N"], at: Alpha, alpha_gradient: Float[Tensor, "B K P"]
    ) -> Gradients:
        _, u, v, inverse, is_disc = at.more
        by_log = alpha_gradient * at.raw
        of_disc = torch.where(is_disc, by_log, 0.0) * inverse
        of_floor = torch.where(is_disc, 0.0, by_log) / SURFEL_FLOOR
        zero = torch.zeros_like(u)
        by_first, by_second = (torch.where(is_disc, -of_disc * each, zero) for each in (u, v))
        by_lean = 2.0 * of_disc * at.power
        by_rows = (by_first, by_second, by_lean)
        moments = [(each * off).sum(-1) for each in by_rows for off in (at.dx, at.dy)]
        by_center = [
            (of_floor * off).sum(-1)
            - sum(packed[..., 3 + 2 * i + axis] * each.sum(-1) for i, each in enumerate(by_rows))
            for axis, off in enumerate((at.dx, at.dy))
        ]
        unused = torch.zeros_like(packed[..., 0])
        return (
            torch.stack(by_center, dim=-1),
            torch.stack([unused, unused, unused, *moments], dim=-1),
            (alpha_gradient * at.falloff).sum(-1),
        )


def _across(first: Float[Tensor, "B K 2"], second: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K"]:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
