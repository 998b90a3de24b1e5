"""The page of panoramas: one HTML file in which a person looks around, and compares renderings with photographs."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.viewer.html import render_html
from splatlearn.viewer.scene_contents import small_jpeg

SCRIPTS = ("gl.js", "walk/stage.js", "around/look.js", "around/main.js")
"""The page's scripts in their order; they share one scope."""
PICTURE_BYTES = 400_000
"""The largest size of a picture in the page: of a panorama, a fifth is seen at a time."""


@dataclass(frozen=True, eq=False)
class ViewedPanorama:
    """A panorama of the page.

    - `name`: any text.
    - `rendering` [H, W, 3]: equirectangular; `photograph` [H, W, 3]: of the same place, None where there is none.
    - `psnr`: of the rendering, in dB; None where it is not known.
    - `held_out`: whether the scene was fitted without it.

    Raises InputError for pictures that are not bytes, or not of one size.
    """

    name: str
    rendering: UInt8[Tensor, "H W 3"]
    photograph: UInt8[Tensor, "H W 3"] | None = None
    psnr: float | None = None
    held_out: bool = False

    def __post_init__(self) -> None:
        for name in ("rendering", "photograph"):
            pixels = getattr(self, name)
            if pixels is not None and (pixels.dtype != torch.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3):
                got = f"{list(pixels.shape)} of {pixels.dtype}"
                raise InputError(f"{name}: expected shape [H, W, 3] of torch.uint8, got {got}")
        if self.photograph is not None and self.photograph.shape != self.rendering.shape:
            wanted, got = list(self.rendering.shape), list(self.photograph.shape)
            raise InputError(f"photograph: expected shape {wanted}, that of the rendering, got {got}")


def write_panorama_view(
    path: str | Path,
    title: str,
    lead: str,
    panoramas: Sequence[ViewedPanorama],
    facts: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a self-contained page (HTML, WebGL2) of panoramas, and return its path.

    A reader looks around from the middle of each by pointer, keys and touch, and compares its photograph by a wipe or
    as a map of errors. The page loads nothing and runs no script but its own; all text is escaped; it is written beside
    and renamed. Missing folders are made. Raises InputError for no panoramas.
    """
    if not panoramas:
        raise InputError("panoramas: expected at least one to show, got none")
    listed = [_packed(each) for each in panoramas]
    page = render_html(
        "around/around.html.j2",
        SCRIPTS,
        ("view.css", "walk/walk.css"),
        title=title,
        lead=lead,
        panoramas=listed,
        facts=[("Panoramas", f"{len(listed):,}"), *facts],
        data={"panoramas": listed},
    )
    target = Path(path)
    write_whole(target, page)
    return target


def _packed(panorama: ViewedPanorama) -> dict[str, object]:
    def stored(pixels: Tensor | None) -> str | None:
        return None if pixels is None else base64.b64encode(small_jpeg(pixels, PICTURE_BYTES)).decode("ascii")

    psnr = panorama.psnr if panorama.psnr is not None and math.isfinite(panorama.psnr) else None
    return {
        "name": panorama.name,
        "rendering": stored(panorama.rendering),
        "photograph": stored(panorama.photograph),
        "psnr": psnr,
        "heldOut": panorama.held_out,
    }
