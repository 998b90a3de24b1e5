"""Reprojection errors and depths of points at their observations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.capture import Capture
from splatlearn.captures.lenses import Lens


def observation_errors(capture: Capture) -> NDArray[np.float64]:
    """Return the distance [M] in pixels between each observation of the capture's tracks and its point's projection.

    NaN for points behind their camera. Empty for captures without tracks.
    """
    tracks = capture.points.tracks
    if tracks is None:
        return np.zeros(0)
    errors = np.full(len(tracks.views), np.nan)
    order = np.argsort(tracks.views, kind="stable")
    bounds = np.searchsorted(tracks.views[order], np.arange(len(capture.views) + 1))
    owners = tracks.points
    for index, view in enumerate(capture.views):
        part = order[bounds[index] : bounds[index + 1]]
        pose = view.world_to_camera
        seen = capture.points.xyz[owners[part]] @ pose[:3, :3].T + pose[:3, 3]
        errors[part] = np.linalg.norm(view.lens.project(seen) - tracks.pixels[part], axis=-1)
    return errors


def track_errors(capture: Capture) -> NDArray[np.float64]:
    """Return the mean error [N] in pixels of each point over its observations, which COLMAP stores; NaN without any."""
    tracks = capture.points.tracks
    if tracks is None:
        return np.full(len(capture.points), np.nan)
    lengths = tracks.lengths
    sums = np.bincount(tracks.points, weights=observation_errors(capture), minlength=len(capture.points))
    return np.divide(sums, lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)


@dataclass(frozen=True, eq=False)
class ObservedDepths:
    """Depths of the points that one view of a capture observes.

    - `pixels` [N, 2]: where they were seen; `depths` [N]: along the camera's axis, in a panorama the distance, units of
      the capture's world, above 0; `weights` [N]: how far each is to be believed, from 0 to 1.
    """

    pixels: NDArray[np.float64]
    depths: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.depths)


class TrackDepths:
    """The depths of a capture's points, view by view.

    An observation weighs exp(−(e / ē)²), e being its reprojection error in pixels and ē the mean of all
    observations (Deng et al. 2022, DS-NeRF, equation 5), times 1 − 1 / L for points seen in L photographs.
    """

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        tracks = capture.points.tracks
        if tracks is None:
            return
        self._order = np.argsort(tracks.views, kind="stable")
        self._bounds = np.searchsorted(tracks.views[self._order], np.arange(len(capture.views) + 1))
        self._owners = tracks.points
        errors = observation_errors(capture)
        mean = float(errors[np.isfinite(errors)].mean()) if np.isfinite(errors).any() else 0.0
        shares = np.square(errors / mean) if mean > 0 else np.where(np.isfinite(errors), 0.0, np.nan)
        self._weights = np.exp(-shares) * (1.0 - 1.0 / np.maximum(1, tracks.lengths))[self._owners]

    def of(self, index: int, pinhole: Lens | None = None) -> ObservedDepths:
        """Return what the view of an index observes.

        `pinhole`: the lens whose pixels are wanted, such as the one that undistorted photographs have; by default the
        view's own. Points behind the camera, and those that a lens cannot place, are left out.
        """
        tracks, view = self.capture.points.tracks, self.capture.views[index]
        if tracks is None:
            return ObservedDepths(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
        part = self._order[self._bounds[index] : self._bounds[index + 1]]
        pose, pixels = view.world_to_camera, tracks.pixels[part]
        points = self.capture.points.xyz[self._owners[part]] @ pose[:3, :3].T + pose[:3, 3]
        depths = np.linalg.norm(points, axis=1) if view.lens.is_panorama else points[:, 2]
        if pinhole is not None:
            pixels = pinhole.project(view.lens.unproject(pixels)).astype(np.float64)
        weights = self._weights[part]
        counts = (depths > 0) & np.isfinite(pixels).all(axis=1) & (weights > 0)
        return ObservedDepths(pixels[counts], depths[counts], weights[counts])
