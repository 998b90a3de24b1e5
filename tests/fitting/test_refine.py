"""Fitting: what improves, what stays, and what an image's neighbours in a batch change."""

import pytest
import torch

from scenes import random_gaussians
from splatlearn.camera import Camera
from splatlearn.fitting import Parameters, Rates, RefineOptions, initial_gaussians, refine
from splatlearn.fitting.initial import gaussians_at
from splatlearn.render import project, render


@pytest.fixture
def images(generator):
    """Two pictures of soft blobs."""
    gaussians = random_gaussians(generator, (2,), 10)
    return render(gaussians, Camera.gmae(24, 32)).color.clamp(0, 1)


def errors(gaussians, images):
    camera = Camera.gmae(*images.shape[-2:])
    return (render(gaussians, camera).color - images).square().mean(dim=(1, 2, 3))


def test_numbers_and_gaussians_are_inverse(generator):
    gaussians = random_gaussians(generator, (2,), 10)
    found = Parameters.of(gaussians).gaussians()
    for name in ("means", "scales", "opacities", "colors"):
        clipped = getattr(gaussians, name)
        clipped = clipped.clamp(1e-3, 1 - 1e-3) if name == "colors" else clipped
        torch.testing.assert_close(getattr(found, name), clipped)
    splats, others = (project(each, Camera.gmae(24, 32)) for each in (gaussians, found))
    torch.testing.assert_close(others.conics, splats.conics)


def test_a_start_lies_on_pixels_in_their_colours(images):
    generator = torch.Generator().manual_seed(3)
    start = initial_gaussians(images, 50, generator)
    splats = project(start, Camera.gmae(24, 32))
    column, row = (splats.centers[..., axis] - 0.5 for axis in (0, 1))
    torch.testing.assert_close(column, column.round(), atol=1e-4, rtol=0)
    for index in range(2):
        found = images[index][:, row[index].round().long(), column[index].round().long()]
        torch.testing.assert_close(splats.colors[index], found.T)
    again = initial_gaussians(images, 50, torch.Generator().manual_seed(3))
    assert torch.equal(start.means, again.means)


@pytest.mark.parametrize("camera", [Camera.gmae(24, 32), Camera.pinhole(24, 32), Camera.orthographic(24, 32)])
def test_gaussians_are_put_where_the_camera_sees_the_pixel(images, camera):
    sites = torch.tensor([[0, 31, 12 * 32 + 16], [1, 2, 3]])
    splats = project(gaussians_at(images, sites, torch.full(sites.shape, 3.0), 2.0, camera), camera)
    torch.testing.assert_close(splats.centers[0, 2], torch.tensor([16.5, 12.5]))
    torch.testing.assert_close(splats.conics[0, 2, 0], torch.tensor(1 / (2.0**2 + 0.3)), atol=0.02, rtol=0)


def test_more_gaussians_than_pixels(images):
    assert initial_gaussians(images[..., :2, :3], 20, torch.Generator().manual_seed(0)).count == 20


def test_error_falls_and_the_order_stays(images):
    start = initial_gaussians(images, 40, torch.Generator().manual_seed(0))
    found = refine(start, images, 60)
    # 60 steps of Adam amplify rounding: the errors fell 12- to 1100-fold, depending on the instruction set.
    assert bool((errors(found, images) < errors(start, images) / 5).all())
    assert torch.equal(found.means[..., 2], start.means[..., 2])
    assert not found.means.requires_grad


def test_depth_moves_when_asked_to(images):
    start = initial_gaussians(images, 20, torch.Generator().manual_seed(0))
    found = refine(start, images, 5, RefineOptions(Rates(depth=0.1)))
    assert not torch.equal(found.means[..., 2], start.means[..., 2])


def test_images_do_not_influence_one_another(images):
    start = initial_gaussians(images, 20, torch.Generator().manual_seed(0))
    both, alone = refine(start, images, 10), refine(start[1:], images[1:], 10)
    torch.testing.assert_close(both.means[1:], alone.means, atol=1e-3, rtol=0)
    torch.testing.assert_close(both.colors[1:], alone.colors, atol=1e-3, rtol=0)


def test_no_steps_change_no_picture(images, generator):
    gaussians = random_gaussians(generator, (2,), 12)
    camera = Camera.gmae(24, 32)
    same = refine(gaussians, images, 0)
    torch.testing.assert_close(render(same, camera).color, render(gaussians, camera).color, atol=2e-3, rtol=0)


def test_added_gaussians_lower_the_error_where_it_is(images):
    images = images.clone()
    images[0, :, 4:7, 20:23] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    plain = refine(start, images, 80)
    added = refine(start, images, 80, RefineOptions(add=13, rounds=4))
    assert (plain.count, added.count) == (8, 21)
    assert bool((errors(added, images) < errors(plain, images)).all())
    centers = project(added, Camera.gmae(24, 32)).centers[0]
    assert float((centers - torch.tensor([21.5, 5.5])).norm(dim=-1).min()) < 4


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_gaussian_is_added_however_few_the_steps(images, steps):
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    assert refine(start, images, steps, RefineOptions(add=9, rounds=5)).count == 17


def test_the_watcher_hears_every_step(images):
    heard = []
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    found = refine(start, images, 3, watch=lambda step, error: heard.append((step, error)))
    assert [step for step, _ in heard] == [0, 1, 2, 3]
    torch.testing.assert_close(heard[0][1], errors(start, images))
    torch.testing.assert_close(heard[-1][1], errors(found, images))


def test_refining_works_where_gradients_are_off(images):
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = refine(start, images, 10)
    assert bool((errors(found, images) < errors(start, images)).all())


def test_wrong_arguments_are_named(images, generator, no_shape_checks):
    start = random_gaussians(generator, (2,), 5)
    with pytest.raises(ValueError, match=r"gaussians: expected 1 sets of Gaussians with 3 colours"):
        refine(start, images[:1])
    with pytest.raises(ValueError, match="steps: expected at least 0, got -1"):
        refine(start, images, -1)
    with pytest.raises(ValueError, match=r"camera: expected .* pixels like images"):
        refine(start, images, 1, camera=Camera.gmae(8, 8))
    with pytest.raises(ValueError, match=r"images: expected shape \[B, 3, H, W\], got \[2, 1, 24, 32\]"):
        refine(start, images[:, :1], 1)
    with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
        initial_gaussians(images.byte(), 3)
    with pytest.raises(ValueError, match="count: expected at least 1 Gaussian, got 0"):
        initial_gaussians(images, 0)
    with pytest.raises(ValueError, match="scale: expected a rate of at least 0"):
        Rates(scale=-1.0)
    with pytest.raises(ValueError, match="rates: expected at least one above 0"):
        refine(start, images, 1, RefineOptions(Rates(0, 0, 0, 0, 0, 0)))
    with pytest.raises(ValueError, match="last_rate: expected a share"):
        RefineOptions(last_rate=0.0)
    with pytest.raises(ValueError, match="add, rounds: expected"):
        RefineOptions(add=-1)
    bad = images.clone()
    bad[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="gaussians: expected a finite error"):
        refine(start, bad, 1)
