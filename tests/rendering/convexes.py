"""Convexes by arithmetic of their own: hulls from all pairs of points, and sums over pixels one by one, in float64."""

from __future__ import annotations

import math
from itertools import permutations

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering.backends.torch.primitives.convex import convex_shapes


def convexes(
    count: int, generator: torch.Generator, points: int = 6, batch: tuple[int, ...] = (), spread: float = 0.6
) -> Gaussians:
    """Convexes of all forms about the origin, float64."""

    def random(*shape: int) -> Tensor:
        return torch.rand(*batch, count, *shape, generator=generator, dtype=torch.float64)

    shapes = torch.tensor(convex_shapes(points), dtype=torch.float64).expand(*batch, count, -1).clone()
    shapes[..., :2] *= torch.exp(2 * random(2) - 1)
    shapes[..., 2:] += random(3 * points) - 0.5
    return Gaussians(
        means=spread * (2 * random(3) - 1),
        scales=0.1 + 0.2 * random(3),
        quaternions=random(4) - 0.5,
        opacities=0.3 + 0.65 * random(),
        colors=random(3),
        shapes=shapes,
        primitive="convex",
    )


def camera(height: int = 12, width: int = 15) -> Camera:
    return Camera.look_at((0.5, 0.3, -3.0), (0.0, 0.0, 0.0), height, width, 45.0)


def brute_force(gaussians: Gaussians, camera: Camera) -> tuple[Tensor, Tensor]:
    """Colour over black [3, H, W] and transmittance before a pinhole camera."""
    view = camera.viewmats.double()
    assert gaussians.shapes is not None and gaussians.colors is not None
    turn = quaternions_to_matrices(gaussians.quaternions)
    centers = gaussians.means @ view[:3, :3].T + view[:3, 3]
    color = torch.zeros(3, camera.height, camera.width, dtype=torch.float64)
    light = torch.ones(camera.height, camera.width, dtype=torch.float64)
    for i in centers[:, 2].argsort().tolist():
        local = gaussians.shapes[i, 2:].reshape(-1, 3) * gaussians.scales[i]
        seen = (gaussians.means[i] + local @ turn[i].T) @ view[:3, :3].T + view[:3, 3]
        u, v = (
            focal * seen[:, axis] / seen[:, 2] + middle
            for axis, (focal, middle) in enumerate(((camera.fx, camera.cx), (camera.fy, camera.cy)))
        )
        size = float(gaussians.scales[i].square().mean().sqrt())
        radius = size * math.sqrt(float(camera.fx) * float(camera.fy)) / float(centers[i, 2])
        smoothness, sharpness = (float(each) / radius for each in gaussians.shapes[i, :2])
        lines = edges_of(list(zip(u.tolist(), v.tolist(), strict=True)))
        for row in range(camera.height):
            for column in range(camera.width):
                x, y = column + 0.5, row + 0.5
                terms = [smoothness * (a * x + b * y + c) for a, b, c in lines]
                phi = (max(terms) + math.log(sum(math.exp(each - max(terms)) for each in terms))) / smoothness
                alpha = min(0.999, float(gaussians.opacities[i]) / (1 + math.exp(min(700.0, sharpness * phi))))
                left = float(light[row, column])
                if alpha >= 1 / 255 and left >= 1e-4:
                    color[:, row, column] += left * alpha * gaussians.colors[i]
                    light[row, column] = left * (1 - alpha)
    return color, light


def edges_of(points: list[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """The lines a·x + b·y + c of the hull's edges, which all points lie on one side of; a and b of unit length."""
    found = []
    for one, other in permutations(points, 2):
        x, y = other[0] - one[0], other[1] - one[1]
        length = math.hypot(x, y)
        a, b = y / length, -x / length
        c = -(a * one[0] + b * one[1])
        if all(a * p[0] + b * p[1] + c <= 1e-12 for p in points):
            found.append((a, b, c))
    return found
