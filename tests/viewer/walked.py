"""Scenes for pages, made of random Gaussians with harmonics."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splats
from splatlearn.files.sog.formats import bundle
from splatlearn.rendering import render
from splatlearn.viewer import ScenePhotograph, ViewedScene
from viewer.browser import Visit

BACKGROUND = (0.2, 0.5, 0.9)
CLOSE = 42.0
"""dB. Half floats and 8 bits of the screen; measured 47 to 52."""
VIEWPORT = (420, 320)
"""Width and height; narrow, so that the panel stands below and the canvas is small."""


def scene_gaussians(generator: torch.Generator, count: int = 400, degree: int = 3) -> Gaussians:
    """Random Gaussians about the origin whose colours depend on the direction of view."""
    plain = random_gaussians(generator, (), count)
    sh = 0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=generator)
    sh[:, 0] = 1.2 * torch.randn(count, 3, generator=generator)
    return Gaussians(plain.means, plain.scales, plain.quaternions, plain.opacities, sh=sh)


def camera_at(turn: float, width: int = 60, height: int = 40, distance: float = 5.0) -> Camera:
    """A camera on a circle about the origin, somewhat above it."""
    eye = (distance * math.sin(turn), -1.0, -distance * math.cos(turn))
    return Camera.look_at(eye, (0.0, 0.0, 0.0), height, width)


def photographed(gaussians: Gaussians, camera: Camera, name: str, **facts) -> ScenePhotograph:
    """A photograph that shows the Gaussians in inverted colours."""
    inverted = 1 - render(gaussians, camera, BACKGROUND).color.clamp(0, 1)
    return ScenePhotograph(name, camera, (255 * inverted).round().byte().permute(1, 2, 0).contiguous(), **facts)


def scene_of(gaussians: Gaussians, size: tuple[int, int] = (60, 40), **more) -> ViewedScene:
    """A scene with three photographs of width and height, the second of them held out."""
    photographs = [
        photographed(gaussians, camera_at(turn, *size), f"photo {turn}", psnr=20 + turn, held_out=turn == 1)
        for turn in (0, 1, 2)
    ]
    return ViewedScene("leaf", gaussians, photographs, background=BACKGROUND, **more)


def settled(page: Visit) -> None:
    """Wait until the page has sorted and drawn its view, and decoded its pictures."""
    page.settle()
    page.until("document.documentElement.dataset.settled === 'true'")


def stored(gaussians: Gaussians, folder: Path) -> Gaussians:
    """The Gaussians as a bundle holds them."""
    path = folder / "stored.sog"
    path.write_bytes(bundle(gaussians.with_degree(gaussians.degree)))
    return read_splats(path)


def pixel_of(camera, point):
    x, y, z = camera.viewmats[:3, :3].double() @ point + camera.viewmats[:3, 3].double()
    return float(camera.fx * x / z + camera.cx), float(camera.fy * y / z + camera.cy)
