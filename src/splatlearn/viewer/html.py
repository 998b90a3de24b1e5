"""Pages as one HTML file: a template with its styles, scripts and numbers, and the policy that forbids all else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from splatlearn.rendering.formula import ALPHA_MAX, ALPHA_MIN, EPS2D, JACOBIAN_LIMIT

FORMULA = {"alphaMax": ALPHA_MAX, "alphaMin": ALPHA_MIN, "eps2d": EPS2D, "jacobianLimit": JACOBIAN_LIMIT}
"""The constants of the renderer, by the names that the scripts know."""


def render_html(template: str, scripts: Sequence[str], styles: Sequence[str], **context: Any) -> str:
    """Render a template of the folder `web/` with scripts and styles of it, whose text stands in the page.

    All text of the context is escaped. The template has `script`, `style` and their hashes for its content security
    policy beside the context. The scripts share one scope.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("splatlearn.viewer", "web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    body = "\n".join(web_file(name) for name in scripts)
    script = f'(() => {{\n"use strict";\n{body}\n}})();'
    style = "\n".join(web_file(name) for name in styles)
    return environment.get_template(template).render(
        **context,
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def web_file(name: str) -> str:
    """The text of a file of the folder `web/`, by its path in it."""
    return files("splatlearn.viewer").joinpath("web", *name.split("/")).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash that identifies an inline script or style in the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
