"""The specification's joints: what `project`, `bin` and `blend` hand to one another."""

from __future__ import annotations

import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.rendering.backends.torch import bin as torch_bin
from splatlearn.rendering.backends.torch import blend
from splatlearn.rendering.backends.torch.primitives.gaussian import Gaussian
from splatlearn.rendering.backends.torch.project import project
from splatlearn.rendering.formula import ALPHA_MIN


def test_project_keeps_the_order_and_names_what_it_culls(generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator, (2,), 9), Camera(8, 8, 4.0, 4.0, 4.0, 4.0, near=0.2, far=0.6)
    splats, ids = project(gaussians, camera.viewmats, camera)
    depths = gaussians.means[..., 2]
    assert torch.equal(splats.depths, depths)
    culled = (depths < 0.2) | (depths > 0.6)
    assert 0 < int(culled.sum()) < culled.numel()
    assert torch.equal(ids, torch.where(culled, -1, torch.arange(9)))
    assert torch.equal(splats.opacities, torch.where(culled, 0.0, gaussians.opacities))


def test_sorting_carries_the_ids(generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator, (2,), 9), Camera.gmae(8, 8)
    splats, ids = torch_bin.sort_near_to_far(project(gaussians, camera.viewmats, camera))
    assert (splats.depths.diff(dim=1) >= 0).all()
    torch.testing.assert_close(splats.opacities, gaussians.opacities.gather(1, ids), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(4))
def test_lists_miss_no_splat_that_colours_a_pixel(dtype: torch.dtype, seed: int) -> None:
    size = (37, 53)
    made = torch.Generator().manual_seed(seed)
    count = 60
    means2d = torch.rand(2, count, 2, generator=made, dtype=dtype) * 90 - 20
    factors = torch.randn(2, count, 2, 2, generator=made, dtype=dtype) * torch.rand(2, count, 1, 1, generator=made)
    inverse = factors @ factors.mT
    conics = torch.stack([inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 1]], dim=-1)
    opacities = torch.rand(2, count, generator=made, dtype=dtype) ** 4
    lists = torch_bin.tile_lists(means2d, conics, opacities, size)
    assert lists.rows.shape == (2, count, 3) and lists.columns.shape == (2, count, 4)
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).reshape(-1, 2).to(dtype) + 0.5
    seen = lists.at(pixels)
    at = Gaussian().alpha_at(means2d, conics, opacities, pixels)
    assert not (at.alpha[~seen] > 0).any()
    assert 0.05 < float((~seen).float().mean()), "lists that leave nothing out are of no use"
    colors, background = torch.rand(2, count, 3, generator=made, dtype=dtype), torch.zeros(2, 3, dtype=dtype)
    with_lists = blend.blend_pixels(means2d, conics, opacities, colors, background, pixels, seen)
    without = blend.blend_pixels(means2d, conics, opacities, colors, background, pixels)
    assert all(torch.equal(one, other) for one, other in zip(with_lists, without, strict=True))


def test_bounds_are_tight_and_safe() -> None:
    conics = torch.tensor([[[0.25, 0.0, 1.0], [1.0, 2.0, 1.0], [0.5, 0.1, 0.5]]])
    opacities = torch.tensor([[1.0, 1.0, ALPHA_MIN / 2]])
    half = Gaussian().bounds(conics, opacities)[0]
    exact = (2 * torch.log(torch.tensor(1 / ALPHA_MIN)) * torch.tensor([4.0, 1.0])).sqrt()
    assert ((half[0] > exact) & (half[0] < 1.02 * exact)).all()
    assert (half[1] == torch.inf).all() and (half[2] == -torch.inf).all()


def test_the_gradient_of_alpha_is_that_of_autograd(generator: torch.Generator) -> None:
    means2d = torch.rand(1, 4, 2, generator=generator, dtype=torch.float64) * 6
    conics = torch.tensor([0.3, 0.05, 0.2], dtype=torch.float64).expand(1, 4, 3).clone()
    opacities = torch.rand(1, 4, generator=generator, dtype=torch.float64) * 0.9
    leaves = [each.requires_grad_() for each in (means2d, conics, opacities)]
    pixels = torch.rand(7, 2, generator=generator, dtype=torch.float64) * 6
    at = Gaussian().alpha_at(means2d, conics, opacities, pixels)
    upstream = torch.rand(at.alpha.shape, generator=generator, dtype=torch.float64)
    expected = torch.autograd.grad((at.alpha * upstream).sum(), leaves)
    found = Gaussian().alpha_gradients(conics, at, torch.where(at.alpha > 0, upstream, 0.0))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
