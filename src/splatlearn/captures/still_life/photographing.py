"""Photographs of a still life: a spiral of cameras around it, and the pixels that each takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from splatlearn.captures.still_life.textures import to_stored
from splatlearn.captures.still_life.tracing import CHUNK, Sky, Thing, seen
from splatlearn.core.cameras import Camera

AIM = (0.0, 0.0, 0.13)
"""Point that all cameras look at; the plinth's top is at height 0, and its radius is 1.25."""
AWAY = 3.75
"""Distance of all cameras from that point."""
FIELD_OF_VIEW = 40.0
"""Vertical field of view, degrees."""
LOWEST, HIGHEST = 8.0, 58.0
"""Smallest and largest elevation of a camera above the horizon, degrees."""
GOLDEN = math.pi * (3 - math.sqrt(5))
SAMPLES = 2
"""Number of rays along each side of a pixel."""
EXPOSURE = 0.62
"""Factor of light before it is stored."""


@dataclass(frozen=True, eq=False)
class StillPhotograph:
    """A photograph: `pixels` [H, W, 4], and `points` [3, P] that it shows with their `colors` [3, P] in [0, 1]."""

    pixels: UInt8[Tensor, "H W 4"]
    points: Float[Tensor, "3 P"]
    colors: Float[Tensor, "3 P"]


def camera_of(number: int, count: int, size: tuple[int, int]) -> Camera:
    """Return one of `count` cameras, which climb around the things in golden angles; z is up."""
    turn = GOLDEN * number
    # Equal steps of the sine of elevation spread cameras evenly over the sphere.
    low, high = (math.sin(math.radians(each)) for each in (LOWEST, HIGHEST))
    rise = low + (high - low) * (number + 0.5) / count
    flat = math.sqrt(1 - rise**2)
    forward = -torch.tensor([flat * math.cos(turn), flat * math.sin(turn), rise], dtype=torch.float64)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, forward.new_tensor((0.0, 0.0, 1.0))), dim=0)
    view = torch.eye(4, dtype=torch.float64)
    view[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward])
    view[:3, 3] = -view[:3, :3] @ (forward.new_tensor(AIM) - AWAY * forward)
    return Camera.pinhole(size[1], size[0], FIELD_OF_VIEW, view)


def photograph(things: Sequence[Thing], sky: Sky, camera: Camera, points: int) -> StillPhotograph:
    """Take a photograph of lit things; its background is transparent.

    - `camera`: pinhole; `points`: the number of points that are read off, evenly spread over the rays that meet things.
    """
    height, width = SAMPLES * camera.height, SAMPLES * camera.width
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = (columns / SAMPLES - camera.cx) / camera.fx, (rows / SAMPLES - camera.cy) / camera.fy
    turn = camera.viewmats[:3, :3].float()
    eye = -turn.T @ camera.viewmats[:3, 3].float()
    directions = turn.T @ torch.stack([x, y, torch.ones_like(x)]).view(3, -1)
    directions /= directions.square().sum(dim=0).sqrt()
    light, distance = torch.empty_like(directions), torch.empty_like(directions[0])
    for start in range(0, height * width, CHUNK):
        part = slice(start, start + CHUNK)
        toward = directions[:, part]
        light[:, part], met = seen(things, sky, eye[:, None].expand_as(toward), toward)
        distance[part] = met.distance
    is_met = distance.isfinite()
    colors = to_stored(EXPOSURE * light)
    values = torch.cat([colors, torch.ones_like(distance)[None]]) * is_met
    means = torch.nn.functional.avg_pool2d(values.view(1, 4, height, width), SAMPLES)[0]
    means[:3] /= means[3:].clamp_min(1e-6)
    found = is_met.nonzero().squeeze(1)
    chosen = found[torch.linspace(0, len(found) - 1, points).round().long()]
    places = eye[:, None] + distance[chosen] * directions[:, chosen]
    return StillPhotograph((255 * means).round().byte().permute(1, 2, 0).contiguous(), places, colors[:, chosen])
