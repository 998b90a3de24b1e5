"""Masks of known Gaussians are those of their shapes."""

from dataclasses import replace

import pytest
import torch

from scenes import gaussians_of
from splatlearn.core.cameras import Camera
from splatlearn.zero_shot import FigureOptions, ImageGaussians, figure_ground_of
from splatlearn.zero_shot.figure_reading import border_share, calibrated, center_hill
from splatlearn.zero_shot.grouping import figure_likeness, group_gaussians
from zero_shot.shapes import SIZE, overlap, shape_gaussians, shape_masks


@pytest.mark.parametrize(
    "options",
    [
        FigureOptions(method="mixtures"),
        FigureOptions(method="groups", groups=12),
        FigureOptions(method="groups", groups=6),
        FigureOptions(method="depth"),
        FigureOptions(method="order"),
        FigureOptions(method="order", side="border"),
    ],
)
def test_known_order_gives_the_mask(options):
    ground, disc, square = shape_masks()
    mask = figure_ground_of(shape_gaussians(), options)[0]
    assert mask.shape == SIZE and 0 <= float(mask.min()) and float(mask.max()) <= 1
    # One cut of three depths may lie in front of the disc or behind it.
    wanted = [disc | square] if options.method in ("mixtures", "groups") else [disc | square, square]
    assert max(overlap(mask >= 0.5, each) for each in wanted) > 0.9


def test_shuffled_depths_lose_the_mask_of_the_order(generator):
    read = shape_gaussians()
    means = read.gaussians.means.clone()
    means[..., 2] = means[:, torch.randperm(means.shape[1], generator=generator), 2]
    shuffled = ImageGaussians(replace(read.gaussians, means=means), read.camera)
    _, disc, square = shape_masks()
    mask = figure_ground_of(shuffled, FigureOptions(method="order"))[0] >= 0.5
    assert max(overlap(mask, disc | square), overlap(mask, square)) < 0.6


def test_the_border_decides_where_it_is_asked():
    read = shape_gaussians()
    means = read.gaussians.means * torch.tensor([1.0, 1.0, -1.0])
    behind = ImageGaussians(replace(read.gaussians, means=means), read.camera)
    # The ground now hides the figures, and only the white of nothing is left behind it.
    near = figure_ground_of(behind, FigureOptions(method="depth"))[0]
    far = figure_ground_of(behind, FigureOptions(method="depth", side="border"))[0]
    assert float(border_share(far.unsqueeze(0))) <= float(far.mean()) + 1e-6
    torch.testing.assert_close(torch.minimum((far - near).abs(), (far - 1 + near).abs()), torch.zeros(SIZE))


def test_the_centre_weighs_what_lies_there_more():
    read = shape_gaussians()
    plain, centred = (
        figure_ground_of(read, FigureOptions(method="groups", center=center))[0] for center in (False, True)
    )
    y, x = torch.meshgrid(torch.arange(SIZE[0]) - 47.5, torch.arange(SIZE[1]) - 63.5, indexing="ij")
    distance = (x.square() + y.square()).sqrt()

    def spread(mask: torch.Tensor) -> float:
        return float((mask * distance).sum() / mask.sum())

    assert spread(centred) < spread(plain)
    hill = center_hill(*SIZE)
    assert float(hill.max()) > 0.999
    assert float((hill >= 0.5).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_no_group_mixes_shapes():
    read = shape_gaussians()
    labels, depths = group_gaussians(read, 8)[0], read.splats.depths[0]
    for group in labels.unique():
        _, counts = depths[labels == group].unique(return_counts=True)
        assert float(counts.max() / counts.sum()) > 0.95


def test_a_region_that_fills_the_border_is_ground_though_it_is_cut_up():
    members = torch.zeros(1, 3, 40, 40)
    members[0, 0, 10:20, 10:20] = 1
    members[0, 1, :, :25] = 1 - members[0, 0, :, :25]
    members[0, 2, :, 25:] = 1
    colors = torch.tensor([[[0.9, 0.1, 0.1], [0.3, 0.3, 0.3], [0.32, 0.3, 0.3]]])
    figure, left, right = figure_likeness(members, colors)[0].tolist()
    assert figure > 0.99 and left < 0.01 and right < 0.01


def test_otsu_s_threshold_becomes_one_half():
    values = torch.cat([torch.linspace(0.0, 0.2, 50), torch.linspace(0.7, 0.8, 20)]).reshape(1, 7, 10)
    stretched = calibrated(values)
    assert torch.equal(stretched >= 0.5, values > 0.4)
    assert (float(stretched.min()), float(stretched.max())) == (0.0, 1.0)
    assert float(calibrated(torch.full((1, 4, 4), 0.3)).max()) == 0.0


def test_wrong_options_are_named(no_shape_checks):
    with pytest.raises(ValueError, match="method: expected one of mixtures, groups, order, depth, got 'magic'"):
        FigureOptions(method="magic")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="side: expected one of border, near, got 'far'"):
        FigureOptions(side="far")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="(cuts|groups): expected a whole number of at least 2"):
        FigureOptions(groups=1)


class TestMixtures:
    def two_colors(self, figure: tuple[float, float, float], ground: tuple[float, float, float]) -> ImageGaussians:
        """A grid of round splats, those in the middle of one colour and those around of another."""
        x, y = torch.meshgrid(torch.linspace(-0.95, 0.95, 24), torch.linspace(-0.95, 0.95, 24), indexing="xy")
        means = torch.stack([x.flatten(), y.flatten(), torch.zeros(24 * 24)], dim=-1)
        middle = means.norm(dim=-1) < 0.4
        colors = torch.where(middle.unsqueeze(-1), torch.tensor(figure), torch.tensor(ground))
        turn = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 24 * 24, 4)
        scales, opacities = torch.full((1, 24 * 24, 3), 0.4), torch.full((1, 24 * 24), 0.9)
        read = gaussians_of([means.unsqueeze(0), scales, turn, colors.unsqueeze(0), opacities])
        return ImageGaussians(read, Camera.gmae(96, 96))

    def test_colours_in_the_middle_are_figure_however_much_ground_the_margin_holds(self):
        soft = figure_ground_of(self.two_colors((0.9, 0.2, 0.1), (0.2, 0.4, 0.8)))[0]
        y, x = torch.meshgrid((torch.arange(96) + 0.5) / 48 - 1, (torch.arange(96) + 0.5) / 48 - 1, indexing="ij")
        assert overlap(soft >= 0.5, (x.square() + y.square()).sqrt() < 0.4) > 0.85

    def test_depth_does_not_matter_where_colours_alone_are_compared(self, generator):
        read = shape_gaussians()
        _, disc, square = shape_masks()
        deeper = replace(read.gaussians, means=read.gaussians.means * torch.tensor([1.0, 1.0, 0.5]))
        for each in (read, ImageGaussians(deeper, read.camera)):
            assert overlap(figure_ground_of(each)[0] >= 0.5, disc | square) > 0.9

    def test_the_hill_decides_where_colours_do_not(self):
        read = self.two_colors((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        mask = figure_ground_of(read, FigureOptions(center=True))[0] >= 0.5
        hill = center_hill(96, 96) >= 0.5
        assert overlap(mask, hill) > 0.9

    def test_one_gaussian_is_no_trouble(self):
        read = self.two_colors((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        one = read.gaussians.select(slice(1))
        soft = figure_ground_of(ImageGaussians(one, read.camera))
        assert soft.shape == (1, 96, 96) and bool(soft.isfinite().all())
