"""A headless Chromium for the tests of the page."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # The page around the canvas is put together faster without WebGL's software driver.
    "--disable-gpu-compositing",
]
WIDTH, HEIGHT = 640, 450
"""Of the window: small, because each pixel of a canvas is drawn in software."""
PATIENCE = 300_000
"""Milliseconds: drawing in software on a busy machine takes its time."""
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@contextmanager
def running_browser() -> Iterator:
    """A browser with WebGL2 in software; skips the test where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page is tested in a browser: install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("the page is tested in a browser: no chromium is installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)
        yield browser
        _idle.clear()
        browser.close()


_idle: dict[tuple, list] = {}
"""Pages of closed visits, by browser and kind: to open one takes longer than all else in most tests."""


class Visit:
    """One page in a browser, with everything that it complains about or asks of the network."""

    def __init__(
        self, browser, path: Path, width: int = WIDTH, height: int = HEIGHT, scheme: str = "light", script: str = ""
    ) -> None:
        self.kind = (browser, width, height, scheme, script)
        idle = _idle.setdefault(self.kind, [])
        if idle:
            self.page = idle.pop()
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.mouse.move(0, 0)
        else:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            context.set_default_timeout(PATIENCE)
            # Runs before the page's own scripts.
            context.add_init_script(script)
            self.page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.heard = {
            "pageerror": lambda error: self.complaints.append(str(error)),
            "console": lambda message: self.hear(message.text),
            "dialog": lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()),
            "request": lambda request: self.requests.append(request.url),
        }
        for event, hear in self.heard.items():
            self.page.on(event, hear)
        self.page.goto(path.as_uri())
        self.page.locator("html[data-drawn]").wait_for(state="attached")
        self.settle()

    def hear(self, text: str) -> None:
        """A line of the console; hints of the software driver about its own speed are none of the page's."""
        if "GL Driver Message (OpenGL, Performance" not in text:
            self.complaints.append(text)

    def close(self) -> None:
        for event, hear in self.heard.items():
            self.page.remove_listener(event, hear)
        _idle[self.kind].append(self.page)

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.page.evaluate(SETTLED)

    def until(self, condition: str) -> None:
        """Wait until an expression is true; Playwright's own way is barred by the page's security policy."""
        for _ in range(PATIENCE // 20):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        pytest.fail(f"never became true: {condition}")

    def set(self, **values: object) -> None:
        """Give controls values, as a person does with a slider or a list."""
        for name, value in values.items():
            control = self.page.locator(f"#{name}")
            kind = control.evaluate("element => element.type")
            if kind == "checkbox":
                control.set_checked(bool(value))
            elif kind == "select-one":
                control.select_option(str(value))
            else:
                control.fill(str(value))
        self.settle()

    def press(self, *keys: str) -> None:
        """Press keys in the picture."""
        self.page.focus("canvas")
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def click(self, across: float, down: float) -> None:
        """Click into the picture at shares of its width and height."""
        self.page.locator("canvas").scroll_into_view_if_needed()
        box = self.page.locator("canvas").bounding_box()
        assert box is not None
        self.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
        self.settle()

    def canvas_size(self) -> tuple[int, int]:
        """Height and width of the canvas in its own pixels."""
        return tuple(self.page.locator("canvas").evaluate("canvas => [canvas.height, canvas.width]"))

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return self.page.locator(selector).inner_text()

    def picture(self) -> Tensor:
        """A screenshot of the picture, [3, H, W] in [0, 1]."""
        self.page.evaluate("document.activeElement.blur()")
        self.page.locator("canvas").scroll_into_view_if_needed()
        box = self.page.locator("canvas").bounding_box()
        assert box is not None
        # Text above may end between two pixels; the browser puts the picture on whole ones, halves rounded up.
        whole = {name: math.floor(value + 0.5) for name, value in box.items()}
        shot = self.page.screenshot(clip=whole, animations="disabled")
        pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1) / 255
