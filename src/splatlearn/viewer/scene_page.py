"""The page of a scene: one HTML file in which a person walks around."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from splatlearn.core.disk.atomic import write_whole
from splatlearn.viewer.html import FORMULA, render_html
from splatlearn.viewer.scene_contents import ViewedScene

SCRIPTS = (
    "gl.js",
    "walk/bundle.js",
    "walk/sorter.js",
    "walk/pose.js",
    "walk/shaders.js",
    "walk/painter.js",
    "walk/frusta.js",
    "walk/ply.js",
    "walk/stage.js",
    "walk/main.js",
)
"""The page's scripts in their order; they share one scope."""
RAMP_STOPS = 33
KEPT = "The scene as this page holds it: positions to 16 bits, everything else to 8."


def write_scene_view(path: str | Path, title: str, lead: str, scene: ViewedScene) -> Path:
    """Write a self-contained page (HTML, WebGL2) of a scene, and return its path.

    A reader walks around in the scene, visits the cameras of its photographs, compares, and keeps the scene as PLY or
    SOG. The page loads nothing and runs no script but its own: a content security policy forbids both. All text is
    escaped. It is written beside and renamed, so that a reader never meets half of it. Missing folders are made.
    """
    target = Path(path)
    write_whole(target, render_scene_view(title, lead, scene))
    return target


def render_scene_view(title: str, lead: str, scene: ViewedScene) -> str:
    """The HTML of a page (see `write_scene_view`)."""
    ramp = matplotlib.colormaps["inferno"](np.linspace(0, 1, RAMP_STOPS))[:, :3].round(4).tolist()
    data = scene.packed(ramp, FORMULA)
    facts = [
        ("Gaussians", f"{scene.gaussians.count:,}"),
        ("Harmonics", f"degree {scene.gaussians.degree}"),
        *scene.facts,
    ]
    return render_html(
        "walk/walk.html.j2",
        SCRIPTS,
        ("view.css", "walk/walk.css"),
        title=title,
        lead=lead,
        data=data,
        cameras=data["cameras"],
        snapshots=data["snapshots"],
        kept=KEPT,
        facts=facts,
    )
