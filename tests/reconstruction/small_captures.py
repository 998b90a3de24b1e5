"""Captures of a few small photographs, rendered from known Gaussians and written as transforms files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from PIL import Image

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import render

WIDTH, HEIGHT = 40, 32


def known_gaussians(seed: int = 0, count: int = 60) -> Gaussians:
    """A cloud of opaque coloured blobs about the origin."""
    generator = torch.Generator().manual_seed(seed)
    return Gaussians(
        means=0.5 * torch.randn(count, 3, generator=generator),
        scales=0.06 + 0.1 * torch.rand(count, 3, generator=generator),
        quaternions=torch.randn(count, 4, generator=generator),
        opacities=0.6 + 0.35 * torch.rand(count, generator=generator),
        colors=torch.rand(count, 3, generator=generator),
    )


def cameras_around(count: int, width: int = WIDTH, height: int = HEIGHT, distance: float = 3.0) -> list[Camera]:
    """Cameras on a circle with a rising and falling height that look at the origin."""
    made = []
    for number in range(count):
        turn = 2 * math.pi * number / count
        eye = (distance * math.sin(turn), 0.8 * math.sin(3 * turn), -distance * math.cos(turn))
        made.append(Camera.look_at(eye, (0.0, 0.0, 0.0), height, width, 45.0))
    return made


def write_capture(
    folder: Path, gaussians: Gaussians, cameras: list[Camera], transparent: bool = False, points: int = 0
) -> Path:
    """Write photographs and a transforms.json; the first of every eight is held out by convention."""
    (folder / "images").mkdir(parents=True)
    frames = []
    for number, camera in enumerate(cameras):
        shown = render(gaussians, camera, "black")
        pixels = shown.color
        if transparent:
            alpha = shown.alpha[None]
            pixels = torch.cat([pixels / alpha.clamp_min(1e-6), alpha])
        name = f"images/photo-{number:03d}.png"
        values = (255 * pixels.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(values).save(folder / name)
        pose = torch.linalg.inv(camera.viewmats.double())
        # OpenGL's cameras look along −z with y up.
        pose[:3, 1:3] *= -1
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    one = cameras[0]
    lens = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": one.width, "h": one.height}
    content: dict[str, object] = {"camera_model": "PINHOLE", **lens, "frames": frames}
    if points:
        chosen = gaussians.select(torch.arange(points) % gaussians.count)
        write_points(folder / "points.ply", chosen.means, chosen.fixed_colors())
        content["ply_file_path"] = "points.ply"
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def write_points(path: Path, means: torch.Tensor, colors: torch.Tensor) -> None:
    """Write a point cloud as text."""
    names = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
    header = ["ply", "format ascii 1.0", f"element vertex {len(means)}", *(f"property {name}" for name in names)]
    rows = [
        " ".join([*(f"{value:.6f}" for value in mean), *(str(int(255 * value)) for value in color)])
        for mean, color in zip(means.tolist(), colors.tolist(), strict=True)
    ]
    path.write_text("\n".join([*header, "end_header", *rows]) + "\n")
