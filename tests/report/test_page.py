"""Pages: what is escaped, what is inlined, and that half a page is never seen."""

from html.parser import HTMLParser
from io import BytesIO

import matplotlib.figure
import pytest
from PIL import Image

from splatlearn.report import Code, Figure, KeyValues, Section, Table, write_page
from splatlearn.report.parts.page import format_value, render_page

NASTY = "<script>alert('x')</script> & \"q\" $\\frac{ --> 日本"
VOID = {"meta", "img", "link", "br"}


class Outline(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that are not closed in their order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [value for _, each, value in self.attributes if each == name]


def png(width=5, height=3):
    buffer = BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def drawing(text="a"):
    figure = matplotlib.figure.Figure(figsize=(2, 1))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#1f6f8b")
    axes.set_title(text, parse_math=False)
    return figure


def everything(text):
    blocks = [
        Figure(drawing(text), alt=text, caption=text),
        Figure(png(), alt=text, caption=text),
        Table([text], [[text]], caption=text),
        KeyValues({text: text}),
        Code(text),
    ]
    return [Section(text, text, blocks) for _ in range(3)]


def test_every_text_is_escaped():
    outline = Outline(render_page(NASTY, NASTY, everything(NASTY)))
    assert "script" not in outline.tags
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert outline.values("alt") == [NASTY] * 3
    # title, h1, lead, and for each section: contents, h2, intro, 3 captions, figure title, cells, name, value, code
    assert "".join(outline.text).count(NASTY) == 3 + 3 * (3 + 3 + 1 + 2 + 2 + 1)


def test_nothing_is_loaded():
    html = render_page("a", "b", everything("c"))
    outline = Outline(html)
    assert not {"script", "link", "iframe", "object"} & set(outline.tags)
    links = [link for name in ("src", "href", "xlink:href") for link in outline.values(name)]
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "default-src 'none'" in html
    assert "@import" not in html


def test_ids_are_unique_and_all_references_resolve():
    outline = Outline(render_page("a", "b", everything("c")))
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    references = [link for link in outline.values("href") + outline.values("xlink:href") if link.startswith("#")]
    clips = [value[5:-1] for value in outline.values("clip-path")]
    assert clips
    assert {link[1:] for link in references} | set(clips) <= set(ids)


def test_figures_follow_the_colours_of_the_page():
    html = render_page("a", "", [Section("s", "", [Figure(drawing("#1f6f8b"), alt="")])])
    assert "stroke: var(--accent)" in html
    assert ">#1f6f8b</text>" in html
    assert "prefers-color-scheme: dark" in html


def test_same_sections_same_bytes():
    assert render_page("a", "b", everything("c")) == render_page("a", "b", everything("c"))


def test_png_has_its_size():
    outline = Outline(render_page("a", "", [Section("s", "", [Figure(png(5, 3), alt="x")])]))
    assert ("img", "width", "5") in outline.attributes
    assert ("img", "height", "3") in outline.attributes


def test_page_is_renamed_into_place(tmp_path):
    path = write_page(tmp_path / "new" / "page.html", "Grüße", "", [])
    assert path.read_text(encoding="utf-8").count("Grüße") == 2
    write_page(path, "Second", "", [])
    assert "Grüße" not in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]


def test_failure_leaves_the_old_page(tmp_path):
    path = write_page(tmp_path / "page.html", "First", "", [])

    class Torn:
        def __str__(self):
            raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        write_page(path, "Second", "", [Section("s", "", [KeyValues({"a": Torn()})])])
    assert "First" in path.read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 1


def test_numbers_are_right_aligned_by_column():
    rows = [["a", None, True], ["b", 2.0, False]]
    assert Table(["x", "y", "z"], rows).numeric == [False, True, False]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (False, "no"), (12345, "12345"), (0.000123456, "0.0001235"), ((1, 0.5), "1, 0.5"),
     ([], "–"), (float("nan"), "nan"), ("a", "a")],
)  # fmt: skip
def test_values_are_written_as_a_person_would(value, text):
    assert format_value(value) == text


def test_bad_blocks_are_named(no_shape_checks):
    with pytest.raises(ValueError, match="rows: expected 2 cells like columns, got 1 in row 1"):
        Table(["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="image: expected the bytes of a PNG, JPEG or WebP"):
        Figure(b"GIF89a", alt="")
    with pytest.raises(TypeError, match="image: expected a matplotlib figure or the bytes of a picture, got str"):
        Figure("photo.png", alt="")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("cell", "kept"),
    [("26.6 ± 2.3", True), ("+10.1 ± 0.2", True), ("−1 ± 0.2", True), ("a ± b", False), ("26.6", False), (None, False)],
)
def test_a_number_and_its_deviation_stay_on_one_line(cell, kept):
    page = render_page("", "", [Section("s", "", [Table(["x"], [[cell]])])])
    assert ('<td class="nowrap">' in page) == kept
