"""Gaussians of any tool as a start: their picture stays, and what no fit takes is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.initial.splats import splat_gaussians
from splatlearn.rendering import render


def picture(gaussians: Gaussians) -> torch.Tensor:
    view = torch.eye(4)
    view[2, 3] = 4.0
    return render(gaussians, Camera(40, 40, 50.0, 50.0, 20.0, 20.0, viewmats=view), "black", depth=False).color


@pytest.mark.parametrize("kind", ["sh", "bright", "negative"])
def test_the_picture_stays(kind: str, generator: torch.Generator) -> None:
    start = random_sh(generator, 2, (), 40)
    if kind != "sh":
        start = random_gaussians(generator, (), 40)
        assert start.colors is not None
        start = replace(start, colors=3.0 * start.colors - (1.0 if kind == "negative" else 0.0))
    found = splat_gaussians(start)
    assert (found.gaussians.sh is None) == (kind == "negative")
    assert (found.not_finite, found.over_cap) == (0, 0)
    torch.testing.assert_close(picture(found.gaussians), picture(start), rtol=0, atol=1e-5)


def test_what_is_not_finite_is_left_out(generator: torch.Generator) -> None:
    start = random_sh(generator, 1, (), 30)
    assert start.sh is not None
    start.means[4, 1] = float("nan")
    start.sh[9, 3, 2] = float("inf")
    start.opacities[11] = float("nan")
    found = splat_gaussians(start)
    assert found.not_finite == 3
    kept = [index for index in range(30) if index not in (4, 9, 11)]
    assert torch.equal(found.gaussians.scales, start.scales[kept])
    with pytest.raises(InputError, match="^gaussians: expected at least one that is finite, got 30 that are not"):
        splat_gaussians(replace(start, means=torch.full_like(start.means, float("nan"))))


def test_a_cap_selects_in_order_by_the_seed(generator: torch.Generator) -> None:
    start = replace(random_sh(generator, 0, (), 200), opacities=torch.arange(200.0) / 200)
    found = splat_gaussians(start.to(torch.float64), cap=50, seed=2)
    assert found.gaussians.count == 50 and found.over_cap == 150
    assert found.gaussians.means.dtype == torch.float32
    assert bool((found.gaussians.opacities.diff() > 0).all())
    assert torch.equal(found.gaussians.means, splat_gaussians(start, cap=50, seed=2).gaussians.means)
    assert not torch.equal(found.gaussians.means, splat_gaussians(start, cap=50, seed=3).gaussians.means)


@pytest.mark.usefixtures("no_shape_checks")
def test_a_batch_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"^gaussians: expected one set \[K\], got sets \[2\]"):
        splat_gaussians(random_sh(generator, 0))
