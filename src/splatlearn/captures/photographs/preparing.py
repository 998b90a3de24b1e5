"""From a file to the pixels that are fitted: decoded, scaled down, undistorted unless it is a panorama."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from splatlearn.captures.capture import View
from splatlearn.captures.lenses import Lens
from splatlearn.captures.photographs.depths import decode_depth
from splatlearn.captures.photographs.disk_cache import DiskCache
from splatlearn.captures.photographs.pictures import decode_mask, decode_picture
from splatlearn.captures.photographs.pinholes import resampling, result_of
from splatlearn.images.errors import UnreadableImage


@dataclass(frozen=True)
class Plan:
    """The lenses of a view's photograph before and after undistortion, known without decoding it.

    - `lens`: of the photograph once it is scaled down.
    - `result`: a pinhole, or the panorama itself.
    """

    lens: Lens
    result: Lens

    @property
    def resamples(self) -> bool:
        """Whether the lens has a distortion to be taken out."""
        return not (self.lens.is_pinhole or self.lens.is_panorama)

    @property
    def pixels(self) -> int:
        """The pixels of the result."""
        return self.result.width * self.result.height

    @property
    def largest(self) -> int:
        """The bytes that the result has at most, without depths: four channels and a mask."""
        return 5 * self.pixels


def planned(lens: Lens, max_size: int | None) -> Plan:
    """Return the plan for a lens. The long side of the result is at most `max_size` pixels.

    Photographs are never enlarged. Both axes are scaled by the ratios of the whole numbers of pixels.
    """
    result = result_of(lens)
    longest = max(result.width, result.height)
    if max_size is None or longest <= max_size:
        return Plan(lens, result)
    ratio = max_size / longest
    lens = lens.scaled(max(1, int(lens.width * ratio + 1e-9)), max(1, int(lens.height * ratio + 1e-9)))
    return Plan(lens, result_of(lens))


def prepare_depth(view: View, plan: Plan) -> Float32[np.ndarray, "H W"] | None:
    """Return the depths of a view in units of the capture's world, 0 where there is none; None without a map.

    Raises UnreadableImage for a map that is missing or damaged.
    """
    if view.depth_path is None:
        return None
    lens, name = plan.lens, f"the depth map {view.depth_path.name} of {view.name}"
    stored, size = (view.lens.width, view.lens.height), (lens.width, lens.height)
    content = _content(view.depth_path, name)
    found = decode_depth(content, name, view.depth_unit, stored, size, view.orientation)
    return resampling(lens).depth(found) if plan.resamples else found


def prepare(
    view: View, plan: Plan, disk: DiskCache | None = None
) -> tuple[UInt8[np.ndarray, "H W C"], UInt8[np.ndarray, "H W"] | None]:
    """Return the pixels of a view, RGB or RGBA, and its mask (0 is left out, 255 counts) or None.

    Raises UnreadableImage for a photograph or a mask that is missing, damaged or of another size than before.
    """
    lens, stored = plan.lens, (view.lens.width, view.lens.height)
    size = (lens.width, lens.height)
    content = _content(view.path, view.name)
    mask = None
    if view.mask_path is not None:
        name = f"the mask {view.mask_path.name} of {view.name}"
        mask = decode_mask(_content(view.mask_path, name), name, stored, size, view.orientation)
    if not plan.resamples:
        return decode_picture(content, view.name, stored, size, view.orientation), mask
    key = DiskCache.key(content, f"{stored} {lens} {view.orientation}") if disk else ""
    pixels = disk.get(key) if disk else None
    if pixels is None or pixels.shape[:2] != (plan.result.height, plan.result.width):
        pixels = resampling(lens).picture(decode_picture(content, view.name, stored, size, view.orientation))
        if disk:
            disk.put(key, pixels)
    return pixels, resampling(lens).mask(mask)


def _content(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(
            name, "the file does not exist" if isinstance(error, FileNotFoundError) else str(error)
        ) from error
