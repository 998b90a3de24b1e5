"""`splatlearn export RUN IMAGE --to ply|spz`: what a model makes of a photograph, for other programs."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import tyro

from splatlearn.camera import Camera
from splatlearn.data.augment import resize_center_crop
from splatlearn.data.images import decode
from splatlearn.files import SplatCloud, SplatFormat, bake_pinhole, write_splats
from splatlearn.models import GMAE, load_model
from splatlearn.render.formula import BLUR

ENDINGS: dict[SplatFormat, str] = {
    "ply": ".ply",
    "compressed-ply": ".compressed.ply",
    "spz": ".spz",
    "sog": ".sog",
}


def export_command(
    run: tyro.conf.Positional[str],
    image: tyro.conf.Positional[str | None] = None,
    *,
    to: SplatFormat,
    out: str | None = None,
    blur: float = BLUR,
    overwrite: bool = False,
) -> int:
    """Write the Gaussians that a GMAE sees in an image as a splat file, for any viewer.

    Args:
        run: A run or model folder, or a Hub id.
        image: The photograph; its largest central box of the model's aspect is used.
        to: ply (3D Gaussian splatting), compressed-ply and sog (PlayCanvas), spz (Niantic).
        out: The file; by default the image's name with the format's ending, in the current folder.
        blur: Variance in px² of the model's image added to every Gaussian, as the renderer adds it, so that a large
            view looks like the model's picture; 0 for a sharper one.
        overwrite: Replace a file that exists.
    """
    if image is None:
        raise ValueError(f"image: expected a photograph whose Gaussians to write as {to}, got none")
    path = Path(out) if out is not None else Path(Path(image).stem + ENDINGS[to])
    if path.exists() and not overwrite:
        raise ValueError(f"out: {path} exists; choose another with --out, or give --overwrite")
    model = load_model(run)
    if not isinstance(model, GMAE):
        raise ValueError(f"run: expected a GMAE, whose pictures are made of Gaussians, got a MAE in {run}")
    cloud, camera = _baked(model, Path(image), blur)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_splats(cloud, path, to)
    print(f"{path}: {cloud.count} Gaussians. {_instructions(camera, model.config.background)}")
    return 0


def _baked(model: GMAE, image: Path, blur: float) -> tuple[SplatCloud, Camera]:
    height, width = model.config.encoder.image_size
    pixels = resize_center_crop(decode(image, str(image)), height, width)
    with torch.no_grad():
        gaussians = model.gaussians(torch.from_numpy(pixels).float().unsqueeze(0) / 255)[0]
    baked, camera = bake_pinhole(gaussians, model.camera(height, width), blur)
    return SplatCloud.from_gaussians(baked), camera


def _instructions(camera: Camera, background: object) -> str:
    angle = math.degrees(2 * math.atan(camera.height / 2 / camera.fy))
    distance = float(camera.world_to_camera[2, 3])
    return (
        f"With x right, y down and z away, a viewer at (0, 0, {-distance:g}) that looks along z, with a vertical field "
        f"of view of {angle:.1f}° and the background {background}, shows the model's picture."
    )
