"""`splatlearn render SCENE --out FOLDER`: pictures of a scene along a path, or from its photographs' cameras."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Literal

import tyro

from splatlearn.cli.notes import note_unused
from splatlearn.cli.progress import progress_bar
from splatlearn.cli.scene_input import SceneInput, read_scene
from splatlearn.core.disk.outputs import outputs_in
from splatlearn.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from splatlearn.core.cameras import Camera
    from splatlearn.rendering import Rendering

FRAMES = 60
SIZE = (800, 600)
FILM = "film.mp4"
COVERED = 0.5
"""Alpha of a pixel from which it has a depth and a normal."""
RATE = 30
"""Frames a second of a film."""


def render_command(
    scene: tyro.conf.Positional[str],
    *,
    out: str,
    path: Literal["orbit", "photographs", "held-out"] = "orbit",
    frames: int = FRAMES,
    size: tuple[int, int] = SIZE,
    background: Literal["auto", "black", "white"] = "auto",
    panorama: bool = False,
    film: bool = False,
    maps: bool = False,
    device: str = "auto",
    overwrite: bool = False,
) -> int:
    """Render pictures of a scene as PNG files, and on request a film.

    Args:
        scene: A splat file, or a run of reconstruct.
        out: Folder for the pictures.
        path: orbit: a circle around the scene; photographs and held-out: the cameras of a run's photographs, all or
            those that were held out.
        frames: Number of pictures of an orbit.
        size: Width and height of the pictures of an orbit, in pixels.
        background: The colour of what no Gaussian covers. auto: that of the scores of a run, which is white if its
            photographs are transparent; black for a file.
        panorama: Render all directions from where each camera stands, as equirectangular pictures.
        maps: Also write depth-0000.npy for each picture, depths along the camera's axis in units of the scene (float32,
            0 where nothing is), and normals-0000.png, directions toward the camera as colours.
        film: Also write film.mp4, which needs the program ffmpeg.
        device: The device: auto, cpu, cuda or cuda:1.
        overwrite: Replace files that an earlier call wrote to the folder.
    """
    import numpy as np
    import torch
    from PIL import Image

    from splatlearn.captures.finding.names import count
    from splatlearn.core.cameras import Camera
    from splatlearn.core.device import choose_device
    from splatlearn.core.disk.atomic import replacing
    from splatlearn.fitting.terms.normals import normal_map
    from splatlearn.rendering import render

    if frames < 1 or min(size) < 1:
        raise InputError(f"frames, size: expected numbers above 0, got {frames} and {size[0]} {size[1]}")
    if film and shutil.which("ffmpeg") is None:
        raise InputError("film: expected the program ffmpeg on the PATH, found none; install it, or leave --film out")
    on = choose_device(device)
    read = read_scene(scene)
    if path != "orbit":
        note_unused({"frames": frames != FRAMES, "size": tuple(size) != SIZE}, "without an orbit")
    cameras = _cameras(read, path, frames, size)
    if panorama:
        cameras = [Camera.panorama(camera.height, camera.width, camera.viewmats) for camera in cameras]
    names = [f"frame-{number:04d}.png" for number in range(len(cameras))]
    if maps and any(camera.projection.is_spherical for camera in cameras):
        raise InputError("maps: expected pinhole cameras, got panoramas; leave --maps out")
    of_maps = [each for number in range(len(names)) for each in _map_names(number)] if maps else []
    outputs = outputs_in(out, [*names, *of_maps, *([FILM] if film else [])], overwrite)
    gaussians = read.gaussians.to(on)
    sky = None if read.run is None or read.run.sky is None else read.run.sky.to(on)
    note_unused({"background": sky is not None and background != "auto"}, "before a sky")
    chosen = read.background if background == "auto" else background
    with outputs.writing() as folder, progress_bar() as told, torch.no_grad():
        for number, (name, camera) in enumerate(zip(names, cameras, strict=True)):
            behind = chosen if sky is None else "black"
            here = _on(camera, on)
            rendering = render(gaussians, here, behind, depth=maps, filter=read.filter)
            if maps:
                _write_maps(folder, number, rendering, normal_map(gaussians, here, filter=read.filter))
            shown = (rendering.color if sky is None else sky.over(rendering, here)).clamp(0, 1)
            pixels = (shown * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            with replacing(folder / name) as beside:
                Image.fromarray(np.ascontiguousarray(pixels)).save(beside, "PNG")
            told("render", number + 1, len(names))
        if film:
            _write_film(folder, len(names))
    made = count(len(names), "picture")
    print(f"{folder}: {made}{' and ' + FILM if film else ''} of {read.gaussians.count:,} Gaussians")
    return 0


def _cameras(read: SceneInput, path: str, frames: int, size: tuple[int, int]) -> list[Camera]:
    if path == "orbit":
        from splatlearn.core.cameras.paths import middle_and_radius, orbit

        middle, radius = middle_and_radius(read.gaussians.means, read.gaussians.opacities)
        return orbit(middle, radius, frames, size[1], size[0], read.up)
    if read.run is None:
        raise InputError(f"path: expected orbit for a splat file, which has no photographs, got {path}")
    from splatlearn.captures import Photographs

    capture = read.run.capture
    chosen = range(len(capture)) if path == "photographs" else capture.held_out
    if not chosen:
        raise InputError("path: expected photographs that were held out, got a capture without any")
    with Photographs([capture.views[index] for index in chosen], read.run.recipe.capture.max_size) as photographs:
        return [photographs.camera(index) for index in range(len(photographs))]


def _map_names(number: int) -> tuple[str, str]:
    return f"depth-{number:04d}.npy", f"normals-{number:04d}.png"


def _write_maps(folder: Path, number: int, rendering: Rendering, normals: Tensor) -> None:
    """Write the depths and the normals of a picture; red is right, green up and blue toward the camera."""
    import numpy as np

    from splatlearn.cli.pictures import write_png
    from splatlearn.core.disk.atomic import replacing

    assert rendering.depth is not None
    depths, shown = _map_names(number)
    covered = rendering.alpha > COVERED
    with replacing(folder / depths) as beside, beside.open("wb") as file:
        np.save(file, (rendering.depth * covered).cpu().numpy())
    outwards = normals * normals.new_tensor([1.0, -1.0, -1.0])[:, None, None]
    write_png(folder / shown, (0.5 + 0.5 * outwards) * covered)


def _on(camera: Camera, device: object) -> Camera:
    from dataclasses import replace

    return replace(camera, viewmats=camera.viewmats.to(device))  # pyright: ignore[reportArgumentType, reportCallIssue]


def _write_film(folder: Path, count: int) -> None:
    """Join the first `count` pictures; the usual encoding needs even sides, so that odd ones lose a row or a column."""
    command = [
        "ffmpeg", "-y", "-loglevel", "error", "-framerate", str(RATE), "-i", str(folder / "frame-%04d.png"),
        "-frames:v", str(count), "-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-pix_fmt", "yuv420p", str(folder / FILM),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"film: ffmpeg could not write {folder / FILM}: {done.stderr.strip()[:300]}")
