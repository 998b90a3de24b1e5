"""Surfels by brute force: every ray meets every plane, solved as three linear equations in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices


def surfels(count: int, generator: torch.Generator, spread: float = 0.6, degree: int | None = None) -> Gaussians:
    """Discs of all directions about the origin; the third scale counts for nothing."""

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    seen = {"colors": random(count, 3)} if degree is None else {"sh": 0.3 * (random(count, (degree + 1) ** 2, 3) - 0.5)}
    return Gaussians(
        means=spread * torch.randn(count, 3, generator=generator),
        scales=0.05 + 0.3 * random(count, 3),
        quaternions=torch.randn(count, 4, generator=generator),
        opacities=0.3 + 0.65 * random(count),
        primitive="surfel",
        **seen,
    )


def camera() -> Camera:
    return Camera.look_at((0.5, 0.3, -3.0), (0.0, 0.0, 0.0), 40, 52, 45.0)


def brute_force(gaussians: Gaussians, camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colour over black [3, H, W], transmittance, the sum of depths by weight, and the median depth."""
    gaussians = gaussians.to(torch.float64)
    view = camera.viewmats.double()
    turn = view[:3, :3] @ quaternions_to_matrices(gaussians.quaternions)
    centers = gaussians.means @ view[:3, :3].T + view[:3, 3]
    order = centers[:, 2].argsort()
    colors = gaussians.fixed_colors()
    shape = (camera.height, camera.width)
    color, light = torch.zeros(3, *shape, dtype=torch.float64), torch.ones(shape, dtype=torch.float64)
    summed, median = torch.zeros_like(light), torch.zeros_like(light)
    for row in range(camera.height):
        for column in range(camera.width):
            x, y = column + 0.5, row + 0.5
            ray = torch.tensor([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1.0], dtype=torch.float64)
            # u·a + v·b + c = z·ray
            matrices = torch.stack([turn[..., 0], turn[..., 1], -ray.expand_as(centers)], dim=-1)
            u, v, z = torch.linalg.solve(matrices, -centers).unbind(-1)
            disc = (u / gaussians.scales[:, 0]) ** 2 + (v / gaussians.scales[:, 1]) ** 2
            off_x = camera.fx * centers[:, 0] / centers[:, 2] + camera.cx - x
            off_y = camera.fy * centers[:, 1] / centers[:, 2] + camera.cy - y
            floor = (off_x**2 + off_y**2) / 0.5
            is_disc = (z > 0) & (disc < floor)
            falloff = torch.exp(-0.5 * torch.where(is_disc, disc, floor))
            depths = torch.where(is_disc, z, centers[:, 2])
            left = 1.0
            for i in order.tolist():
                alpha = min(0.999, float(gaussians.opacities[i] * falloff[i]))
                if alpha < 1 / 255 or left < 1e-4:
                    continue
                color[:, row, column] += left * alpha * colors[i]
                summed[row, column] += left * alpha * depths[i]
                if left >= 0.5 > left * (1 - alpha):
                    median[row, column] = depths[i]
                left *= 1 - alpha
            light[row, column] = left
    return color, light, summed, median
