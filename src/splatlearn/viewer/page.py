"""The page of images: template, style, scripts and numbers put together into one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.viewer.contents import ViewedImage, palettes
from splatlearn.viewer.html import FORMULA, render_html

SCRIPTS = (
    "gl.js",
    "scene.js",
    "projection.js",
    "painter.js",
    "colours.js",
    "picking.js",
    "stage.js",
    "panel.js",
    "main.js",
)
"""The page's scripts in their order; they share one scope."""


def write_view(path: str | Path, title: str, lead: str, images: Sequence[ViewedImage]) -> Path:
    """Write a self-contained page (HTML, WebGL2) that shows the Gaussians of images, and return its path.

    The page loads nothing and runs no script but its own: a content security policy forbids both. All text is escaped.
    It is written beside and renamed, so that a reader never meets half of it. Missing folders are made. Raises
    ValueError when there are no images.
    """
    target = Path(path)
    write_whole(target, render_view(title, lead, images))
    return target


def render_view(title: str, lead: str, images: Sequence[ViewedImage]) -> str:
    """The HTML of a page (see `write_view`)."""
    if not images:
        raise InputError("images: expected at least one to show, got none")
    return render_html(
        "view.html.j2",
        SCRIPTS,
        ("view.css",),
        title=title,
        lead=lead,
        data={"formula": FORMULA, "palettes": palettes(), "images": [image.packed() for image in images]},
        names=[image.name for image in images],
    )
