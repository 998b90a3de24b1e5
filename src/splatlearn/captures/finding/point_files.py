"""Points of a PLY file, and points that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from splatlearn.captures.capture import Points, Tracks
from splatlearn.core.errors import FormatError, Malformed
from splatlearn.core.ply.container import parse_ply

GREY = 128
AXES = ("x", "y", "z")
COLORS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
LARGEST_COORDINATE = 1e12


def read_point_file(path: Path) -> Points:
    """Read the points of a PLY file; points without colours are grey.

    Raises FormatError for a file that is damaged or has no points.
    """
    try:
        table = parse_ply(path.read_bytes()).tables.get("vertex")
        names = (table.dtype.names or ()) if table is not None else ()
        if table is None or not set(AXES) <= set(names):
            raise Malformed("expected the element vertex with x, y and z, found none")
    except (Malformed, MemoryError) as error:
        raise FormatError(f"{path}: {error or 'not enough memory for what the file holds'}") from None
    with np.errstate(invalid="ignore", over="ignore"):
        xyz = np.stack([table[name].astype(np.float64) for name in AXES], axis=-1)
    colors = next((triple for triple in COLORS if set(triple) <= set(names)), None)
    rgb = np.full((len(table), 3), GREY, dtype=np.uint8)
    if colors is not None:
        values = np.nan_to_num(np.stack([table[name].astype(np.float64) for name in colors], axis=-1))
        scale = 255.0 if table.dtype[colors[0]].kind == "f" and values.max(initial=0.0) <= 1.0 else 1.0
        rgb = (values * scale).round().clip(0, 255).astype(np.uint8)
    return keep_finite(Points(xyz, rgb))[0]


def keep_finite(points: Points) -> tuple[Points, int]:
    """Leave out points with NaN or huge coordinates, and say how many."""
    with np.errstate(invalid="ignore"):
        fine = np.asarray((np.abs(points.xyz) <= LARGEST_COORDINATE).all(axis=-1))
    if fine.all():
        return points, 0
    return select_points(points, fine), int((~fine).sum())


def select_points(points: Points, keep: np.ndarray) -> Points:
    """Return the points [N] for which `keep` is True, with their tracks."""
    tracks = points.tracks
    if tracks is not None:
        seen = keep[tracks.points]
        starts = np.concatenate([[0], np.cumsum(tracks.lengths[keep])])
        tracks = Tracks(starts, tracks.views[seen], tracks.pixels[seen])
    errors = None if points.errors is None else points.errors[keep]
    return Points(points.xyz[keep], points.rgb[keep], errors, tracks)
