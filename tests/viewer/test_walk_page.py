"""What a person does with the page of a scene, what the page holds, and what it may not."""

import base64
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import middle_and_radius
from splatlearn.core.errors import InputError
from splatlearn.files import read_splat_file, read_splats
from splatlearn.rendering import render
from splatlearn.viewer import ScenePhotograph, Snapshot, ViewedScene, write_scene_view
from splatlearn.viewer.html import web_file
from splatlearn.viewer.scene_contents import PICTURE_BYTES, small_jpeg
from splatlearn.viewer.scene_page import SCRIPTS
from viewer.pictured import psnr
from viewer.walked import BACKGROUND, CLOSE, camera_at, pixel_of, scene_gaussians, scene_of, settled, stored


def test_a_click_on_a_camera_visits_it(walk, canvas_size, generator):
    scene = scene_of(scene_gaussians(generator, 30), canvas_size)
    page = walk(scene)
    page.page.locator("#cameras").check()
    page.page.locator("canvas").hover()
    for _ in range(10):
        page.page.mouse.wheel(0, 200)
    settled(page)
    page.page.evaluate("window.before = 1")
    camera = camera_at(0, *canvas_size)
    middle, _ = middle_and_radius(scene.gaussians.means, scene.gaussians.opacities)
    ahead = float(camera.viewmats.double()[2, :3] @ (middle - camera.centers.double()))
    farther = camera.viewmats.clone()
    farther[2, 3] += ahead * (math.exp(10 * 0.3) - 1)
    x, y = pixel_of(replace(camera, viewmats=farther), camera_at(2, *canvas_size).centers.double())
    page.click(x / canvas_size[0], y / canvas_size[1])
    settled(page)
    assert page.text("#name") == "photo 2"
    assert "fitted · 22.00" in page.text("#facts")
    page.press("Comma")
    settled(page)
    assert page.text("#name") == "photo 1"
    assert "held out" in page.text("#facts")


def test_the_training_is_a_row_of_pictures(walk, canvas_size, generator):
    gaussians = scene_gaussians(generator, 30)
    past = [torch.full((canvas_size[1], canvas_size[0], 3), 60 * number, dtype=torch.uint8) for number in (1, 2)]
    snapshots = [Snapshot(f"step {number}", pixels) for number, pixels in enumerate(past)]
    page = walk(scene_of(gaussians, canvas_size, snapshots=snapshots, snapshot_from=1))
    assert page.text("#snapshot-says") == "the finished scene"
    for number in (0, 1):
        page.set(snapshot=number)
        settled(page)
        assert page.text("#snapshot-says") == f"step {number}"
        assert page.text("#name") == "photo 1"
        torch.testing.assert_close(
            page.picture(), torch.full_like(page.picture(), 60 * (number + 1) / 255), atol=0.01, rtol=0
        )
    page.set(snapshot=2)
    settled(page)
    assert page.text("#snapshot-says") == "the finished scene"
    assert psnr(page.picture(), torch.full_like(page.picture(), 120 / 255)) < 30


@pytest.mark.parametrize("degree", [0, 2])
@pytest.mark.parametrize("kind", ["ply", "sog"])
def test_what_is_kept_is_the_scene(kind, degree, walk, tmp_path, generator):
    gaussians = scene_gaussians(generator, 70, degree)
    page = walk(scene_of(gaussians))
    with page.page.expect_download() as download:
        page.page.locator(f"#keep-{kind}").click()
    path = tmp_path / f"kept.{kind}"
    download.value.save_as(path)
    assert download.value.suggested_filename == f"leaf.{kind}"
    kept, expected = read_splats(path), stored(gaussians, tmp_path)
    assert kept.degree == degree
    for name, value in kept.tensors().items():
        atol = 1e-5 if name != "opacities" else 2e-4
        torch.testing.assert_close(value, expected.tensors()[name], atol=atol, rtol=1e-5, msg=name)


@pytest.mark.parametrize("kind", ["ply", "sog"])
def test_what_is_kept_says_how_it_was_fitted(kind, walk, tmp_path, generator):
    for filter in ("point", "mip"):
        page = walk(scene_of(scene_gaussians(generator, 20, 1), filter=filter))
        with page.page.expect_download() as download:
            page.page.locator(f"#keep-{kind}").click()
        path = tmp_path / f"{filter}.{kind}"
        download.value.save_as(path)
        assert read_splat_file(path).filter == filter


def test_a_browser_without_webgl_shows_a_photograph(walk, canvas_size, generator):
    script = "HTMLCanvasElement.prototype.getContext = () => null;"
    page = walk(scene_of(scene_gaussians(generator, 10), canvas_size), script=script)
    assert page.page.locator("#no-drawing").is_visible()
    assert page.page.locator("#instead").is_visible()


def test_a_browser_without_workers_draws_the_same(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 100)
    script = "window.Worker = class { constructor() { throw new Error('none'); } };"
    page = walk(scene_of(gaussians, canvas_size), script=script)
    expected = render(stored(gaussians, tmp_path), camera_at(0, *canvas_size), BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), expected) > CLOSE


def test_a_lost_context_is_drawn_anew(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 100)
    page = walk(scene_of(gaussians, canvas_size))
    page.page.evaluate(
        "() => new Promise((done) => {"
        " const canvas = document.querySelector('canvas');"
        " const lose = canvas.getContext('webgl2').getExtension('WEBGL_lose_context');"
        " canvas.addEventListener('webglcontextrestored', () => done(true));"
        " canvas.addEventListener('webglcontextlost', () => setTimeout(() => lose.restoreContext(), 50));"
        " lose.loseContext(); })"
    )
    page.complaints.clear()
    settled(page)
    expected = render(stored(gaussians, tmp_path), camera_at(0, *canvas_size), BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), expected) > CLOSE


NASTY = "<img src=x onerror=alert(1)></script><script>alert('2')</script>&amp; \"q\" 日本"


def test_names_are_text_whatever_they_hold(walk, generator):
    gaussians = scene_gaussians(generator, 10)
    photographs = [ScenePhotograph(NASTY, camera_at(0))]
    page = walk(ViewedScene("leaf", gaussians, photographs, facts=[("fact", NASTY)]), title=NASTY)
    assert (page.text("#name"), page.text("h1"), page.page.title()) == (NASTY, NASTY, NASTY)
    assert page.page.locator("script").count() == 2
    assert page.page.locator("img[onerror]").count() == 0


def test_no_script_can_end_its_own_element():
    for name in SCRIPTS:
        assert "</" not in web_file(name), name


def test_a_gaussian_takes_at_most_25_bytes(tmp_path, generator):
    gaussians = scene_gaussians(generator, 8000, 0)
    text = write_scene_view(tmp_path / "page.html", "", "", ViewedScene("leaf", gaussians)).read_text()
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)[0])
    assert len(base64.b64decode(data["scene"]["bundle"])) <= 25 * gaussians.count


def test_pictures_are_small_whatever_they_show(generator):
    noise = torch.randint(0, 256, (600, 800, 3), dtype=torch.uint8, generator=generator)
    assert len(small_jpeg(noise)) <= PICTURE_BYTES
    plain = torch.full((600, 800, 3), 100, dtype=torch.uint8)
    assert len(small_jpeg(plain)) < 10_000
    assert len(small_jpeg(plain, limit=10)) < 2_000


def test_what_a_page_cannot_show_is_refused(generator):
    gaussians = scene_gaussians(generator, 10)
    photo = ScenePhotograph("one", camera_at(0))
    bad = replace(gaussians, means=gaussians.means * math.nan)
    with pytest.raises(InputError, match="means"):
        ViewedScene("leaf", bad)
    with pytest.raises(InputError, match=r"gaussians: expected means of shape \[K, 3\]"):
        ViewedScene("leaf", gaussians.reshape_batch(1))
    with pytest.raises(InputError, match="degree 3 at most, got 4"):
        ViewedScene("leaf", gaussians.with_degree(4))
    with pytest.raises(InputError, match="home: expected the number of a photograph, got 1 of 1"):
        ViewedScene("leaf", gaussians, [photo], home=1)
    with pytest.raises(InputError, match="up: expected a direction"):
        ViewedScene("leaf", gaussians, up=(0, 0, 0))
    with pytest.raises(InputError, match="camera: expected one pinhole camera, got gmae"):
        ScenePhotograph("one", Camera.gmae(4, 4))
    with pytest.raises(InputError, match=r"pixels: expected shape \[40, 60, 3\] of torch.uint8"):
        ScenePhotograph("one", camera_at(0), torch.zeros(40, 61, 3, dtype=torch.uint8))


def test_the_radius_leaves_stragglers_out(generator):
    gaussians = scene_gaussians(generator, 1000)
    far = gaussians.means.clone()
    far[:20] *= 1000
    _, radius = middle_and_radius(far, gaussians.opacities)
    assert radius < 2.5
    assert np.isfinite(radius)
