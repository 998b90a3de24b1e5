"""What the page of a scene holds: its Gaussians as SOG, the cameras of photographs, and pictures to compare with."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import AWAY, FIELD_OF_VIEW, middle_and_radius, outside_view
from splatlearn.core.checks import check_finite
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN, Gaussians
from splatlearn.files.sog.formats import bundle
from splatlearn.files.sog.writer import image_order, image_size
from splatlearn.rendering.choice import check_filter

HIGHEST_DEGREE = 3
"""The degree of harmonics that the page's shaders evaluate."""
FILTERS = ("point", "mip")
"""The filters that the page's shaders draw with."""
DRAWN = (GAUSSIAN, "ges")
"""The primitives that the page's shaders draw."""
MOST_GAUSSIANS = 1_000_000
"""Largest number of Gaussians of a page."""
PICTURE_BYTES = 60_000
"""The largest size of a picture in the page."""


@dataclass(frozen=True, eq=False)
class ScenePhotograph:
    """A photograph of a scene.

    - `name`: any text; `camera`: pinhole, of the size of the photograph, with one matrix [4, 4].
    - `pixels` [H, W, 3]: of the camera's size; None where the page shows the camera alone.
    - `psnr`: of the rendering from there, in dB; None where it is not known.
    - `held_out`: whether the scene was fitted without it.
    """

    name: str
    camera: Camera
    pixels: UInt8[Tensor, "H W 3"] | None = None
    psnr: float | None = None
    held_out: bool = False

    def __post_init__(self) -> None:
        if self.camera.model != "pinhole" or self.camera.batch_shape:
            got = f"{self.camera.model} with viewmats {list(self.camera.viewmats.shape)}"
            raise InputError(f"camera: expected one pinhole camera, got {got}")
        check_finite(viewmats=self.camera.viewmats)
        size = (self.camera.height, self.camera.width, 3)
        if self.pixels is not None and (tuple(self.pixels.shape) != size or self.pixels.dtype != torch.uint8):
            got = f"{list(self.pixels.shape)} of {self.pixels.dtype}"
            raise InputError(f"pixels: expected shape {list(size)} of torch.uint8, the camera's size, got {got}")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A rendering of a scene while it was fitted: what it says of itself (`label`), and its `pixels` [H, W, 3]."""

    label: str
    pixels: UInt8[Tensor, "H W 3"]


@dataclass(frozen=True, eq=False)
class ViewedScene:
    """A scene of a page.

    - `name`: what files that a reader keeps are called.
    - `gaussians` [K], with `sh` up to degree 3 or three `colors`; `background` [3]: behind them.
    - `photographs`: in the order of the page.
    - `snapshots`: pictures of the fit, all from the camera of photograph `snapshot_from`.
    - `up`: the direction in the world that is up; a level horizon is at right angles to it.
    - `filter`: that the Gaussians were fitted with, "point" or "mip"; the page draws with it.
    - `home`: the number of the photograph from which the page looks first; None: from outside of the scene.

    Raises InputError for a batch of sets, no Gaussians, more than the page draws, harmonics above degree 3, numbers
    that are not finite, and numbers of photographs that are not there.
    """

    name: str
    gaussians: Gaussians
    photographs: Sequence[ScenePhotograph] = ()
    snapshots: Sequence[Snapshot] = ()
    snapshot_from: int = 0
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    home: int | None = 0
    filter: str = "point"
    facts: Sequence[tuple[str, str]] = field(default=())

    def __post_init__(self) -> None:
        shape = list(self.gaussians.means.shape)
        if len(shape) != 2 or not 1 <= shape[0] <= MOST_GAUSSIANS:
            raise InputError(
                f"gaussians: expected means of shape [K, 3] with K from 1 to {MOST_GAUSSIANS}, got {shape}"
            )
        if self.gaussians.degree > HIGHEST_DEGREE:
            raise InputError(
                f"gaussians: expected harmonics of degree {HIGHEST_DEGREE} at most, got {self.gaussians.degree}; "
                f"use gaussians.with_degree({HIGHEST_DEGREE})"
            )
        if self.gaussians.primitive not in DRAWN:
            raise InputError(
                f"gaussians: expected a primitive that the page draws ({', '.join(DRAWN)}), got "
                f"{self.gaussians.primitive!r}: its shaders know ellipses alone; `splatlearn render` draws others"
            )
        check_finite(**self.gaussians.tensors())
        check_filter(self.filter)
        if self.filter not in FILTERS:
            raise InputError(f"filter: expected one that the page draws ({', '.join(FILTERS)}), got {self.filter!r}")
        if not (all(map(math.isfinite, self.up)) and math.hypot(*self.up) > 0):
            raise InputError(f"up: expected a direction of finite numbers, got {self.up}")
        for name, number in (("home", self.home if self.photographs else None), ("snapshot_from", self._from())):
            if number is not None and not 0 <= number < len(self.photographs):
                got = f"{number} of {len(self.photographs)}"
                raise InputError(f"{name}: expected the number of a photograph, got {got}")

    def bundle(self) -> bytes:
        """The Gaussians as a SOG bundle."""
        return bundle(self._plain(), antialiased=self.filter == "mip")

    def _plain(self) -> Gaussians:
        """The Gaussians without what SOG does not hold."""
        return replace(self.gaussians.with_degree(self.gaussians.degree), primitive=GAUSSIAN, shapes=None)

    def _exponents(self) -> str | None:
        """The exponents of generalised exponentials, float32 in the pixels of the bundle's images, as base64."""
        shapes = self.gaussians.shapes
        if shapes is None:
            return None
        rows, columns = image_size(self.gaussians.count)
        padded = np.full(rows * columns, 2.0, dtype="<f4")
        padded[: self.gaussians.count] = shapes[image_order(self._plain()), 0].detach().cpu().numpy()
        return base64.b64encode(padded.tobytes()).decode("ascii")

    def _from(self) -> int | None:
        return self.snapshot_from if self.snapshots else None

    def packed(self, ramp: list[list[float]], formula: dict[str, float]) -> dict[str, Any]:
        """All of it as JSON; Gaussians are a SOG bundle and pictures are JPEGs, both as base64."""
        pictures: list[str] = []

        def stored(pixels: UInt8[Tensor, "H W 3"] | None) -> int | None:
            if pixels is None:
                return None
            pictures.append(base64.b64encode(small_jpeg(pixels)).decode("ascii"))
            return len(pictures) - 1

        cameras = [{**_packed_camera(each), "picture": stored(each.pixels)} for each in self.photographs]
        snapshots = [{"label": each.label, "picture": stored(each.pixels)} for each in self.snapshots]
        middle, radius = middle_and_radius(self.gaussians.means, self.gaussians.opacities)
        length = math.hypot(*self.up)
        up = [value / length for value in self.up]
        focal = [float(each.camera.fy) for each in self.photographs]
        near = min((each.camera.near for each in self.photographs), default=0.01 * radius)
        view = outside_view(middle, radius, up)
        home = self.home if self.photographs and self.home is not None else -1
        return {
            "formula": formula,
            "ramp": ramp,
            "cameras": cameras,
            "snapshots": snapshots,
            "pictures": pictures,
            "scene": {
                "name": self.name,
                "bundle": base64.b64encode(self.bundle()).decode("ascii"),
                "filter": self.filter,
                "exponents": self._exponents(),
                "count": self.gaussians.count,
                "background": list(self.background),
                "up": up,
                "pivot": middle.tolist(),
                "radius": radius,
                "near": near,
                # Pixels of the photographs, in which the renderer's smallest splats are measured.
                "focal": float(np.median(focal)) if focal else 1000.0,
                "home": {
                    "view": view.flatten().tolist(),
                    "fy": 0.5 / math.tan(math.radians(FIELD_OF_VIEW) / 2),
                    "height": 1.0,
                },
                "homeDepth": AWAY * radius,
                "homeCamera": home,
                "snapshotCamera": self.snapshot_from,
                "fallback": next((each["picture"] for each in cameras if each["picture"] is not None), None),
            },
        }


def small_jpeg(pixels: UInt8[Tensor, "H W 3"], limit: int = PICTURE_BYTES) -> bytes:
    """A JPEG of at most `limit` bytes: as good as fits, and smaller where no quality does."""
    picture = Image.fromarray(pixels.cpu().numpy())
    while True:
        for quality in (90, 84, 76, 68):
            buffer = BytesIO()
            picture.save(buffer, "JPEG", quality=quality, optimize=True)
            if buffer.tell() <= limit or max(picture.size) <= 16:
                return buffer.getvalue()
        shrunk = [max(1, round(0.8 * side)) for side in picture.size]
        picture = picture.resize((shrunk[0], shrunk[1]), Image.Resampling.LANCZOS)


def _packed_camera(photograph: ScenePhotograph) -> dict[str, Any]:
    camera = photograph.camera
    lens = {name: float(getattr(camera, name)) for name in ("fx", "fy", "cx", "cy")}
    psnr = photograph.psnr if photograph.psnr is not None and math.isfinite(photograph.psnr) else None
    return {
        "name": photograph.name,
        "width": camera.width,
        "height": camera.height,
        **lens,
        "view": camera.viewmats.detach().cpu().double().flatten().tolist(),
        "psnr": psnr,
        "heldOut": photograph.held_out,
    }
