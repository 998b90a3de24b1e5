"""Pictures: each shows the pixels and Gaussians it was given, at their places."""

import numpy as np
import pytest
import torch
from matplotlib.collections import EllipseCollection

from splatlearn.evaluation import hidden_psnr
from splatlearn.report import depth_prefix_strip, gaussian_map, reconstruction_grid
from splatlearn.report.parts.figures import ENLARGE_TO, HIDDEN_ALPHA


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def numbers(values):
    return np.asarray(values, dtype=np.float64)


@pytest.fixture
def photos(generator):
    return torch.rand(2, 3, 8, 16, generator=generator)


def test_grid_shows_what_is_seen_painted_and_there(photos):
    hidden = torch.zeros(2, 8, 16, dtype=torch.bool)
    hidden[:, :4] = True
    painted = photos * 0.5
    figure = reconstruction_grid(photos, hidden, painted, ["a", "b"])
    assert len(figure.axes) == 6
    seen, middle, right = (shown(axes)[:: ENLARGE_TO // 16, :: ENLARGE_TO // 16] for axes in figure.axes[3:])
    np.testing.assert_allclose(right, photos[1].permute(1, 2, 0).numpy(), atol=1e-6)
    np.testing.assert_allclose(middle, painted[1].permute(1, 2, 0).numpy(), atol=1e-6)
    np.testing.assert_allclose(seen[4:, :, :3], right[4:], atol=1e-6)
    np.testing.assert_allclose(seen[..., 3], np.where(hidden[1].numpy(), HIDDEN_ALPHA, 1.0), atol=1e-6)
    scores = hidden_psnr(painted, photos, hidden)
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == ["a", f"{scores[0]:.1f} dB", ""]


def test_images_are_enlarged_by_repeating_pixels(photos):
    hidden = torch.ones(2, 8, 16, dtype=torch.bool)
    figure = reconstruction_grid(photos, hidden, photos, ["a", "b"])
    image = shown(figure.axes[2])
    factor = ENLARGE_TO // 16
    assert image.shape == (8 * factor, 16 * factor, 3)
    expected = np.kron(photos[0].permute(1, 2, 0).numpy(), np.ones((factor, factor, 1)))
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_long_names_leave_room_for_their_neighbour(photos):
    hidden = torch.ones(2, 8, 16, dtype=torch.bool)
    name = "a" * 100 + "0042.jpg"
    label = reconstruction_grid(photos, hidden, photos * 0.9, [name, "$x"]).axes[0].get_xlabel()
    assert len(label) < 30
    assert label.startswith("aaa")
    assert label.endswith("0042.jpg")


def test_strip_has_a_column_for_each_count(photos):
    figure = depth_prefix_strip([photos * 0.1, photos * 0.5, photos], [2, 4, "all"], ["a", "b"])
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["nearest 2", "nearest 4", "all"]
    np.testing.assert_allclose(shown(figure.axes[4])[0, 0], photos[1, :, 0, 0].numpy() * 0.5, atol=1e-6)


def test_map_draws_ellipses_where_the_gaussians_are():
    # One Gaussian of 3 px along a direction 30 degrees below x, and 1 px across it.
    angle = np.radians(30.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([9.0, 1.0]) @ turn.T)
    conics = np.array([[inverse[0, 0], inverse[0, 1], inverse[1, 1]], [1.0, 0.0, 1.0]])
    centers = np.array([[4.0, 5.0], [10.0, 2.0]])
    figure = gaussian_map(np.zeros((3, 8, 16)), centers, conics, np.ones((2, 3)) * 0.5, np.array([0.5, 1.0]))
    figure.draw_without_rendering()
    left, right = figure.axes
    np.testing.assert_allclose(numbers(left.collections[0].get_offsets()), centers[::-1])
    ellipses = right.collections[0]
    assert isinstance(ellipses, EllipseCollection)
    np.testing.assert_allclose(numbers(ellipses.get_offsets()), centers[::-1])
    np.testing.assert_allclose(numbers(ellipses.get_widths())[1], 6.0)
    np.testing.assert_allclose(numbers(ellipses.get_heights())[1], 2.0)
    np.testing.assert_allclose(np.mod(numbers(ellipses.get_angles())[1], 180.0), 30.0)
    np.testing.assert_allclose(numbers(ellipses.get_edgecolor())[:, 3], [1.0, 0.5])
    # y grows downwards, and the ellipse is not mirrored.
    assert right.get_ylim() == (8, 0)


def test_many_gaussians_become_a_picture(generator):
    count = 2000
    figure = gaussian_map(
        torch.rand(3, 8, 8, generator=generator),
        torch.rand(count, 2, generator=generator) * 8,
        torch.tensor([1.0, 0.0, 1.0]).expand(count, 3),
        torch.rand(count, 3, generator=generator),
        torch.rand(count, generator=generator),
    )
    assert figure.axes[1].collections[0].get_rasterized()


def test_what_does_not_fit_is_named(photos):
    hidden = torch.ones(2, 8, 16, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"originals: expected shape \[B, 3, H, W\], got \[3, 8, 16\]"):
        reconstruction_grid(photos[0], hidden, photos, ["a", "b"])
    with pytest.raises(ValueError, match=r"reconstructions: expected shape \[2, 3, 8, 16\] to match the others"):
        reconstruction_grid(photos, hidden, photos[..., :8], ["a", "b"])
    with pytest.raises(ValueError, match=r"names: expected shape \[2\] to match the others, got \[1\]"):
        reconstruction_grid(photos, hidden, photos, ["a"])
    with pytest.raises(ValueError, match="images: expected at least one column"):
        depth_prefix_strip([], [], [])
    with pytest.raises(ValueError, match=r"conics: expected shape \[4, 3\] to match the others"):
        gaussian_map(photos[0], np.zeros((4, 2)), np.zeros((3, 3)), np.zeros((4, 3)), np.zeros(4))
