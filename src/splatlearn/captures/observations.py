"""How far from its observations a point is projected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.capture import Capture


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
