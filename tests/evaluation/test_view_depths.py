"""Errors of rendered depths: medians over the places whose depth is known."""

from __future__ import annotations

import pytest
import torch

from splatlearn.captures.photographs import Photo
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.evaluation.views.depths import DepthScore, score_depth
from splatlearn.evaluation.views.scores import score_views
from splatlearn.fitting.terms.targets import DepthPoints, DepthTargets
from splatlearn.rendering import Rendering, render

CAMERA = Camera(24, 16, 20.0, 20.0, 12.0, 8.0)


def wall(depth: float) -> Gaussians:
    """An opaque wall that fills the left half of the picture."""
    rows, columns = torch.meshgrid(torch.linspace(-2, 2, 30), torch.linspace(-3, 0, 30), indexing="ij")
    count = rows.numel()
    return Gaussians(
        means=torch.stack([columns.flatten(), rows.flatten(), torch.full((count,), 1.0)], dim=-1) * depth / 2,
        scales=torch.full((count, 3), 0.05 * depth),
        quaternions=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacities=torch.full((count,), 0.99),
        colors=torch.full((count, 3), 0.5),
    )


def test_medians_are_those_of_a_sort(generator: torch.Generator) -> None:
    depth, alpha = 1.0 + torch.rand(16, 24, generator=generator), torch.rand(16, 24, generator=generator)
    known = torch.where(torch.rand(16, 24, generator=generator) < 0.6, 1.0 + torch.rand(16, 24), 0.0)
    mask = (torch.rand(16, 24, generator=generator) < 0.7).float()
    score = score_depth(Rendering(torch.zeros(3, 16, 24), alpha, depth), DepthTargets(known[None]), 4.0, mask)
    places = [
        (row, column) for row in range(16) for column in range(24) if known[row, column] > 0 and mask[row, column] > 0
    ]
    covered = [place for place in places if alpha[place] > 0.5]
    errors = sorted(abs(float(depth[place] - known[place])) for place in covered)
    shares = sorted(abs(float(depth[place] - known[place])) / float(known[place]) for place in covered)
    middle = (len(covered) - 1) // 2
    assert score is not None and score.count == len(places)
    assert score.median == pytest.approx(4.0 * errors[middle], rel=1e-5)
    assert score.relative == pytest.approx(shares[middle], rel=1e-5)
    assert score.covered == pytest.approx(len(covered) / len(places))


def test_views_are_scored_where_depths_are_known() -> None:
    pixels = torch.full((16, 24, 3), 128, dtype=torch.uint8)
    photos = [Photo(name, pixels, None, CAMERA) for name in ("a", "b", "c")]
    maps = torch.zeros(1, 16, 24)
    maps[:, :, 2:5] = 2.0
    point = DepthPoints(torch.tensor([0]), torch.tensor([[3.5, 7.5]]), torch.tensor([2.2]), torch.tensor([1.0]))
    known = {"a": DepthTargets(maps), "b": DepthTargets(points=point)}
    gaussians = wall(2.0)
    rendered = render(gaussians, CAMERA, "black").depth
    assert rendered is not None and float(rendered[7, 3]) == pytest.approx(1.0, abs=0.05)
    scores = score_views(gaussians, photos, known=lambda photo: known.get(photo.name), unit=10.0)
    first, second, third = (each.depth for each in scores.views)
    assert isinstance(first, DepthScore) and isinstance(second, DepthScore) and third is None
    assert first.median == pytest.approx(10.0, rel=0.05) and first.relative == pytest.approx(0.5, rel=0.05)
    assert second.median == pytest.approx(12.0, rel=0.05)
    mean = scores.depth
    assert mean is not None and mean.median == pytest.approx((first.median + second.median) / 2)
    plain = score_views(gaussians, photos)
    assert [each.psnr for each in plain.views] == [each.psnr for each in scores.views] and plain.depth is None
    stored = scores.as_dict()
    assert set(stored) == {"psnr", "ssim", "l1", "aligned_psnr", "aligned_ssim", "depth", "views"} and set(
        plain.as_dict()
    ) == {*stored} - {"depth"}
    assert score_depth(render(gaussians, CAMERA), DepthTargets(torch.zeros(1, 16, 24))) is None
