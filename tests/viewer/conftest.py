"""One browser for the tests of a file, and pages to look at."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from splatlearn.viewer import ViewedImage, write_view
from viewer.browser import Visit, running_browser


@pytest.fixture(scope="module")
def browser() -> Iterator:
    # No longer than its tests: Playwright keeps an event loop running, which no other test should meet.
    with running_browser() as running:
        yield running


@pytest.fixture
def visit(browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Writes a page of images and opens it; afterwards sees to it that nothing went wrong on the way."""
    opened: list[Visit] = []

    def open_page(*images: ViewedImage, title: str = "title", **options) -> Visit:
        path = write_view(tmp_path / f"view-{len(opened)}.html", title, "lead", images)
        opened.append(Visit(browser, path, **options))
        return opened[-1]

    yield open_page
    for each in opened:
        assert each.complaints == []
        assert [url for url in each.requests if not url.startswith(("file:", "data:"))] == []
        each.close()
