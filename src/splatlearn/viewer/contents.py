"""What a page holds of one image: its Gaussians, its camera, and the pictures to compare with."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_finite
from splatlearn.core.device import in_float64
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import clamping_error
from splatlearn.fitting.losses.metrics import psnr
from splatlearn.rendering import render
from splatlearn.rendering.compositing import background_colors
from splatlearn.zero_shot import ImageGaussians
from splatlearn.zero_shot.grouping import group_gaussians

FEWEST_GROUPS, MOST_GROUPS = 2, 10
"""How many groups have colours that can be told apart."""
KNOWN_MODELS = ("pinhole", "orthographic", "gmae")
"""The camera models that `web/projection.js` knows, by name."""
PACKED = ("means", "scales", "quaternions", "colors", "opacities")
"""The order of a Gaussian's numbers, which `web/` reads."""
PNG_LIMIT = 120_000
"""Bytes above which a picture is stored as JPEG."""
RAMP_STOPS = 17
"""Colours of a ramp that the page interpolates between."""


@dataclass(frozen=True, eq=False)
class ViewedImage:
    """One image of a page.

    - `name`: what the page calls it; any text.
    - `image` [3, H, W]: the input, in [0, 1].
    - `gaussians` [K], with three `colors`; `camera`: of W × H pixels, with one matrix; `background` [3]: behind them.
    - `groups` [K]: the cluster of each Gaussian, 0 … MOST_GROUPS − 1.

    Raises InputError for non-finite Gaussians, Gaussians with `sh`, and sizes that do not fit one another.
    """

    name: str
    image: Float[Tensor, "3 H W"]
    gaussians: Gaussians
    camera: Camera
    background: Float[Tensor, " 3"]
    groups: Int64[Tensor, " K"]

    def __post_init__(self) -> None:
        shape = tuple(self.gaussians.fixed_colors().shape)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != 3:
            raise InputError(f"gaussians: expected colors of shape [K, 3] with K of at least 1, got {list(shape)}")
        if tuple(self.groups.shape) != shape[:1]:
            raise InputError(f"groups: expected shape [{shape[0]}] like the Gaussians, got {list(self.groups.shape)}")
        if int(self.groups.min()) < 0 or int(self.groups.max()) >= MOST_GROUPS:
            found = f"{int(self.groups.min())} to {int(self.groups.max())}"
            raise InputError(f"groups: expected numbers from 0 to {MOST_GROUPS - 1}, got {found}")
        size = (3, self.camera.height, self.camera.width)
        if tuple(self.image.shape) != size:
            raise InputError(f"image: expected shape {list(size)}, the camera's, got {list(self.image.shape)}")
        if self.camera.model not in KNOWN_MODELS:
            known = ", ".join(KNOWN_MODELS)
            raise InputError(f"camera: expected one of the page's camera models, {known}, got {self.camera.model!r}")
        if self.camera.batch_shape:
            raise InputError(f"camera: expected one matrix [4, 4], got {list(self.camera.viewmats.shape)}")
        check_finite(**self.gaussians.tensors())

    def packed(self) -> dict[str, Any]:
        """All of it as JSON, the Gaussians as base64 of float32 [K, 14], little-endian.

        The 14 numbers are mean, scales, quaternion, colour and opacity. `pivot` is the mean depth of what is seen,
        about which a view tilts; `psnr` is in dB, None where the picture is the input; `clamping` is the largest error
        of the picture where a browser cannot blend colours below 0, None where none is seen.
        """
        shown = render(self.gaussians, self.camera, self.background)
        assert shown.depth is not None
        cover = shown.alpha.sum()
        depths = (shown.depth * shown.alpha).sum() / cover if float(cover) > 0 else _mean_depth(self)
        quality = float(
            psnr(in_float64(shown.color.clamp(0, 1)).unsqueeze(0), in_float64(self.image.to(shown.color)).unsqueeze(0))
        )
        tensors = self.gaussians.tensors()
        numbers = torch.cat([tensors[name].reshape(self.gaussians.count, -1) for name in PACKED], dim=1)
        lost = clamping_error(self.gaussians, self.camera, self.background)
        return {
            "name": self.name,
            "camera": _packed_camera(self.camera),
            "background": [float(value) for value in self.background],
            "pivot": float(depths),
            "psnr": quality if np.isfinite(quality) else None,
            "clamping": lost.largest if lost.is_visible else None,
            "gaussians": _base64(numbers.detach().cpu().numpy().astype("<f4")),
            "groups": self.groups.tolist(),
            "input": picture_uri(self.image),
            "reconstruction": picture_uri(shown.color),
        }


@torch.no_grad()
def viewed_images(
    read: ImageGaussians, images: Float[Tensor, "B 3 H W"], names: Sequence[str], groups: int = 8
) -> list[ViewedImage]:
    """Images that a model has read, ready for a page.

    - `images`: in [0, 1], what the model saw; `names`: one for each; `groups`: clusters of Gaussians in each.

    Raises InputError when the number of names differs from that of the images, and for other numbers of clusters than
    FEWEST_GROUPS … MOST_GROUPS.
    """
    if len(names) != len(images):
        raise InputError(f"names: expected {len(images)}, one for each image, got {len(names)}")
    if not FEWEST_GROUPS <= groups <= MOST_GROUPS:
        raise InputError(f"groups: expected {FEWEST_GROUPS} to {MOST_GROUPS} clusters, got {groups}")
    labels = torch.empty_like(read.order).scatter_(1, read.order, group_gaussians(read, groups))
    behind = background_colors(read.background, read.gaussians.fixed_colors())
    return [
        ViewedImage(names[k], images[k].cpu(), read.gaussians[k].to("cpu"), read.camera, behind[k].cpu(), each)
        for k, each in enumerate(labels.cpu())
    ]


def picture_uri(pixels: Float[Tensor, "3 H W"]) -> str:
    """Pixels in [0, 1] as a data URI: a PNG, or a JPEG with all its colour where that would be large."""
    values = (pixels.detach().float().cpu().clamp(0.0, 1.0) * 255).round().byte().numpy()
    picture = Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0)))
    buffer, kind = BytesIO(), "png"
    picture.save(buffer, "PNG", optimize=True)
    if buffer.tell() > PNG_LIMIT:
        buffer, kind = BytesIO(), "jpeg"
        picture.save(buffer, "JPEG", quality=92, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def palettes() -> dict[str, list[list[float]]]:
    """Colours [·, 3] in [0, 1] for what Gaussians may be coloured by: a ramp for numbers, and one for each group."""
    maps = matplotlib.colormaps
    return {
        "ramp": maps["viridis"](np.linspace(0, 1, RAMP_STOPS))[:, :3].round(4).tolist(),
        "groups": maps["tab10"](np.arange(MOST_GROUPS))[:, :3].round(4).tolist(),
    }


def _packed_camera(camera: Camera) -> dict[str, Any]:
    lens = {name: float(getattr(camera, name)) for name in ("fx", "fy", "cx", "cy", "near")}
    far = camera.far if math.isfinite(camera.far) else None
    size = {"width": camera.width, "height": camera.height}
    return {
        "model": camera.model,
        **size,
        **lens,
        "far": far,
        "view": camera.viewmats.detach().cpu().flatten().tolist(),
    }


def _mean_depth(viewed: ViewedImage) -> Tensor:
    view = viewed.camera.viewmats.to(viewed.gaussians.means)
    return (viewed.gaussians.means @ view[2, :3] + view[2, 3]).mean()


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
