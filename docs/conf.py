"""The documentation's site: `make docs`."""

from __future__ import annotations

import re
from importlib.metadata import version as installed

project = "splatlearn"
author = "the splatlearn developers"
copyright = "the splatlearn developers, Apache-2.0"
release = version = installed("splatlearn")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "**/README.md"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# The page of a class shows how it is made once, above its fields.
autodoc_class_signature = "mixed"
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "splatlearn"
html_copy_source = False
html_show_sourcelink = False

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def _from_markdown(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are written as they are read in an editor: turn their code and stars into reStructuredText's."""
    for number, line in enumerate(lines):
        parts = _CODE.split(line)
        # Odd parts are code.
        shown = [f"``{part}``" if place % 2 else part.replace("*", r"\*") for place, part in enumerate(parts)]
        lines[number] = "".join(shown)


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _from_markdown)  # pyright: ignore[reportAttributeAccessIssue]
