"""The page around the picture: what a person can do with it on a desk, on a phone, by keyboard, and what it may not."""

import re

import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.rendering import project
from splatlearn.viewer import write_view
from splatlearn.viewer.html import web_file
from splatlearn.viewer.page import SCRIPTS, render_view
from viewer.browser import CHROMIUM, PATIENCE, Visit
from viewer.pictured import psnr, rendered, viewed

NASTY = "<img src=x onerror=alert(1)></script><script>alert('2')</script>&amp; \"q\" 日本"


def test_names_are_text_whatever_they_hold(visit, generator):
    images = [viewed(generator, name=NASTY), viewed(generator, name="plain")]
    page = visit(*images, title=NASTY)
    assert page.text("#name") == NASTY
    assert page.text("h1") == NASTY
    assert page.page.title() == NASTY
    assert page.page.locator(".gallery span").first.text_content() == NASTY
    assert page.page.locator("script").count() == 2
    assert page.page.locator("img[onerror]").count() == 0


def test_no_script_but_its_own_runs(visit, generator):
    page = visit(viewed(generator))
    page.page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'window.foreign = 1';"
        " document.body.append(script); }"
    )
    assert page.page.evaluate("window.foreign") is None
    assert any("Content Security Policy" in text for text in page.complaints)
    page.complaints.clear()


def test_a_thousand_gaussians_fit_in_a_page(tmp_path, generator):
    # Noise is the worst that a compressor can meet.
    image = viewed(generator, count=1024, camera=Camera.gmae(512, 512))
    path = write_view(tmp_path / "new" / "view.html", "title", "lead", [image])
    assert path.stat().st_size < 1_500_000
    assert re.findall(r'(?:src|href)="(?!data:)', path.read_text()) == []
    assert [each.name for each in path.parent.iterdir()] == ["view.html"]


def test_no_script_can_end_its_own_element():
    for name in SCRIPTS:
        assert "</" not in web_file(name), name


def test_there_must_be_something_to_show():
    with pytest.raises(ValueError, match="images: expected at least one to show, got none"):
        render_view("title", "lead", [])


def test_several_images_are_a_gallery(visit, generator):
    first, second = viewed(generator, name="first"), viewed(generator, 30, Camera.gmae(30, 20), "second")
    page = visit(first, second)
    page.set(hideNear=10, across=9)
    page.page.locator(".gallery button").nth(1).focus()
    page.page.keyboard.press("Enter")
    page.settle()
    assert page.text("#name") == "second"
    assert page.text("#facts").replace("\u00a0", " ").startswith("30 Gaussians · 20 × 30 px · ")
    # The view stays; what counts Gaussians begins anew.
    assert page.text("[data-says=across]") == "9°"
    assert page.text("[data-says=hideNear]") == "0 of 30"
    pressed = [button.get_attribute("aria-pressed") for button in page.page.locator(".gallery button").all()]
    assert pressed == ["false", "true"]
    page.press("Home")
    page.set(pixels=True)
    picture = page.picture()
    scale = picture.shape[2] // 20
    assert psnr(picture[:, scale // 2 :: scale, scale // 2 :: scale], rendered(second)) > 45


def test_a_click_picks_what_paints_most_there(visit, generator):
    image = viewed(generator, 300)
    page = visit(image)
    for across, down in ((0.5, 0.5), (0.22, 0.71), (0.9, 0.1)):
        page.click(across, down)
        index, share = most_painting(image, across * 60, down * 40)
        assert page.page.locator("#picked").input_value() == str(index)
        assert page.text("[data-says=share]") == f"paints {round(100 * share)} % of the place you chose"
    readings = dict(line.split("\n") for line in readings_of(page))
    mean, scales = image.gaussians.means[index], image.gaussians.scales[index]
    assert numbers(readings["Mean x, y, z"]) == pytest.approx(mean.tolist(), abs=6e-4)
    assert numbers(readings["Scales"]) == pytest.approx(scales.tolist(), abs=6e-4)
    assert numbers(readings["Opacity"]) == pytest.approx([float(image.gaussians.opacities[index])], abs=6e-4)
    quaternion = image.gaussians.quaternions[index]
    assert numbers(readings["Quaternion w, x, y, z"]) == pytest.approx(
        (quaternion / quaternion.norm()).tolist(), abs=6e-4
    )
    rank = int((image.gaussians.means[:, 2] < mean[2]).sum())
    assert readings["Depth order"] == f"{rank + 1} of 300"
    assert readings["Cluster"] == str(index % 4 + 1)
    page.set(hideFar=300)
    page.click(0.5, 0.5)
    assert (page.page.locator("#picked").input_value(), page.text("#readings")) == ("", "")


def readings_of(page):
    return page.page.locator("#readings > div").evaluate_all(
        "rows => rows.map(row => row.querySelector('dt').textContent + '\\n' + row.querySelector('dd').textContent)"
    )


def numbers(text):
    return [float(each) for each in re.findall(r"-?\d+\.\d+", text.replace("−", "-"))]


def most_painting(image, x, y, kept=None):
    """By brute force: which of the kept Gaussians has the largest weight at a place in pixels, and that weight."""
    kept = torch.arange(image.gaussians.count) if kept is None else torch.tensor(kept)
    kept = kept[image.gaussians.means[kept, 2].argsort(stable=True)]
    splats = project(image.gaussians.select(kept).reshape_batch(1), image.camera)
    dx, dy = (torch.tensor([x, y]) - splats.means2d[0]).unbind(-1)
    a, b, c = splats.conics[0].unbind(-1)
    alpha = (splats.opacities[0] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)).clamp_max(0.999)
    alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)
    weights = alpha * torch.cat([torch.ones(1), (1 - alpha).cumprod(0)[:-1]])
    assert float(weights.max()) > 0
    return int(kept[weights.argmax()]), float(weights.max())


def test_everything_can_be_done_by_keyboard(visit, generator):
    image = viewed(generator)
    page = visit(image)
    order = image.gaussians.means[:, 2].argsort(stable=True).tolist()
    picked = page.page.locator("#picked")
    page.press(".")
    assert picked.input_value() == str(order[0])
    page.press(".", ".", ",")
    assert picked.input_value() == str(order[1])
    page.set(hideNear=5)
    page.press("Escape", ".")
    assert picked.input_value() == str(order[5])
    page.press("Enter")
    assert picked.input_value() == str(most_painting(image, 30, 20, order[5:])[0])
    page.press("Escape")
    assert picked.input_value() == ""
    assert page.text("#readings") == ""
    page.set(picked=12)
    assert f"{order.index(12) + 1} of 60" in page.text("#readings")
    page.press(*["ArrowLeft"] * 30)
    assert page.text("[data-says=across]") == "−60°"
    reached = set()
    page.page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.page.keyboard.press("Tab")
        reached.add(page.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    controls = page.page.locator("input, select, button").evaluate_all(
        "all => all.filter(each => each.offsetParent).map(each => each.id)"
    )
    assert {"CANVAS", *controls} <= reached


PLAY_A_LITTLE = """async () => {
  const painted = () => parseInt(document.querySelector("[data-says=painted]").textContent);
  const button = document.querySelector("#play");
  button.click();
  while (!(painted() > 0 && painted() < 60 && button.textContent === "Pause")) await new Promise(requestAnimationFrame);
  button.click();
  for (let frame = 0; frame < 4; frame++) await new Promise(requestAnimationFrame);
  return [painted(), button.textContent];
}"""


def test_playing_paints_one_after_the_other(visit, generator):
    page = visit(viewed(generator))
    paused, label = page.page.evaluate(PLAY_A_LITTLE)
    assert 0 < paused < 60
    assert label == "Play"
    page.settle()
    assert page.text("[data-says=painted]") == f"{paused} of 60"
    page.press(" ")
    page.until("document.querySelector('[data-says=painted]').textContent === '60 of 60'")
    page.settle()
    assert page.text("#play") == "Play"


def test_the_wipe_lays_the_input_beside_the_drawing(visit, generator):
    image = viewed(generator)
    page = visit(image)
    page.set(pixels=True, compare="input", wipe=25)
    assert page.page.locator(".side").all_inner_texts() == ["drawn", "input"]
    # Handle, labels and the picture's frame are laid over; they are not what is compared.
    page.page.evaluate(
        "document.querySelectorAll('.handle, .side').forEach(each => { each.style.visibility = 'hidden'; })"
    )
    picture = page.picture()
    scale = picture.shape[2] // 60
    shown = picture[:, scale // 2 :: scale, scale // 2 :: scale]
    assert psnr(shown[:, :, :15], rendered(image)[:, :, :15]) > 45
    assert psnr(shown[:, :, 15:], image.image[:, :, 15:]) > 45
    page.set(compare="reconstruction", wipe=0)
    shown = page.picture()[:, scale // 2 :: scale, scale // 2 :: scale]
    assert psnr(shown, rendered(image)) > 45


def test_the_handle_can_be_dragged(visit, generator):
    page = visit(viewed(generator))
    page.set(compare="input")
    box = page.page.locator("canvas").bounding_box()
    page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 60, steps=3)
    page.page.mouse.up()
    page.settle()
    assert page.text("[data-says=wipe]") == "80 %"
    assert page.text("[data-says=across]") == "0°"


def test_it_fits_windows_of_all_widths(visit, generator):
    camera = Camera.gmae(60, 90)
    page = visit(*(viewed(generator, 60, camera, "a" * 80) for _ in range(3)), width=1400, height=900)
    page.click(0.5, 0.5)
    page.set(compare="input", colour="group", pixels=True)
    for width, height in ((1400, 900), (844, 390), (360, 740)):
        page.page.set_viewport_size({"width": width, "height": height})
        page.settle()
        assert page.page.evaluate("document.documentElement.scrollWidth") == width
        box = page.page.locator("canvas").bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= width
        assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.02)


def test_colours_follow_the_reader_s_preference(visit, generator):
    image = viewed(generator)
    shades = {}
    for scheme in ("light", "dark"):
        page = visit(image, scheme=scheme)
        styles = "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
        shades[scheme] = [luminance(color) for color in page.page.locator("body").evaluate(styles)]
    (light_paper, light_ink), (dark_paper, dark_ink) = shades["light"], shades["dark"]
    # WCAG 2.2, 1.4.6: the enhanced contrast of text.
    assert (light_paper + 0.05) / (light_ink + 0.05) > 7
    assert (dark_ink + 0.05) / (dark_paper + 0.05) > 7


def luminance(color):
    linear = [
        (v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4)
        for v in map(int, re.findall(r"\d+", color)[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_without_webgl_the_reconstruction_is_shown(browser, tmp_path, generator):
    image = viewed(generator)
    path = write_view(tmp_path / "view.html", "title", "lead", [image])
    flags = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]
    plain = browser.browser_type.launch(executable_path=CHROMIUM, args=flags, timeout=PATIENCE)
    page = Visit(plain, path)
    assert "cannot draw the Gaussians (no WebGL2)" in page.text("#no-drawing")
    picture = page.page.locator(".stage img")
    assert picture.is_visible()
    assert picture.get_attribute("src") == image.packed()["reconstruction"]
    page.click(0.5, 0.5)
    assert page.page.locator("#picked").input_value() == str(most_painting(image, 30, 20)[0])
    plain.close()


def test_a_lost_context_comes_back(visit, generator):
    image = viewed(generator, gaussians=random_gaussians(generator, (), 20))
    page = visit(image)
    page.set(pixels=True)
    page.page.evaluate(
        """() => new Promise((done) => {
          const canvas = document.querySelector("canvas");
          const losing = canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
          canvas.addEventListener("webglcontextlost", () => setTimeout(() => losing.restoreContext(), 50));
          canvas.addEventListener("webglcontextrestored", () => done(true));
          losing.loseContext();
        })"""
    )
    page.settle()
    picture = page.picture()
    scale = picture.shape[2] // 60
    assert psnr(picture[:, scale // 2 :: scale, scale // 2 :: scale], rendered(image)) > 45
    page.complaints = [text for text in page.complaints if "CONTEXT_LOST_WEBGL" not in text]
