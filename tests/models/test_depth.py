"""What depth does in each of a GMAE's cameras."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from splatlearn import Gaussians, project, render
from splatlearn.models import GMAEConfig, create_model, gaussians_from_numbers
from splatlearn.models.gmae_config import Depth
from splatlearn.models.heads.gaussian_numbers import grid_numbers

DEPTHS: tuple[Depth, ...] = get_args(Depth)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_grid_covers_the_image_alike(depth: Depth) -> None:
    paper = GMAEConfig(gaussians=64, scale_limit=4.0)
    config = replace(paper, depth=depth)
    found = [
        render(gaussians_from_numbers(grid_numbers(each)[None], each), each.camera(48, 64)) for each in (paper, config)
    ]
    assert float(found[0].alpha.mean()) > 0.2
    torch.testing.assert_close(found[1].alpha, found[0].alpha, rtol=0, atol=0.02)


@pytest.mark.parametrize("depth", DEPTHS)
def test_bounds_are_those_of_the_paper_at_the_middle_depth(depth: Depth) -> None:
    config = GMAEConfig(gaussians=3, scale_limit=2.0, depth=depth)
    numbers = torch.zeros(3, 14)
    numbers[:, 3:6] = 50.0  # sigmoid 1: as large as can be
    numbers[0, 0], numbers[2, 0] = -50.0, 50.0  # from edge to edge, one in the middle
    numbers[:, 6] = 1.0
    splats = project(gaussians_from_numbers(numbers[None], config), config.camera(64, 64))
    middle = int((splats.means2d[0, :, 0] - 32).abs().argmin())
    spread = float(splats.conics[0, middle, 0].rsqrt())
    # The paper's camera: c · W/2 / 8 pixels; another 0.3 px² of variance is the renderer's.
    assert spread == pytest.approx((8.0**2 + 0.3) ** 0.5, rel=1e-3)
    reach = config.reach * 32
    assert sorted(splats.means2d[0, :, 0].tolist()) == pytest.approx([32 - reach, 32, 32 + reach], abs=1e-3)


def test_depth_moves_centres_through_the_pinhole_alone() -> None:
    moved = {}
    for depth in DEPTHS:
        camera = GMAEConfig(depth=depth).camera(64, 64)
        means = torch.tensor([[[0.5, 0.0, -0.9], [0.5, 0.0, 0.9]]])
        pair = Gaussians(
            means=means,
            scales=torch.full((1, 2, 3), 0.1),
            quaternions=torch.tensor([1.0, 0, 0, 0]).expand(1, 2, 4),
            colors=torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(0)),
            opacities=torch.full((1, 2), 0.5),
        )
        near, far = project(pair, camera).means2d[0, :, 0].tolist()
        moved[depth] = near - far
    assert moved.pop("pinhole") > 5
    assert all(abs(each) < 1e-4 for each in moved.values())


def test_the_far_plane_of_the_pinhole_can_be_covered() -> None:
    config = GMAEConfig(depth="pinhole")
    camera = config.camera(64, 64)
    corner = torch.tensor([[[config.reach, config.reach, 1.0]]])
    far = Gaussians(
        means=corner,
        scales=torch.ones(1, 1, 3),
        quaternions=torch.tensor([[[1.0, 0, 0, 0]]]),
        colors=torch.ones(1, 1, 3),
        opacities=torch.ones(1, 1),
    )
    assert project(far, camera).means2d[0, 0].tolist() == pytest.approx([64.0, 64.0], abs=1e-3)


@pytest.mark.usefixtures("no_shape_checks")
def test_refuses_an_unknown_depth() -> None:
    with pytest.raises(ValueError, match="depth: expected one of paper, soft-order, pinhole, orthographic, got 'deep'"):
        GMAEConfig(depth="deep")  # pyright: ignore[reportArgumentType]


def test_depth_is_an_option_of_created_models() -> None:
    model = create_model("gmae_vit_tiny_patch8_32", seed=0, gaussians=16, decoder_depth=1, depth="pinhole")
    assert model.config.depth == "pinhole"  # pyright: ignore[reportAttributeAccessIssue]
