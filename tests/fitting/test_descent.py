"""Fitting: what improves, what stays, and what an image's neighbours in a batch change."""

from dataclasses import replace

import pytest
import torch

from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.geometry.frames import turn_quaternions
from splatlearn.fitting import FitOptions, LearningRates, Parameters, fit, initial_gaussians
from splatlearn.fitting.initial.images import gaussians_at
from splatlearn.models import GMAE, create_model
from splatlearn.rendering import project, render


@pytest.fixture
def images(generator):
    """Two pictures of soft blobs."""
    gaussians = random_gaussians(generator, (2,), 10)
    return render(gaussians, Camera.gmae(24, 32)).color.clamp(0, 1)


def tilted(camera):
    """The camera looking from elsewhere, at the same distance: no axis of the world lies along one of its own."""
    view = torch.eye(4)
    view[:3, :3] = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.7, 0.9], [0.7, 0.0, -1.1], [-0.9, 1.1, 0.0]]))
    view[:3, 3] = torch.tensor([0.1, -0.2, max(3.0, float(camera.viewmats[2, 3]))])
    return replace(camera, viewmats=view)


def before(gaussians, old, new):
    """Gaussians that stand before the camera `new` as these do before `old`: R'ᵀ (R p + t − t')."""
    views = (old.to(gaussians.means), new.to(gaussians.means))
    (turn, shift), (other, beyond) = ((each[:3, :3], each[:3, 3]) for each in views)
    means = (gaussians.means @ turn.T + shift - beyond) @ other
    turned = turn_quaternions(gaussians.quaternions.flatten(0, 1), other.T @ turn)
    return replace(gaussians, means=means, quaternions=turned.unflatten(0, gaussians.opacities.shape))


def errors(gaussians, images):
    camera = Camera.gmae(*images.shape[-2:])
    return error(gaussians, images, camera)


def error(gaussians, images, camera):
    return (render(gaussians, camera).color - images).square().mean(dim=(1, 2, 3))


def test_numbers_and_gaussians_are_inverse(generator):
    gaussians = random_gaussians(generator, (2,), 10)
    camera = tilted(Camera.pinhole(24, 32))
    found = Parameters.of(gaussians, camera).gaussians()
    for name in ("means", "scales", "colors"):
        assert torch.equal(getattr(found, name), getattr(gaussians, name))
    torch.testing.assert_close(found.opacities, gaussians.opacities)
    splats, others = (project(each, camera) for each in (gaussians, found))
    torch.testing.assert_close(others.conics, splats.conics)


def test_a_start_lies_on_pixels_in_their_colours(images):
    generator = torch.Generator().manual_seed(3)
    start = initial_gaussians(images, 50, generator)
    splats = project(start, Camera.gmae(24, 32))
    column, row = (splats.means2d[..., axis] - 0.5 for axis in (0, 1))
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
    torch.testing.assert_close(splats.means2d[0, 2], torch.tensor([16.5, 12.5]))
    torch.testing.assert_close(splats.conics[0, 2, 0], torch.tensor(1 / (2.0**2 + 0.3)), atol=0.02, rtol=0)


def test_more_gaussians_than_pixels(images):
    assert initial_gaussians(images[..., :2, :3], 20, torch.Generator().manual_seed(0)).count == 20


def test_error_falls_and_the_order_stays(images):
    start = initial_gaussians(images, 40, torch.Generator().manual_seed(0))
    found = fit(images, start, 60)
    # 60 steps of Adam amplify rounding: the errors fell 12- to 1100-fold, depending on the instruction set.
    assert bool((errors(found, images) < errors(start, images) / 5).all())
    assert torch.equal(found.means[..., 2], start.means[..., 2])
    assert not found.means.requires_grad


def test_depth_moves_when_asked_to(images):
    start = initial_gaussians(images, 20, torch.Generator().manual_seed(0))
    found = fit(images, start, 5, FitOptions(LearningRates(depth=0.1)))
    assert not torch.equal(found.means[..., 2], start.means[..., 2])


def test_images_do_not_influence_one_another(images, generator):
    # None is round: the slope of a round one's rotation is rounding, which Adam makes steps of.
    start = random_gaussians(generator, (2,), 20)
    both, alone = fit(images, start, 10), fit(images[1:], start[1:], 10)
    torch.testing.assert_close(both.means[1:], alone.means, atol=1e-3, rtol=0)
    torch.testing.assert_close(both.fixed_colors()[1:], alone.fixed_colors(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "camera", [Camera.gmae(24, 32), Camera.orthographic(24, 32), Camera.pinhole_window(24, 32, 6.0)]
)
def test_a_fit_is_the_same_before_any_camera(images, camera):
    # In float64: of slopes that are nothing but rounding Adam would make whole steps.
    images, turned = images.double(), tilted(camera)
    # Quaternions are four numbers with a step each, which depend on the world's axes.
    options = FitOptions(LearningRates(rotation=0.0), add=6, rounds=2)
    starts, fits = [], []
    for each in (camera, turned):
        starts.append(initial_gaussians(images, 30, torch.Generator().manual_seed(0), each))
        fits.append(fit(images, starts[-1], 12, options, each))
    for straight, other in (starts, fits):
        wanted = before(straight, camera.viewmats, turned.viewmats)
        torch.testing.assert_close(other.means, wanted.means, atol=1e-4, rtol=0)
        torch.testing.assert_close(other.scales, wanted.scales, atol=1e-4, rtol=1e-4)
        pictures = (render(other, turned).color, render(straight, camera).color)
        torch.testing.assert_close(*pictures, atol=1e-4, rtol=0)


@pytest.mark.parametrize("camera", [Camera.gmae(24, 32), Camera.pinhole_window(24, 32, 4.0)])
def test_both_axes_of_the_image_move_and_depth_stays(images, camera):
    turned = tilted(camera)
    start = initial_gaussians(images, 40, torch.Generator().manual_seed(0), turned)
    found = fit(images, start, 20, camera=turned)
    view = turned.viewmats
    gone = (found.means - start.means) @ view[:3, :3].T
    assert bool((gone[..., :2].abs().mean(dim=1) > 0.01).all())
    assert float(gone[..., 2].abs().max()) < 1e-5
    assert bool((error(found, images, turned) < error(start, images, turned) / 3).all())


def test_a_camera_for_each_image(images):
    images = images.double()
    straight, turned = Camera.gmae(24, 32), tilted(Camera.gmae(24, 32))
    both = replace(straight, viewmats=torch.stack([straight.viewmats, turned.viewmats]))
    start = initial_gaussians(images, 20, torch.Generator().manual_seed(0), both)
    found = fit(images, start, 5, camera=both)
    for index, camera in enumerate((straight, turned)):
        alone = fit(images[index : index + 1], start[index : index + 1], 5, camera=camera)
        torch.testing.assert_close(found.means[index], alone.means[0], atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"viewmats: expected shape \[4, 4\] or \[2, 4, 4\] for gaussians"):
        fit(images, start, 5, camera=replace(both, viewmats=torch.eye(4).expand(3, 4, 4)))
    with pytest.raises(ValueError, match=r"viewmats: expected shape \[4, 4\] or \[2, 4, 4\] for gaussians"):
        initial_gaussians(images, 5, camera=replace(both, viewmats=torch.eye(4).expand(2, 1, 4, 4)))


@pytest.mark.parametrize("color", ["bounded", "linear", "residual"])
@pytest.mark.parametrize("depth", ["paper", "pinhole", "orthographic"])
def test_no_steps_change_no_picture_of_a_model(images, color, depth):
    model = create_model("gmae_vit_tiny_patch8_16", seed=1, gaussians=64, color=color, depth=depth)
    assert isinstance(model, GMAE) and isinstance(model.head, torch.nn.Linear)
    with torch.no_grad():
        # As far from the grid as training brings them: colours and opacities at the ends of their ranges too.
        model.head.weight.mul_(20.0)
        seen = model.gaussians(images[..., :16, :16])
    camera, targets = model.camera(24, 32), images
    if color == "linear":
        assert float(seen.fixed_colors().min()) < -0.5 and float(seen.fixed_colors().max()) > 1.5
    assert float(seen.opacities.max()) > 0.9999
    same = fit(targets, seen, 0, camera=camera)
    pictures = [render(each, camera, (0.2, 0.4, 0.9)).color for each in (same, seen)]
    torch.testing.assert_close(*pictures, atol=1e-5, rtol=1e-5)
    assert torch.equal(same.fixed_colors(), seen.fixed_colors()) and torch.equal(same.means, seen.means)


def test_no_steps_change_no_picture_before_any_camera(images, generator):
    gaussians = random_gaussians(generator, (2,), 12)
    gaussians.opacities[:, 0], gaussians.opacities[:, 1], gaussians.opacities[:, 2] = 1.0, 0.0, 1 - 1e-7
    gaussians.fixed_colors()[:, 0], gaussians.fixed_colors()[:, 1] = 1.0, 0.0
    gaussians.scales[:, 3, 2] = 0.0
    for camera in (Camera.gmae(24, 32), tilted(Camera.pinhole(24, 32)), tilted(Camera.orthographic(24, 32))):
        same = fit(images, gaussians, 0, camera=camera)
        torch.testing.assert_close(render(same, camera).color, render(gaussians, camera).color, atol=1e-5, rtol=0)
        fitted = fit(images, gaussians, 3, camera=camera)
        assert all(bool(torch.isfinite(value).all()) for value in fitted.tensors().values())


class TestColors:
    def test_those_of_a_bounded_start_stay_bounded(self, images):
        start = initial_gaussians(images, 20, torch.Generator().manual_seed(0))
        options = FitOptions(LearningRates(color=0.5))
        found = fit(images, start, 10, options)
        assert float(found.fixed_colors().min()) >= 0 and float(found.fixed_colors().max()) <= 1
        free = fit(images, start, 10, replace(options, color="linear"))
        assert float(free.fixed_colors().min()) < 0 or float(free.fixed_colors().max()) > 1

    def test_each_image_is_bounded_by_itself(self, images):
        start = initial_gaussians(images, 20, torch.Generator().manual_seed(0))
        start.fixed_colors()[0, 0, 0] = -0.3
        found = fit(images, start, 10, FitOptions(LearningRates(color=0.5)))
        assert float(found.fixed_colors()[1].min()) >= 0 and float(found.fixed_colors()[1].max()) <= 1
        assert float(found.fixed_colors()[0].min()) < 0 or float(found.fixed_colors()[0].max()) > 1

    def test_names(self, images, no_shape_checks):
        start = initial_gaussians(images, 20, torch.Generator().manual_seed(0))
        start.fixed_colors()[0, 0, 0] = -0.3
        with pytest.raises(ValueError, match=r"color: expected colours in \[0, 1\] for 'bounded', got -0.3 to "):
            fit(images, start, 1, FitOptions(color="bounded"))
        with pytest.raises(ValueError, match="color: expected one of auto, bounded, linear, got 'sigmoid'"):
            fit(images, start, 1, FitOptions(color="sigmoid"))  # pyright: ignore[reportArgumentType]


def test_added_gaussians_lower_the_error_where_it_is(images):
    images = images.clone()
    images[0, :, 4:7, 20:23] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    plain = fit(images, start, 80)
    added = fit(images, start, 80, FitOptions(add=13, rounds=4))
    assert (plain.count, added.count) == (8, 21)
    assert bool((errors(added, images) < errors(plain, images)).all())
    centers = project(added, Camera.gmae(24, 32)).means2d[0]
    assert float((centers - torch.tensor([21.5, 5.5])).norm(dim=-1).min()) < 4


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_gaussian_is_added_however_few_the_steps(images, steps):
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    assert fit(images, start, steps, FitOptions(add=9, rounds=5)).count == 17


def test_the_watcher_hears_every_step(images):
    heard = []
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    found = fit(images, start, 3, watch=lambda step, error: heard.append((step, error)))
    assert [step for step, _ in heard] == [0, 1, 2, 3]
    torch.testing.assert_close(heard[0][1], errors(start, images))
    torch.testing.assert_close(heard[-1][1], errors(found, images))


def test_refining_works_where_gradients_are_off(images):
    start = initial_gaussians(images, 8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = fit(images, start, 10)
    assert bool((errors(found, images) < errors(start, images)).all())


def test_wrong_arguments_are_named(images, generator, no_shape_checks):
    start = random_gaussians(generator, (2,), 5)
    with pytest.raises(ValueError, match=r"start: expected 1 sets of Gaussians with 3 colours"):
        fit(images[:1], start)
    with pytest.raises(ValueError, match="start: expected colors, .* got sh of degree 1; .*seen_by"):
        fit(images, random_sh(generator, 1))
    with pytest.raises(ValueError, match="steps: expected a whole number of at least 0, got -1"):
        fit(images, start, -1)
    with pytest.raises(ValueError, match=r"camera: expected .* pixels like images"):
        fit(images, start, 1, camera=Camera.gmae(8, 8))
    with pytest.raises(ValueError, match=r"images: expected shape \[B, 3, H, W\], got \[2, 1, 24, 32\]"):
        fit(images[:, :1], start, 1)
    with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
        initial_gaussians(images.byte(), 3)
    with pytest.raises(ValueError, match="count: expected a whole number of at least 1, got 0"):
        initial_gaussians(images, 0)
    with pytest.raises(ValueError, match="scale: expected a rate of at least 0"):
        LearningRates(scale=-1.0)
    with pytest.raises(ValueError, match="rates: expected at least one above 0"):
        fit(images, start, 1, FitOptions(LearningRates(0, 0, 0, 0, 0, 0)))
    with pytest.raises(ValueError, match="last_rate: expected a finite number above 0"):
        FitOptions(last_rate=0.0)
    with pytest.raises(ValueError, match="(add|rounds): expected a whole number"):
        FitOptions(add=-1)
    bad = images.clone()
    bad[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="images: expected finite values, got 1 of 4608"):
        fit(bad, start, 1)
    with pytest.raises(ValueError, match="gaussians: expected a finite error"):
        fit(bad, start, 1, FitOptions(check=False))


def test_a_number_of_gaussians_is_a_start() -> None:
    images = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    placed = initial_gaussians(images, 9, torch.Generator().manual_seed(4))
    given, named = (fit(images, start, 3, FitOptions(seed=4)) for start in (placed, 9))
    assert all(torch.equal(value, getattr(named, name)) for name, value in given.tensors().items())
