"""Whether the light of a capture changes: the brightness of the same points in the photographs that see them.

The mean brightness of a photograph says what it shows; that of a point says how it was exposed. For an observation of
point j in view i, log₂ of the brightness is taken for p_j + g_i: what the point has, and the gain of the photograph.
Alternating medians give both, and points that shine in one direction, or were found wrongly, change neither.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.capture import Capture
from splatlearn.captures.photographs import Photo

ROUNDS = 8
FEWEST = 30
"""Observations of points of other photographs, too, below which a photograph's gain is not known."""
CLIPPED = (4, 251)
"""Brightness in bytes outside of which a pixel says nothing of light."""
LUMA = (0.299, 0.587, 0.114)
Vector = NDArray[np.float64]


class LightOfPoints:
    """Collects the brightness of a capture's points from photographs, one after the other."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self._points: list[NDArray[np.int64]] = []
        self._views: list[NDArray[np.int64]] = []
        self._values: list[Vector] = []
        tracks = capture.points.tracks
        if tracks is not None:
            self._order = np.argsort(tracks.views, kind="stable")
            self._bounds = np.searchsorted(tracks.views[self._order], np.arange(len(capture.views) + 1))

    def see(self, index: int, photo: Photo) -> None:
        """Read the brightness of the points that the view of an index observes."""
        tracks, view = self.capture.points.tracks, self.capture.views[index]
        if tracks is None:
            return
        part = self._order[self._bounds[index] : self._bounds[index + 1]]
        seen = self.capture.points.xyz[tracks.points[part]] @ view.world_to_camera[:3, :3].T
        x, y, z = (seen + view.world_to_camera[:3, 3]).T
        pixels = photo.pixels.numpy()
        height, width = pixels.shape[:2]
        if view.lens.is_panorama:
            columns = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width
            rows = (np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5) * height
        else:
            with np.errstate(all="ignore"):
                columns = float(photo.camera.fx) * x / z + float(photo.camera.cx)
                rows = float(photo.camera.fy) * y / z + float(photo.camera.cy)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        inside &= view.lens.is_panorama | (z > 0)
        at = rows[inside].astype(int), columns[inside].astype(int)
        luma = pixels[at][:, :3] @ np.array(LUMA)
        counts = (luma >= CLIPPED[0]) & (luma <= CLIPPED[1])
        if photo.mask is not None:
            counts &= photo.mask.numpy()[at] > 0
        if pixels.shape[2] == 4:
            counts &= pixels[at][:, 3] == 255
        points = tracks.points[part][inside][counts]
        self._points.append(points.astype(np.int64))
        self._views.append(np.full(len(points), index, dtype=np.int64))
        self._values.append(np.log2(luma[counts]))

    def gains(self) -> Vector:
        """Return the gains of photographs, in powers of two, whose median is 0; unknown ones are left out."""
        if not self._values:
            return np.zeros(0)
        points, views = np.concatenate(self._points), np.concatenate(self._views)
        values = np.concatenate(self._values)
        lengths = np.bincount(points, minlength=1)
        shared = lengths[points] > 1
        points, views, values = points[shared], views[shared], values[shared]
        known = np.flatnonzero(np.bincount(views, minlength=len(self.capture.views)) >= FEWEST)
        kept = np.isin(views, known)
        points, views, values = points[kept], views[kept], values[kept]
        if len(known) < 2:
            return np.zeros(0)
        gain = np.zeros(len(self.capture.views))
        for _ in range(ROUNDS):
            of_points = _medians(values - gain[views], points)
            gain = gain + _medians(values - gain[views] - of_points[points], views, len(gain))
            gain -= np.median(gain[known])
        return gain[known]

    def spread(self) -> float | None:
        """Return the difference of gains between 10 and 90 % of the photographs; None where it is not known."""
        gains = self.gains()
        if len(gains) < 2:
            return None
        low, high = np.percentile(gains, [10, 90])
        return float(high - low)


def _medians(values: Vector, groups: NDArray[np.int64], count: int | None = None) -> Vector:
    """The median of the values of each group, 0 for one without any."""
    count = int(groups.max()) + 1 if count is None else count
    order = np.lexsort((values, groups))
    bounds = np.searchsorted(groups[order], np.arange(count + 1))
    first, last = bounds[:-1], bounds[1:]
    filled = last > first
    middle = (first + last) // 2
    below = np.where((last - first) % 2 == 0, middle - 1, middle)
    ordered = values[order]
    found = np.zeros(count)
    found[filled] = (ordered[middle[filled]] + ordered[below[filled]]) / 2
    return found
