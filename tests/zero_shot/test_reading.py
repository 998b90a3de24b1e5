"""Reading images of any size with a model: resized, in windows, fitted, and refused."""

from dataclasses import replace

import pytest
import torch

from models.small_models import small_gmae, small_mae
from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.models import GMAEConfig
from splatlearn.rendering import project, render, seen_by
from splatlearn.zero_shot import ImageGaussians, ReadOptions, edges, figure_ground, gaussians_of, layers
from splatlearn.zero_shot.windows import Window, _taper, _tapers, least_window, merge_windows, windows_over


def test_native_images_are_read_as_the_model_predicts(generator):
    model, images = small_gmae().train(), torch.rand(2, 3, 16, 24, generator=generator)
    read = gaussians_of(model, images)
    assert model.training
    expected = model.eval().gaussians(images)
    assert torch.equal(read.gaussians.means, expected.means)
    assert read.tokens is not None and read.tokens.shape == (2, 12, 16)
    # One token emits three Gaussians.
    assert torch.equal(read.tokens[:, 0], read.tokens[:, 2]) and not torch.equal(read.tokens[:, 2], read.tokens[:, 3])


@pytest.mark.parametrize("sizing", ["resize", "windows"])
@pytest.mark.parametrize("size", [(16, 24), (37, 21), (5, 90), (4, 4)])
def test_every_read_out_has_the_size_of_the_image(generator, sizing, size):
    model, images = small_gmae(), torch.rand(2, 3, *size, generator=generator)
    options = ReadOptions(sizing=sizing)
    assert layers(model, images, 3, options=options).shape == (2, 3, 4, *size)
    for found in (edges(model, images, options=options), figure_ground(model, images, options=options)):
        assert found.shape == (2, *size) and bool(torch.isfinite(found).all())


def test_order_names_the_gaussian_behind_each_splat(generator):
    gaussians = random_gaussians(generator, (2,), 15)
    read = ImageGaussians(gaussians, Camera.gmae(10, 12))
    each = torch.arange(2).unsqueeze(-1)
    assert torch.equal(gaussians.fixed_colors()[each, read.order], read.splats.colors)


def test_refining_brings_the_rendering_nearer(generator):
    model, images = small_gmae(), torch.rand(1, 3, 20, 30, generator=generator)
    before, after = (gaussians_of(model, images, ReadOptions(fit_steps=steps)) for steps in (0, 30))
    errors = [float((read.rendering.color - images).square().mean()) for read in (before, after)]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("window", [None, 7, 16])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_reach_from_edge_to_edge_and_overlap(window, overlap):
    windows = windows_over(40, 55, (16, 24), window, overlap)
    covered = torch.zeros(40, 55)
    for each in windows:
        assert each.top >= 0 and each.left >= 0 and each.top + each.height <= 40 and each.left + each.width <= 55
        assert abs(each.width / each.height - 1.5) < 0.1
        covered[each.top : each.top + each.height, each.left : each.left + each.width] += 1
    assert int(covered.min()) >= 1
    tops = sorted({each.top for each in windows})
    assert all(
        second - first <= windows[0].height * (1 - overlap) + 1 for first, second in zip(tops, tops[1:], strict=False)
    )


@pytest.mark.parametrize("window", [Window(3, 5, 20, 30), Window(3, 5, 20, 20), Window(0, 0, 40, 10)])
def test_gaussians_of_a_window_are_drawn_where_its_pixels_are(generator, window):
    gaussians = random_gaussians(generator, (1,), 6)
    # Beside the axis the two cameras look at extents along the depth from other sides: none here.
    flat = gaussians.scales * torch.tensor([1.0, 1.0, 1e-3])
    turned = torch.nn.functional.normalize(gaussians.quaternions * torch.tensor([1.0, 0, 0, 1.0]), dim=-1)
    gaussians = replace(gaussians, scales=flat, quaternions=turned)
    whole = merge_windows([gaussians], [window], (48, 64))
    expected = project(gaussians, Camera.gmae(window.height, window.width))
    found = project(whole, Camera.gmae(48, 64))
    shift = torch.tensor([float(window.left), float(window.top)])
    torch.testing.assert_close(found.means2d, expected.means2d + shift, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.conics, expected.conics, atol=2e-3, rtol=2e-2)


def test_windows_that_agree_give_the_picture_of_one():
    """The same Gaussians seen by two overlapping windows let through what they let through alone."""
    y, x = torch.meshgrid(torch.linspace(-0.95, 0.95, 12), torch.linspace(-0.95, 0.95, 18), indexing="ij")
    means = torch.stack([x.reshape(-1), y.reshape(-1), 0 * x.reshape(-1)], dim=-1).unsqueeze(0)
    one = Gaussians(
        means=means,
        scales=torch.full_like(means, 0.4),
        quaternions=torch.tensor([1.0, 0, 0, 0]).expand(1, len(means[0]), 4).contiguous(),
        colors=torch.full_like(means, 0.3),
        opacities=torch.full(means.shape[:2], 0.6),
    )
    windows = [Window(0, 0, 20, 40), Window(0, 20, 20, 40)]
    parts = []
    for window in windows:
        shift = (2 * window.left + window.width) / 60 - 1
        local = means.clone()
        local[..., 0] = (means[..., 0] - shift) / (window.width / 60)
        keep = local[0, :, 0].abs() < 1
        scales = one.scales * torch.tensor([60 / window.width, 1.0, 1.0])
        parts.append(replace(one, means=local, scales=scales).select(keep))
    camera = Camera.gmae(20, 60)
    merged = render(merge_windows(parts, windows, (20, 60)), camera).color
    # Exact at the centres of Gaussians; their flanks let through a little more or less.
    torch.testing.assert_close(merged, render(one, camera).color, atol=0.05, rtol=0)


@pytest.mark.parametrize("distance", [None, 8.0])
def test_weights_of_a_grid_of_windows_are_those_of_any_windows(generator, distance):
    """The sum over a grid goes by rows and columns; over the same windows with one missing, window by window."""
    windows = windows_over(40, 55, (16, 24), 16, 0.5)
    gaussians = random_gaussians(generator, (1,), 9)
    found = _tapers(gaussians, windows, (40, 55), distance)
    expected = torch.stack([_taper(gaussians, window, (40, 55), distance) for window in windows]).sum(dim=0)
    torch.testing.assert_close(found, expected)
    some = _tapers(gaussians, windows[1:], (40, 55), distance)
    torch.testing.assert_close(some, expected - _taper(gaussians, windows[0], (40, 55), distance))


def test_windows_below_a_patch_and_beyond_count_are_refused(generator):
    model, images = small_gmae(), torch.rand(1, 3, 8, 10, generator=generator)
    with pytest.raises(InputError, match="^window: expected at least 4 pixels, which cover one patch .*, got 3$"):
        gaussians_of(model, images, ReadOptions("windows", window=3))
    assert gaussians_of(model, images, ReadOptions("windows", window=4)).gaussians.count > 12
    assert least_window((16, 48), 8) == 8 and least_window((48, 16), 8) == 24
    with pytest.raises(InputError, match=r"^window, overlap: expected at most 16384 windows, got \d+ of 2×3 pixels"):
        windows_over(1000, 1000, (16, 24), 2)


def test_progress_is_told(generator):
    model, images = small_gmae(), torch.rand(1, 3, 20, 60, generator=generator)
    told: list[tuple[str, int, int]] = []
    gaussians_of(model, images, ReadOptions("windows", fit_steps=2), lambda *given: told.append(given))
    windows = [each for each in told if each[0] == "windows"]
    assert [done for _, done, _ in windows] == list(range(windows[0][2])) and windows[0][2] > 1
    assert told[len(windows) :] == [("steps", step, 2) for step in range(3)]


def test_wrong_input_is_one_sentence(generator, no_shape_checks):
    images = torch.rand(1, 3, 16, 24, generator=generator)
    with pytest.raises(ValueError, match="model: expected a GMAE, which paints with Gaussians, got a MAE"):
        gaussians_of(small_mae(), images)
    with pytest.raises(ValueError, match=r"images: expected at least 4×4 pixels, one patch of the model, got 16×1"):
        gaussians_of(small_gmae(), images[..., :1])
    with pytest.raises(ValueError, match=r"images: expected shape \[B, 3, H, W\], got \[3, 16, 24\]"):
        gaussians_of(small_gmae(), images[0])
    with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
        gaussians_of(small_gmae(), images.byte())
    for wrong, message in (
        ({"sizing": "crop"}, "sizing: expected one of resize, windows"),
        ({"window": 0}, "window: expected a whole number of at least 1"),
        ({"overlap": 1.0}, "overlap: expected a finite number"),
        ({"fit_steps": -1}, "fit_steps: expected a whole number of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ReadOptions(**wrong)  # pyright: ignore[reportArgumentType]
    assert GMAEConfig().background == "white"


def test_the_splats_of_a_scene_with_harmonics_are_as_its_camera_sees_them(generator):
    read = ImageGaussians(random_sh(generator, 2, (2,), 9), Camera.gmae(16, 24))
    colors = seen_by(read.gaussians, read.camera).fixed_colors()
    assert torch.equal(read.splats.colors, colors.gather(1, read.order[..., None].expand(-1, -1, 3)))
