"""The page itself: template, style, scripts and numbers put together into one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.rendering.formula import ALPHA_MAX, ALPHA_MIN, EPS2D, JACOBIAN_LIMIT
from splatlearn.viewer.contents import ViewedImage, palettes

SCRIPTS = ("scene.js", "projection.js", "painter.js", "colours.js", "picking.js", "stage.js", "panel.js", "main.js")
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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("splatlearn.viewer", "web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = _script(), _web_file("view.css")
    return environment.get_template("view.html.j2").render(
        title=title,
        lead=lead,
        data={
            "formula": {"alphaMax": ALPHA_MAX, "alphaMin": ALPHA_MIN, "eps2d": EPS2D, "jacobianLimit": JACOBIAN_LIMIT},
            "palettes": palettes(),
            "images": [image.packed() for image in images],
        },
        names=[image.name for image in images],
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def _script() -> str:
    body = "\n".join(_web_file(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();'


def _web_file(name: str) -> str:
    return files("splatlearn.viewer").joinpath("web", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What the content security policy knows an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
