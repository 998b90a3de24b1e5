"""The capture of the still life on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from splatlearn.captures.still_life.arrangement import arrange
from splatlearn.captures.still_life.light import illuminate
from splatlearn.captures.still_life.photographing import StillPhotograph, camera_of, photograph
from splatlearn.captures.still_life.threads import one_thread_each
from splatlearn.captures.still_life.tracing import Sky
from splatlearn.core.cameras import Camera
from splatlearn.core.disk.atomic import replacing, write_whole
from splatlearn.core.numbers import check_whole
from splatlearn.core.ply.container import ply_bytes

POINTS = 4000
"""Number of points of the capture; each photograph adds the same share."""
FILE, POINT_FILE, FOLDER = "transforms.json", "points.ply", "photographs"
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Map between cameras that look along z with y down and those of OpenGL, which look along −z with y up."""


def still_life_files(views: int) -> list[str]:
    """The names of the files of a capture of `views` photographs."""
    return [*(f"{FOLDER}/view-{number:03d}.png" for number in range(views)), POINT_FILE, FILE]


def write_still_life(
    folder: Path, views: int, size: tuple[int, int], told: Callable[[int, int], None] = lambda done, count: None
) -> None:
    """Render the still life, and write a capture of it in the layout "transforms".

    - `views`: the number of photographs; `size`: their width and height in pixels. Their background is transparent.
    - `told`: called with the number of photographs that are finished, and of all.

    The capture has exact cameras, and points that lie on what the photographs show. Pixels are traced rays: a soft sun,
    the sky, one reflection between surfaces, and reflections in glossy balls, which change with the view. Files are
    written in any order, `transforms.json` last. The same call writes the same pixels.
    """
    check_whole("views", views, 2)
    for side in size:
        check_whole("size", side, 8)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    names, cameras = still_life_files(views), [camera_of(number, views, size) for number in range(views)]
    sky, things = Sky(), arrange()
    taken: list[StillPhotograph] = []
    with one_thread_each() as pool:
        illuminate(things, sky, pool.map)
        each = -(-POINTS // views)
        for name, made in zip(names, pool.map(lambda one: photograph(things, sky, one, each), cameras), strict=False):
            with replacing(folder / name) as beside:
                Image.fromarray(made.pixels.numpy()).save(beside, "PNG")
            taken.append(made)
            told(len(taken), views)
    with replacing(folder / POINT_FILE) as beside:
        beside.write_bytes(_points(taken))
    write_whole(folder / FILE, json.dumps(_transforms(cameras, names), indent=1) + "\n")


def _points(taken: Sequence[StillPhotograph]) -> bytes:
    kinds = [*((name, "<f4") for name in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))]
    places, colors = (torch.cat(each, dim=1) for each in ([one.points for one in taken], [one.colors for one in taken]))
    table = np.zeros(places.shape[1], dtype=kinds)
    for name, values in zip("xyz", places, strict=True):
        table[name] = values.numpy()
    for name, values in zip(("red", "green", "blue"), colors, strict=True):
        table[name] = (255 * values).round().numpy()
    return ply_bytes({"vertex": table}, [])


def _transforms(cameras: Sequence[Camera], names: Sequence[str]) -> dict[str, object]:
    one = cameras[0]
    lens = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": one.width, "h": one.height}
    poses = [np.linalg.inv(camera.viewmats.numpy()) @ OPENGL for camera in cameras]
    frames = [{"file_path": name, "transform_matrix": pose.tolist()} for name, pose in zip(names, poses, strict=False)]
    return {"camera_model": "PINHOLE", **lens, "ply_file_path": POINT_FILE, "frames": frames}
