"""Depth maps of things whose surface is known exactly."""

from __future__ import annotations

import torch

from splatlearn.captures.still_life.photographing import camera_of
from splatlearn.captures.still_life.tracing import Thing, nearest
from splatlearn.core.cameras import Camera
from splatlearn.surfaces import DepthView


def rays(camera: Camera) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The centre [3] of a camera, and unit directions [3, H·W] of its pixels with their cosines to the axis."""
    rows, columns = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    ahead = torch.stack([x, y, torch.ones_like(x)]).view(3, -1)
    turn = camera.viewmats[:3, :3].float()
    return camera.centers.float(), turn.T @ ahead / ahead.norm(dim=0), 1.0 / ahead.norm(dim=0)


def traced(things: list[Thing], camera: Camera) -> tuple[DepthView, torch.Tensor]:
    """The depth map of things, coloured by place, and the points [N, 3] that it shows."""
    center, directions, cosines = rays(camera)
    met = nearest(things, center[:, None].expand_as(directions), directions)
    seen = met.distance.isfinite()
    distance = torch.where(seen, met.distance, 0.0)
    points = center[:, None] + distance * directions
    shape = (camera.height, camera.width)
    color = (0.5 + 0.5 * points / 1.5).clamp(0, 1).view(3, *shape)
    return DepthView(camera, (distance * cosines).view(shape), color), points[:, seen].T


def around(count: int, size: tuple[int, int]) -> list[Camera]:
    """Cameras of the still life, and the same from below: all sides are seen."""
    above = [camera_of(number, count, size) for number in range(count)]
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    below = [Camera(c.width, c.height, c.fx, c.fy, c.cx, c.cy, viewmats=c.viewmats @ flip) for c in above]
    return above + below
