"""A report page: sections of blocks, written as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import jinja2
import matplotlib.figure
from markupsafe import Markup
from PIL import Image

from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.report.parts.svg import themed_svg

SIGNATURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
"""First bytes of a picture and its type; WebP may move."""


@dataclass(frozen=True)
class Figure:
    """A picture with a caption.

    - `image`: a matplotlib figure, inlined as SVG that follows the page's colours, or the bytes of a PNG, JPEG or WebP.
    - `alt`: what is to be seen, for those who cannot see it.
    - `caption`: what it means.

    Raises TypeError for anything else and InputError for bytes of another format.
    """

    kind: ClassVar[str] = "figure"
    image: matplotlib.figure.Figure | bytes
    alt: str
    caption: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.image, matplotlib.figure.Figure):
            return
        if not isinstance(self.image, bytes):
            got = type(self.image).__name__
            raise TypeError(f"image: expected a matplotlib figure or the bytes of a picture, got {got}")
        if not self._type:
            raise InputError(
                "image: expected the bytes of a PNG, JPEG or WebP, got another format; save it as PNG first"
            )

    def svg(self, prefix: str) -> Markup | None:
        """The inline SVG of a matplotlib figure, with `prefix` before its ids; None for other pictures."""
        return themed_svg(self.image, prefix) if isinstance(self.image, matplotlib.figure.Figure) else None

    @property
    def _type(self) -> str | None:
        assert isinstance(self.image, bytes)
        return next((name for first, name in SIGNATURES.items() if self.image.startswith(first)), None)

    @property
    def data_uri(self) -> str:
        """The picture as a data URI."""
        if not isinstance(self.image, bytes):
            raise TypeError(
                "data_uri: expected a figure made of the bytes of a picture, got a matplotlib figure; use svg()"
            )
        return f"data:image/{self._type};base64," + base64.b64encode(self.image).decode("ascii")

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return self._size[0]

    @property
    def height(self) -> int:
        """Height of the picture in pixels."""
        return self._size[1]

    @cached_property
    def _size(self) -> tuple[int, int]:
        if not isinstance(self.image, bytes):
            return 0, 0
        with Image.open(BytesIO(self.image)) as opened:
            return opened.size


@dataclass(frozen=True)
class Table:
    """Rows under named columns; numbers are set to the right.

    Raises InputError when a row has another length than `columns`.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InputError(
                    f"rows: expected {len(self.columns)} cells like columns, got {len(row)} in row {number}"
                )

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether it holds numbers."""
        return [any(_is_number(row[place]) for row in self.rows) for place in range(len(self.columns))]


@dataclass(frozen=True)
class KeyValues:
    """Names with one value each."""

    kind: ClassVar[str] = "key_values"
    values: Mapping[str, object]


@dataclass(frozen=True)
class Code:
    """Text to copy, such as a command."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Link:
    """A link to a file beside the page: its path from the page's folder, and the text to click on."""

    kind: ClassVar[str] = "link"
    href: str
    text: str


Block = Figure | Table | KeyValues | Code | Link


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph that says what follows, and blocks in their order."""

    title: str
    intro: str = ""
    blocks: Sequence[Block] = field(default_factory=tuple)


def write_page(
    path: str | Path, title: str, lead: str, sections: Sequence[Section], reload_every: float | None = None
) -> Path:
    """Write a self-contained HTML page and return its path.

    The page has no scripts and loads nothing; all text is escaped. It is written beside and renamed, so that a reader
    never meets half of it. Missing folders are made.

    `reload_every`: seconds after which a browser loads the page anew, for one that is rewritten; by default never.
    """
    target = Path(path)
    write_whole(target, render_page(title, lead, sections, reload_every))
    return target


def render_page(title: str, lead: str, sections: Sequence[Section], reload_every: float | None = None) -> str:
    """The HTML of a page (see `write_page`)."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("splatlearn.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = format_value
    environment.tests["figures"] = _is_figures
    template = environment.get_template("report.html.j2")
    return template.render(title=title, lead=lead, sections=sections, reload_every=reload_every)


def format_value(value: object) -> str:
    """A value as a person would write it: four significant digits, yes and no, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(format_value(each) for each in value) or "–"
    return str(value)


def _is_figures(value: object) -> bool:
    """Whether a cell is a number with its deviation, which no line end may part."""
    return isinstance(value, str) and re.fullmatch(r"[+−-]?[\d.,]+ ± [\d.,]+", value) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
