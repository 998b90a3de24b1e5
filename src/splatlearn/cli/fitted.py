"""What `splatlearn fit` does with one image."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from splatlearn.cli.clamping import to_write
from splatlearn.cli.pictures import write_png
from splatlearn.core.cameras import Camera
from splatlearn.core.device import in_float64
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import to_pinhole, write_splats
from splatlearn.fitting import FitOptions, fit, initial_gaussians
from splatlearn.models import GMAE
from splatlearn.zero_shot import ImageGaussians, gaussians_of

ENDINGS = ("-fit.png", ".ply")
"""Of the files of an image: the rendering and the Gaussians."""
SMALLEST_ERROR = 1e-10
"""Mean squared error below which a fit counts as 100 dB."""
TRACE_POINTS = 20
"""Steps at which fit.json has the error."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted Gaussians of one image [1, 3, H, W], and PSNR (dB) with seconds since the start, by steps done."""

    gaussians: Gaussians
    trace: list[dict[str, float]]


def fit_image(
    start: Gaussians,
    image: Tensor,
    steps: int,
    options: FitOptions,
    camera: Camera | None = None,
    told: Callable[[int], None] | None = None,
) -> Fit:
    """Refine the Gaussians of one image [1, 3, H, W], and note PSNR and seconds on the way.

    `told` is called with the steps done before each of them and at the end.
    """
    trace: list[dict[str, float]] = []
    every = max(1, steps // TRACE_POINTS)
    began = time.perf_counter()

    def watch(step: int, errors: Tensor) -> None:
        if told is not None:
            told(step)
        if step % every == 0 or step == steps:
            # JSON has no infinity, which an image of one colour may reach.
            psnr = float(-10.0 * in_float64(errors[0]).clamp_min(SMALLEST_ERROR).log10())
            trace.append({"step": step, "psnr": psnr, "seconds": time.perf_counter() - began})

    return Fit(fit(image, start, steps, options, camera, watch), trace)


def start_of(model: GMAE | None, image: Tensor, count: int, seed: int) -> ImageGaussians:
    """Return the Gaussians that a fit starts from: the prediction of a model, or `count` at random places."""
    if model is not None:
        return gaussians_of(model, image)
    gaussians = initial_gaussians(image, count, torch.Generator().manual_seed(seed))
    return ImageGaussians(gaussians, Camera.gmae(image.shape[-2], image.shape[-1]))


def write_fit(folder: Path, name: str, fitted: ImageGaussians, refit: bool) -> str:
    """Write the files of an image, and return a note on what colours lose in its splat file."""
    picture, splats = (folder / f"{name}{ending}" for ending in ENDINGS)
    write_png(picture, fitted.rendering.color[0])
    shown, note = to_write(fitted, "ply", refit)
    baked, _ = to_pinhole(shown.gaussians[0].to("cpu"), fitted.camera)
    write_splats(splats, baked, "ply")
    return note
