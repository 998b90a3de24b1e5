"""The page of a scene draws what the renderer draws, from photographs and on walks, with photographs beside it."""

import math
from dataclasses import replace

import matplotlib
import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import middle_and_radius
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splats
from splatlearn.files.sog.writer import image_order
from splatlearn.rendering import render
from splatlearn.viewer import ScenePhotograph, ViewedScene
from viewer.pictured import psnr
from viewer.walked import BACKGROUND, CLOSE, camera_at, pixel_of, scene_gaussians, scene_of, settled, stored


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_photographs_view_is_the_renderers(degree, walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 200, degree)
    page = walk(scene_of(gaussians, canvas_size))
    seen = stored(gaussians, tmp_path)
    for turn in (0, 1, 2):
        page.set(photo=turn)
        settled(page)
        expected = render(seen, camera_at(turn, *canvas_size), BACKGROUND).color.clamp(0, 1)
        assert psnr(page.picture(), expected) > CLOSE, turn


def test_colours_without_harmonics_are_drawn_too(walk, canvas_size, generator):
    colored = scene_gaussians(generator, 50, 0)
    plain = Gaussians(
        colored.means,
        colored.scales,
        colored.quaternions,
        colored.opacities,
        colors=torch.rand(50, 3, generator=generator),
    )
    page = walk(scene_of(plain, canvas_size))
    expected = render(plain, camera_at(0, *canvas_size), BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), expected) > 30


def test_many_small_gaussians(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 20000, 1)
    small = replace(gaussians, scales=0.06 * gaussians.scales)
    page = walk(scene_of(small, canvas_size))
    expected = render(stored(small, tmp_path), camera_at(0, *canvas_size), BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), expected) > CLOSE - 6


def test_opacities_make_up_for_the_blur_if_the_scene_was_fitted_so(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 8000, 1)
    small = replace(gaussians, scales=0.015 * gaussians.scales)
    page = walk(scene_of(small, canvas_size, filter="mip"))
    camera, seen = camera_at(0, *canvas_size), stored(small, tmp_path)
    mip, point = (render(seen, camera, BACKGROUND, filter=each).color.clamp(0, 1) for each in ("mip", "point"))
    assert psnr(page.picture(), mip) > CLOSE - 6
    assert psnr(page.picture(), point) < 30


def test_generalised_exponentials_are_drawn_and_kept_with_their_exponents(walk, canvas_size, tmp_path, generator):
    plain = scene_gaussians(generator, 200, 1)
    exponents = 8.0 ** torch.rand(200, 1, generator=generator)
    page = walk(scene_of(replace(plain, primitive="ges", shapes=exponents), canvas_size))
    order = torch.from_numpy(image_order(plain))
    seen = replace(stored(plain, tmp_path), primitive="ges", shapes=exponents[order])
    camera = camera_at(0, *canvas_size)
    expected = render(seen, camera, BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), expected) > CLOSE - 4
    assert psnr(page.picture(), render(stored(plain, tmp_path), camera, BACKGROUND).color.clamp(0, 1)) < 30
    assert page.page.locator("#keep-sog").is_hidden()
    with page.page.expect_download() as download:
        page.page.locator("#keep-ply").click()
    download.value.save_as(tmp_path / "kept.ply")
    kept = read_splats(tmp_path / "kept.ply")
    assert kept.primitive == "ges"
    torch.testing.assert_close(kept.shapes, seen.shapes)


def dragged(page, across, down, **modifier):
    box = page.page.locator("canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.page.mouse.move(x, y)
    page.page.mouse.down(**modifier)
    page.page.mouse.move(x + across, y + down)
    page.page.mouse.up(**modifier)
    settled(page)


def orbited(camera: Camera, pivot, across, down):
    """The camera after its eye has gone around the pivot, about the vertical and then the picture's horizontal axis."""
    view = camera.viewmats.double()
    turn, eye = view[:3, :3], camera.centers.double()

    def spin(axis, angle):
        x, y, z = axis
        skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
        return torch.linalg.matrix_exp(angle * skew)

    both = spin((0.0, -1.0, 0.0), across) @ spin(turn[0].tolist(), down)
    moved = torch.eye(4, dtype=torch.float64)
    moved[:3, :3] = turn @ both.T
    moved[:3, 3] = -moved[:3, :3] @ (pivot + both @ (eye - pivot))
    return replace(camera, viewmats=moved.float())


def test_dragging_walks_around_the_turning_point_and_near_things_follow(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 100)
    page = walk(scene_of(gaussians, canvas_size))
    dragged(page, 50, -30)
    assert page.text("#name") == "free view"
    camera = camera_at(0, *canvas_size)
    middle, _ = middle_and_radius(gaussians.means, gaussians.opacities)
    ahead = float(camera.viewmats.double()[2, :3] @ (middle - camera.centers.double()))
    pivot = camera.centers.double() + ahead * camera.viewmats[2, :3].double()
    expected = orbited(camera, pivot, -50 * 0.006, 30 * 0.006)
    picture = render(stored(gaussians, tmp_path), expected, BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), picture) > CLOSE
    front = pivot - 1.0 * camera.viewmats[2, :3].double()
    before, after = (pixel_of(each, front) for each in (camera, expected))
    assert after[0] > before[0]
    assert after[1] < before[1]
    page.press("Home")
    settled(page)
    first = render(stored(gaussians, tmp_path), camera, BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), first) > CLOSE


def test_the_wheel_and_the_keys_go_nearer(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 100)
    page = walk(scene_of(gaussians, canvas_size))
    page.page.locator("canvas").hover()
    page.page.mouse.wheel(0, -100)
    settled(page)
    page.press("Equal")
    settled(page)
    camera = camera_at(0, *canvas_size)
    middle, _ = middle_and_radius(gaussians.means, gaussians.opacities)
    ahead = float(camera.viewmats.double()[2, :3] @ (middle - camera.centers.double()))
    nearer = camera.viewmats.clone()
    nearer[2, 3] -= ahead * (1 - 0.9 * math.exp(-0.15))
    expected = render(stored(gaussians, tmp_path), replace(camera, viewmats=nearer), BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture(), expected) > CLOSE


def test_keys_fly_while_they_are_down(walk, canvas_size, generator):
    page = walk(scene_of(scene_gaussians(generator, 50), canvas_size))
    first = page.picture()
    for key in ("w", "ArrowLeft"):
        page.page.focus("canvas")
        drawings = int(page.page.evaluate("document.documentElement.dataset.drawn"))
        page.page.keyboard.down(key)
        page.until(f"document.documentElement.dataset.drawn > {drawings + 8}")
        page.page.keyboard.up(key)
        settled(page)
        assert psnr(page.picture(), first) < 40, key
        still = page.picture()
        page.page.wait_for_timeout(100)
        settled(page)
        assert torch.equal(page.picture(), still)
        first = still


def test_the_photograph_stands_right_of_the_wipe(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 100)
    scene = scene_of(gaussians, canvas_size)
    page = walk(scene)
    page.set(photo=1, compare="photograph", wipe=0.5)
    settled(page)
    page.page.evaluate("document.querySelector('.handle').style.opacity = 0")
    picture, middle = page.picture(), canvas_size[0] // 2
    assert scene.photographs[1].pixels is not None
    photograph = scene.photographs[1].pixels.permute(2, 0, 1) / 255
    drawn = render(stored(gaussians, tmp_path), camera_at(1, *canvas_size), BACKGROUND).color.clamp(0, 1)
    assert psnr(picture[..., : middle - 2], drawn[..., : middle - 2]) > CLOSE
    # The photograph is a JPEG.
    assert psnr(picture[..., middle + 2 :], photograph[..., middle + 2 :]) > 32
    assert psnr(picture[..., middle + 2 :], drawn[..., middle + 2 :]) < 20


def test_errors_are_a_map(walk, canvas_size, tmp_path, generator):
    gaussians = scene_gaussians(generator, 100)
    camera = camera_at(0, *canvas_size)
    drawn = render(stored(gaussians, tmp_path), camera, BACKGROUND).color.clamp(0, 1)
    # Off by a tenth in the upper half, which a JPEG keeps but for its rounding.
    other = drawn.clone()
    other[:, : canvas_size[1] // 2] = (other[:, : canvas_size[1] // 2] - 0.1).clamp(0, 1)
    pixels = (255 * other).round().byte().permute(1, 2, 0).contiguous()
    scene = ViewedScene("leaf", gaussians, [ScenePhotograph("one", camera, pixels)], background=BACKGROUND)
    page = walk(scene)
    page.set(compare="error")
    settled(page)
    picture = page.picture()
    error = (drawn - other).abs().mean(dim=0) / 0.25
    expected = torch.from_numpy(matplotlib.colormaps["inferno"](error.numpy())[..., :3]).permute(2, 0, 1).float()
    assert psnr(picture, expected) > 24
    assert page.page.locator("#error-key").is_visible()


def test_a_photograph_of_other_proportions_is_shown_whole(walk, canvas_size, tmp_path, generator):
    width, height = canvas_size
    gaussians = scene_gaussians(generator, 60)
    scene = scene_of(gaussians, (width // 2, height))
    page = walk(scene)
    left = round((width - width // 2) / 2)
    expected = render(stored(gaussians, tmp_path), camera_at(0, width // 2, height), BACKGROUND).color.clamp(0, 1)
    assert psnr(page.picture()[..., left : left + width // 2], expected) > CLOSE


def test_a_scene_without_photographs_is_seen_from_outside(walk, generator):
    gaussians = scene_gaussians(generator, 100)
    gaussians = replace(gaussians, scales=0.2 * gaussians.scales)
    page = walk(ViewedScene("leaf", gaussians, background=BACKGROUND))
    assert page.text("#name") == "free view"
    behind = torch.tensor(BACKGROUND)[:, None, None].expand_as(page.picture())
    assert psnr(page.picture(), behind) < 25
    corner = page.picture()[:, :5, :5]
    torch.testing.assert_close(corner, behind[:, :5, :5], atol=0.01, rtol=0)
