"""Sharpness and exposure of photographs, and which of them stand apart from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import laplace

from splatlearn.captures.capture import View
from splatlearn.captures.photographs import Photo, Photographs
from splatlearn.core.numbers import evenly_spaced
from splatlearn.images.errors import UnreadableImage

SIDE = 800
"""Pixels of the longer side at which photographs are compared."""
BLURRED = 0.4
"""Share of the median sharpness below which a photograph may be blurred."""
STOPS = 0.8
"""Smallest difference from the median exposure, in powers of two, of a photograph that stands apart."""
DEVIATIONS = 3.0
"""Robust standard deviations by which an outlier differs at least."""
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Quality:
    """Sharpness and exposure of one photograph.

    - `sharpness`: standard deviation of the Laplacian, divided by that of the brightness.
    - `exposure`: base-2 logarithm of the mean brightness, in [0, 1], of the pixels that count.
    - `clipped`: share of pixels that are black or white.
    """

    view: int
    sharpness: float
    exposure: float
    clipped: float


@dataclass(frozen=True)
class Qualities:
    """Measurements of photographs.

    - `unreadable`: a sentence for each photograph that cannot be read.
    - `masked`: indices of views all of whose pixels are masked or transparent.
    """

    measured: tuple[Quality, ...]
    unreadable: tuple[str, ...]
    masked: tuple[int, ...] = ()

    def values(self, name: str) -> NDArray[np.float64]:
        """One measure of all photographs."""
        return np.array([getattr(each, name) for each in self.measured], dtype=np.float64)

    @property
    def blurred(self) -> list[Quality]:
        """Photographs much less sharp than the others, the worst first."""
        if not self.measured:
            return []
        logs = np.log(np.maximum(self.values("sharpness"), 1e-9))
        limit = min(np.log(BLURRED), -DEVIATIONS * _deviation(logs))
        found = [each for each, value in zip(self.measured, logs - np.median(logs), strict=True) if value < limit]
        return sorted(found, key=lambda each: each.sharpness)

    @property
    def off_exposure(self) -> list[tuple[Quality, float]]:
        """Photographs much brighter or darker than the others, with the difference in stops, the farthest first."""
        if not self.measured:
            return []
        values = self.values("exposure")
        limit = max(STOPS, DEVIATIONS * _deviation(values))
        apart = [(each, float(each.exposure - np.median(values))) for each in self.measured]
        return sorted((each for each in apart if abs(each[1]) > limit), key=lambda each: -abs(each[1]))


def measure(
    views: Sequence[View],
    most: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
    seen: Callable[[int, Photo], object] = lambda view, photo: None,
) -> Qualities:
    """Look at photographs, at most `most` of them at equal distances in the order of names.

    `seen`: called with the index of each view that is looked at and its photograph.
    """
    measured: list[Quality] = []
    unreadable: list[str] = []
    masked: list[int] = []
    chosen = evenly_spaced(len(views), most)
    with Photographs([views[index] for index in chosen], SIDE, cache=False) as photographs:
        photographs.prefetch(range(len(chosen)))
        for place, index in enumerate(chosen):
            try:
                photo = photographs[place]
                found = quality(index, photo)
                seen(index, photo)
                if found is None:
                    masked.append(index)
                else:
                    measured.append(found)
            except UnreadableImage as error:
                unreadable.append(str(error))
            progress(place + 1, len(chosen))
    return Qualities(tuple(measured), tuple(unreadable), tuple(masked))


def quality(view: int, photo: Photo) -> Quality | None:
    """Measure a photograph. Pixels that are masked or transparent do not count; None if none counts."""
    pixels = photo.pixels.numpy()
    luma = pixels[..., :3].astype(np.float32) @ np.array(LUMA, dtype=np.float32)
    counts = np.ones(luma.shape, dtype=bool) if photo.mask is None else photo.mask.numpy() > 0
    if pixels.shape[-1] == 4:
        counts &= pixels[..., 3] == 255
    if not counts.any():
        return None
    inside = luma[counts]
    sharpness = float(laplace(luma)[counts].std() / max(float(inside.std()), 1.0))
    exposure = float(np.log2(max(float(inside.mean()) / 255, 1 / 255)))
    return Quality(view, sharpness, exposure, float(((inside < 2) | (inside > 253)).mean()))


def _deviation(values: NDArray[np.float64]) -> float:
    """A standard deviation that outliers do not change."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
