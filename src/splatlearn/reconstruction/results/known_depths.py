"""Known depths of a capture's photographs: maps of a sensor, or else triangulated points."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from splatlearn.captures import Capture, Lens, Photo
from splatlearn.captures.observations import TrackDepths
from splatlearn.core.cameras import Camera
from splatlearn.fitting.terms.targets import DepthPoints, DepthTargets


@runtime_checkable
class Depths(Protocol):
    """Anything that knows depths of photographs."""

    def of(self, photo: Photo) -> DepthTargets | None:
        """Return the known depths of a photograph, as targets of a step with this view alone, or None."""
        ...


class KnownDepths:
    """Depths by photograph, in the frame of a fit.

    `source`: where they come from, "sensor" or "points"; None if no depths are known.
    """

    def __init__(self, capture: Capture) -> None:
        self.scale = capture.to_unit.scale
        self._index = {view.name: index for index, view in enumerate(capture.views)}
        has_maps = any(view.depth_path is not None for view in capture.views)
        self._tracks = TrackDepths(capture) if not has_maps and capture.points.tracks is not None else None
        self.source = "sensor" if has_maps else "points" if self._tracks is not None else None
        self._points: dict[tuple[str, int, int], DepthPoints] = {}

    def of(self, photo: Photo) -> DepthTargets | None:
        """Return the known depths of a photograph, as targets of a step with this view alone, or None."""
        if photo.depth is not None:
            return DepthTargets(photo.depth[None])
        if self._tracks is None:
            return None
        key = (photo.name, photo.camera.width, photo.camera.height)
        if key not in self._points:
            self._points[key] = self._observed(self._tracks, photo)
        points = self._points[key]
        return DepthTargets(points=points) if len(points) else None

    def _observed(self, tracks: TrackDepths, photo: Photo) -> DepthPoints:
        found = tracks.of(self._index[photo.name], _lens(photo.camera))
        return DepthPoints(
            torch.zeros(len(found), dtype=torch.int64),
            torch.from_numpy(found.pixels).float(),
            torch.from_numpy(found.depths * self.scale).float(),
            torch.from_numpy(found.weights).float(),
        )


def _lens(camera: Camera) -> Lens:
    if camera.projection.is_spherical:
        return Lens("EQUIRECTANGULAR", camera.width, camera.height, (camera.width, camera.height))
    fx, fy, cx, cy = (float(each) for each in (camera.fx, camera.fy, camera.cx, camera.cy))
    return Lens.pinhole(camera.width, camera.height, fx, fy, cx, cy)
