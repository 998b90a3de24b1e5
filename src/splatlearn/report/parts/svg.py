"""Matplotlib figures as inline SVG that follows the colours of the page."""

from __future__ import annotations

import io
import re
import warnings

import matplotlib
import matplotlib.figure
from markupsafe import Markup

from splatlearn.report.parts.style import THEME


def themed_svg(figure: matplotlib.figure.Figure, prefix: str) -> Markup:
    """A figure as SVG markup for inlining.

    Text stays text, the background is transparent, the colours of `THEME` become CSS variables, and every id begins
    with `prefix`, so that several figures can share a page. The same figure gives the same bytes.
    """
    buffer = io.StringIO()
    # The salt makes ids reproducible; without fonttype "none" every letter would be a path.
    text = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "splatlearn"})
    with text, warnings.catch_warnings():
        # The browser draws the text, with fonts of its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', lambda match: match.group(1) + prefix, svg)
    svg = re.sub(r"<svg [^>]*>", _responsive_root, svg, count=1)
    return Markup(_in_style_attributes(svg))


def _responsive_root(match: re.Match[str]) -> str:
    root = match.group(0)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', root)
    assert size is not None, "matplotlib writes a viewBox"
    # Points to CSS pixels; the page limits the width further where the screen is narrow.
    width = float(size.group(1)) * 4 / 3
    return f'<svg viewBox="{size.group(0)[9:-1]}" width="{width:.0f}" xmlns:xlink="http://www.w3.org/1999/xlink">'


def _in_style_attributes(svg: str) -> str:
    """Replace the theme's colours, in style attributes only: a photo's name may look like a colour."""

    def replace(match: re.Match[str]) -> str:
        style = match.group(0)
        for name, color in THEME.items():
            style = style.replace(color, f"var(--{name})")
        # Arrays are enlarged before they are drawn, so the browser may smooth what it shrinks.
        return style.replace("image-rendering:crisp-edges;image-rendering:pixelated", "")

    return re.sub(r'\bstyle="[^"]*"', replace, svg)
