"""The page of panoramas: a person looks around in them as a camera would, and compares."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rendering.many import many
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.rendering import render
from splatlearn.viewer import ViewedPanorama, write_panorama_view
from splatlearn.viewer.html import web_file
from splatlearn.viewer.panorama_page import SCRIPTS
from viewer.browser import Visit
from viewer.pictured import psnr

NASTY = "<img src=x onerror=alert(1)></script>&amp; 日本"


def panorama(seed: int, height: int = 256) -> Tensor:
    """A rendered panorama in bytes."""
    gaussians = many(torch.Generator().manual_seed(seed), 60)
    color = render(gaussians, Camera.panorama(height, 2 * height), (0.5, 0.4, 0.3), depth=False).color.clamp(0, 1)
    return (255 * color).round().byte().permute(1, 2, 0)


def seen(pixels: Tensor, look: Camera) -> Tensor:
    """What a pinhole camera shows of a panorama, [3, H, W]."""
    rows, columns = torch.meshgrid(torch.arange(look.height) + 0.5, torch.arange(look.width) + 0.5, indexing="ij")
    rays = look.unproject(torch.stack([columns, rows], -1).reshape(-1, 2), torch.ones(look.height * look.width))
    around = Camera.panorama(pixels.shape[0], pixels.shape[1])
    x, y, z = rays.unbind(-1)
    u, v = around.projection.project(x, y, z, around.lens(z))
    grid = torch.stack([2 * u / around.width - 1, 2 * v / around.height - 1], -1)[None, None]
    # A column more on each side, which closes the seam.
    picture = torch.nn.functional.pad(pixels.permute(2, 0, 1)[None] / 255, (1, 1, 0, 0), mode="circular")
    grid[..., 0] *= around.width / (around.width + 2)
    found = torch.nn.functional.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    return found[0, :, 0].reshape(3, look.height, look.width)


def looking(size: tuple[int, int], right: float, up: float, angle: float = 1.2) -> Camera:
    """The page's view: `size` (height, width); radians to the right and up, and vertical angle of view."""
    turn = torch.tensor([[math.cos(right), 0, -math.sin(right)], [0, 1, 0], [math.sin(right), 0, math.cos(right)]])
    tilt = torch.tensor([[1, 0, 0], [0, math.cos(up), math.sin(up)], [0, -math.sin(up), math.cos(up)]])
    view = torch.eye(4)
    view[:3, :3] = tilt @ turn
    focal = size[0] / 2 / math.tan(angle / 2)
    return Camera(size[1], size[0], focal, focal, size[1] / 2, size[0] / 2, "pinhole", view)


@pytest.fixture
def around(browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Writes a page of panoramas and opens it; afterwards sees to it that nothing went wrong on the way."""
    opened: list[Visit] = []

    def open_page(*panoramas: ViewedPanorama, title: str = "title", **options) -> Visit:
        path = write_panorama_view(tmp_path / f"around-{len(opened)}.html", title, "lead", panoramas)
        opened.append(Visit(browser, path, **options))
        ready(opened[-1])
        return opened[-1]

    yield open_page
    for each in opened:
        assert each.complaints == []
        assert [url for url in each.requests if not url.startswith(("file:", "data:"))] == []
        each.close()


def ready(page: Visit) -> None:
    page.settle()
    page.until("document.documentElement.dataset.settled === 'true'")


def size_of(page: Visit) -> tuple[int, int]:
    height, width = page.canvas_size()
    return height, width


def test_the_page_shows_what_a_camera_in_the_middle_sees(around: Callable[..., Visit]) -> None:
    pixels = panorama(0)
    page = around(ViewedPanorama("one", pixels))
    assert psnr(page.picture(), seen(pixels, looking(size_of(page), 0.0, 0.0))) > 34
    for _ in range(9):
        page.press("ArrowRight", "ArrowUp")
    ready(page)
    assert psnr(page.picture(), seen(pixels, looking(size_of(page), math.pi / 4, math.pi / 4))) > 34
    page.press("Home", *["ArrowLeft"] * 36)  # to the seam
    ready(page)
    assert "180° right, 0° up" in page.text("#facts").replace("-", "")
    assert psnr(page.picture(), seen(pixels, looking(size_of(page), math.pi, 0.0))) > 34
    assert not page.page.locator("#compare").is_enabled()


def test_what_is_dragged_stays_under_the_pointer(around: Callable[..., Visit]) -> None:
    pixels = panorama(1)
    page = around(ViewedPanorama("one", pixels))
    box = page.page.locator("canvas").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.page.mouse.move(*middle)
    page.page.mouse.down()
    page.page.mouse.move(middle[0] - 150, middle[1], steps=5)
    page.page.mouse.up()
    ready(page)
    right = 150 / box["height"] * 1.2
    assert psnr(page.picture(), seen(pixels, looking(size_of(page), right, 0.0))) > 30
    page.page.locator("canvas").hover()
    page.page.mouse.wheel(0, -200)
    ready(page)
    narrow = looking(size_of(page), right, 0.0, 1.2 * math.exp(-200 * 0.0015))
    assert psnr(page.picture(), seen(pixels, narrow)) > 28


def test_a_rendering_is_compared_with_its_photograph(around: Callable[..., Visit]) -> None:
    made, taken = panorama(2), panorama(3)
    page = around(ViewedPanorama("one", made), ViewedPanorama(NASTY, made, taken, 21.5, held_out=True))
    page.press("Period")
    ready(page)
    assert page.text("#name") == NASTY and "held out · 21.50 dB" in page.text("#facts")
    page.set(compare="photograph", wipe=0.25)
    ready(page)
    shown, look = page.picture(), looking(size_of(page), 0.0, 0.0)
    edge = shown.shape[2] // 4
    assert psnr(shown[..., : edge - 25], seen(taken, look)[..., : edge - 25]) > 33
    assert psnr(shown[..., edge + 25 :], seen(made, look)[..., edge + 25 :]) > 33
    page.set(compare="error")
    ready(page)
    difference = (4 * (seen(made, look) - seen(taken, look)).abs().mean(0)).clamp(0, 1)
    assert float((page.picture().mean(0) - difference).abs().mean()) < 0.03


def test_the_page_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    path = write_panorama_view(tmp_path / "new" / "page.html", NASTY, NASTY, [ViewedPanorama(NASTY, panorama(0))])
    text = path.read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', text) == [] and "<img src=x" not in text
    assert all("</" not in web_file(name) for name in SCRIPTS)


@pytest.mark.usefixtures("no_shape_checks")
def test_pictures_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match="photograph: expected shape .*, that of the rendering"):
        ViewedPanorama("", panorama(0), panorama(0, 128))
    with pytest.raises(InputError, match="rendering: expected shape .* of torch.uint8"):
        ViewedPanorama("", panorama(0).float())  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="panoramas: expected at least one"):
        write_panorama_view("page.html", "", "", [])
