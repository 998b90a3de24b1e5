"""One browser for the tests of this folder, and pages to look at."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from splatlearn.viewer import ViewedImage, ViewedScene, write_scene_view, write_view
from viewer.browser import Visit, running_browser
from viewer.walked import VIEWPORT, scene_gaussians, scene_of, settled


@pytest.fixture(scope="package")
def browser() -> Iterator:
    # No longer than this folder's tests: Playwright keeps an event loop running, which no other test should meet.
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


@pytest.fixture
def walk(browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Writes a page of a scene and opens it; afterwards sees to it that nothing went wrong on the way."""
    opened: list[Visit] = []

    def open_page(scene: ViewedScene, title: str = "title", script: str = "") -> Visit:
        path = write_scene_view(tmp_path / f"walk-{len(opened)}.html", title, "lead", scene)
        opened.append(Visit(browser, path, *VIEWPORT, script=script))
        settled(opened[-1])
        return opened[-1]

    yield open_page
    for each in opened:
        assert each.complaints == []
        assert [url for url in each.requests if not url.startswith(("file:", "data:", "blob:"))] == []
        each.close()


@pytest.fixture(scope="package")
def canvas_size(browser, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """Width and height of the canvas of a scene in the viewport of these tests."""
    scene = scene_of(scene_gaussians(torch.Generator().manual_seed(0), 5, 0))
    page = Visit(browser, write_scene_view(tmp_path_factory.mktemp("size") / "page.html", "", "", scene), *VIEWPORT)
    height, width = page.canvas_size()
    page.close()
    return width, height
