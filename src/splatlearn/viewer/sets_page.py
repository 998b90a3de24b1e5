"""The page of sets: what a model sees of objects, what it makes of that, and the whole objects, turning together."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from splatlearn.core.cameras.paths import AWAY, FIELD_OF_VIEW, outside_view
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN, Gaussians
from splatlearn.viewer.html import FORMULA, render_html
from splatlearn.viewer.scene_contents import ViewedScene

SCRIPTS = (
    "gl.js",
    "walk/bundle.js",
    "walk/sorter.js",
    "walk/pose.js",
    "walk/shaders.js",
    "walk/painter.js",
    "walk/stage.js",
    "sets/main.js",
)
"""The page's scripts in their order; they share one scope."""
PARTS = (("masked", "masked"), ("reconstructed", "reconstructed"), ("whole", "whole"))
"""Names of the three sets, and what the page calls them."""
UP = (0.0, -1.0, 0.0)
MARGIN = 1.05
"""Radius of the ball that a view shows, in that of the object."""
RAMP_STOPS = 33


@dataclass(frozen=True, eq=False)
class ViewedSets:
    """The three sets of an object.

    - `name`, `says`: any text; the second stands below the pictures.
    - `masked` [V]: what a model sees; `reconstructed` [R]: what it makes of that; `whole` [K]: the object. All in one
      frame, with −y up, with `sh` up to degree 3 or three `colors`.

    Raises InputError as `ViewedScene` does, naming the set, and for other primitives than Gaussians.
    """

    name: str
    masked: Gaussians
    reconstructed: Gaussians
    whole: Gaussians
    says: str = ""

    def __post_init__(self) -> None:
        for part, _ in PARTS:
            gaussians: Gaussians = getattr(self, part)
            if gaussians.primitive != GAUSSIAN:
                raise InputError(f"{part}: expected Gaussians, got the primitive {gaussians.primitive!r}")
            try:
                self.scene(part)
            except InputError as error:
                raise InputError(f"{part}: {error}") from error

    def scene(self, part: str) -> ViewedScene:
        """One of the sets as the scene of a page."""
        return ViewedScene(self.name, getattr(self, part))

    def packed(self) -> dict[str, Any]:
        """All of it as JSON; sets are SOG bundles as base64. The view is one from outside of the whole object."""
        means = self.whole.means.detach().cpu().double()
        middle = (means.amin(dim=0) + means.amax(dim=0)) / 2
        radius = max(float((means - middle).norm(dim=1).max()), 1e-6)
        # From so far away a view shows the whole ball around it.
        away = MARGIN * radius / math.sin(math.radians(FIELD_OF_VIEW) / 2)
        return {
            "name": self.name,
            "says": self.says,
            "up": list(UP),
            "radius": radius,
            "near": 0.01 * radius,
            "view": outside_view(middle, away / AWAY, UP).flatten().tolist(),
            "away": away,
            "focal": 0.5 / math.tan(math.radians(FIELD_OF_VIEW) / 2),
            "sets": {
                part: {
                    "bundle": base64.b64encode(self.scene(part).bundle()).decode("ascii"),
                    "count": getattr(self, part).count,
                }
                for part, _ in PARTS
            },
        }


def write_sets_view(
    path: str | Path,
    title: str,
    lead: str,
    objects: Sequence[ViewedSets],
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Path:
    """Write a self-contained page (HTML, WebGL2) on which the three sets of objects turn together; return its path.

    A reader chooses the object, turns all three by pointer, keys and touch, and stops them. The page loads nothing and
    runs no script but its own; all text is escaped; it is written beside and renamed. Missing folders are made. Raises
    InputError for no objects.
    """
    if not objects:
        raise InputError("objects: expected at least one to show, got none")
    packed = [each.packed() for each in objects]
    ramp = matplotlib.colormaps["inferno"](np.linspace(0, 1, RAMP_STOPS))[:, :3].round(4).tolist()
    page = render_html(
        "sets/sets.html.j2",
        SCRIPTS,
        ("view.css", "walk/walk.css", "sets/sets.css"),
        title=title,
        lead=lead,
        parts=PARTS,
        objects=packed,
        data={"formula": FORMULA, "ramp": ramp, "background": list(background), "objects": packed},
    )
    target = Path(path)
    write_whole(target, page)
    return target
