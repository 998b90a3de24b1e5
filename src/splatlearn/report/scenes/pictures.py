"""Pictures of a reconstruction: photographs beside their renderings and errors, snapshots, and an orbit that moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from splatlearn.captures import Capture, Photographs
from splatlearn.captures.photographs import Photo
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.evaluation.views.scores import ViewScore, score_views
from splatlearn.fitting.skies.sky import Sky
from splatlearn.images.errors import UnreadableImage
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background, background_colors

WIDTH = 400
"""Largest width of each picture in a row, pixels."""
GAP = 6
"""Pixels between the pictures of a row."""
ERROR_MOST = 0.25
"""Difference, the mean over channels, at which the map of errors ends; the page of the scene has the same."""
QUALITY = 86
FRAME_TIME = 100
"""Duration of a frame, milliseconds."""


@dataclass(frozen=True, eq=False)
class ComparedView:
    """A view that was rendered again: its scores, and a JPEG of photograph, rendering and errors side by side."""

    score: ViewScore
    picture: bytes


def compared_views(
    gaussians: Gaussians,
    capture: Capture,
    indices: Sequence[int],
    size: int | None,
    background: Background,
    filter: str = "point",
    sky: Sky | None = None,
) -> list[ComparedView]:
    """Render views of a capture and set them beside their photographs; those that cannot be read are left out.

    - `gaussians`: in the capture's unit frame; `indices`: of its views; `size`: the longer side of photographs.
    - `background`, `filter`, `sky`: see `score_views`.
    """
    found: list[ComparedView] = []
    rows: list[bytes] = []

    def seen(photo: Photo, shown: Float[Tensor, "3 H W"]) -> None:
        rows.append(_row(composed(photo, background), shown))

    with Photographs([capture.views[index] for index in indices], size, cache=False, frame=capture.to_unit) as opened:
        for place in range(len(indices)):
            try:
                photo = opened[place]
            except UnreadableImage:
                continue
            scores = score_views(gaussians, [photo], background, seen, filter=filter, sky=sky)
            # A mask may leave out all pixels.
            found += [ComparedView(each, rows[-1]) for each in scores.views]
    return found


def composed(photo: Photo, background: Background) -> Float[Tensor, "3 H W"]:
    """A photograph over a background, in [0, 1]."""
    values = photo.pixels.permute(2, 0, 1).float() / 255
    if len(values) == 3:
        return values
    behind = background_colors(background, torch.zeros(1, 1, 3))[0]
    return values[:3] * values[3:] + behind[:, None, None] * (1 - values[3:])


def error_map(first: Float[Tensor, "3 H W"], second: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """The mean absolute difference of two pictures as a colour: black for none, bright for `ERROR_MOST` and more."""
    errors = (first - second).abs().mean(dim=0) / ERROR_MOST
    return (255 * matplotlib.colormaps["inferno"](errors.clamp(0, 1).numpy())[..., :3]).round().astype(np.uint8)


def strip(files: Sequence[Path]) -> bytes:
    """Pictures of one size side by side in rows of three, as a JPEG."""
    shown = []
    for file in files:
        with Image.open(file) as image:
            shown.append(np.asarray(_small(image.convert("RGB"))))
    rows = [_beside(shown[start : start + 3], 3) for start in range(0, len(shown), 3)]
    return _jpeg(np.concatenate(rows))


def moving(gaussians: Gaussians, cameras: Sequence[Camera], background: Background, filter: str = "point") -> bytes:
    """Render a scene from cameras on a closed path, as a WebP that moves for ever."""
    frames = []
    for camera in cameras:
        at = replace(camera, viewmats=camera.viewmats.to(gaussians.means))
        with torch.no_grad():
            shown = render(gaussians, at, background, depth=False, filter=filter).color
            frames.append(Image.fromarray(_bytes(shown)))
    stored = BytesIO()
    frames[0].save(
        stored, "WEBP", save_all=True, append_images=frames[1:], duration=FRAME_TIME, loop=0, quality=66, method=4
    )
    return stored.getvalue()


def _row(photograph: Float[Tensor, "3 H W"], rendering: Float[Tensor, "3 H W"]) -> bytes:
    parts = [_bytes(photograph), _bytes(rendering), error_map(photograph, rendering)]
    return _jpeg(_beside([np.asarray(_small(Image.fromarray(part))) for part in parts], 3))


def _beside(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    height, width = pictures[0].shape[:2]
    # Snapshots of a run that was extended with other sizes may differ.
    fitted = [np.asarray(Image.fromarray(each).resize((width, height))) for each in pictures]
    row = np.full((height + GAP, columns * width + (columns - 1) * GAP, 3), 255, np.uint8)
    for number, each in enumerate(fitted):
        left = number * (width + GAP)
        row[:height, left : left + width] = each
    return row


def _small(image: Image.Image) -> Image.Image:
    if image.width <= WIDTH:
        return image
    return image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), Image.Resampling.LANCZOS)


def _bytes(color: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    values = (255 * color.clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(values)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    stored = BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=QUALITY, optimize=True)
    return stored.getvalue()
