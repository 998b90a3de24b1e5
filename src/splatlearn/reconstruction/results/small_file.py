"""A small copy of a reconstruction's scene, of at most a given size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from splatlearn.captures import Photographs, View
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians

if TYPE_CHECKING:
    from splatlearn.compression import Compressed

SMALL = "scene.sl3"
"""The Gaussians in the capture's own coordinates, compressed; with `target_size` alone."""
MOST_CAMERAS = 24
"""Approximate number of photographs, evenly chosen, from whose cameras pictures are compared."""
LONGER_SIDE = 640
"""Largest width or height of these pictures, pixels."""


def cameras_of_views(views: Sequence[View]) -> list[Camera]:
    """Return cameras of some of the photographs, in the capture's own coordinates."""
    chosen = views[:: max(1, len(views) // MOST_CAMERAS)]
    with Photographs(chosen, LONGER_SIDE) as photographs:
        return [photographs.camera(index) for index in range(len(photographs))]


def write_small(
    run: Path,
    gaussians: Gaussians,
    views: Sequence[View],
    size: int,
    background: Literal["black", "white"] = "black",
    filter: str = "point",
) -> Compressed:
    """Write the best compressed file of a scene of at most `size` bytes into the run's folder.

    - `gaussians`: in the capture's coordinates, with those of a sky; `views`: of the photographs that were fitted.
    - `background`, `filter`: of the pictures that are compared.

    Raises InputError where no file is that small.
    """
    # Most runs write none.
    from splatlearn.compression import compress

    cameras = cameras_of_views(views)
    found = compress(gaussians, size, cameras=cameras, background=background, antialiased=filter != "point")
    found.write(run / SMALL)
    return found
