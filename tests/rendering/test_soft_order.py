"""Soft compositing: its limit is the hard one, and depth has a gradient through occlusion."""

from __future__ import annotations

import pytest
import torch

from splatlearn import Camera, Gaussians
from splatlearn.rendering import composite, composite_softly, project
from splatlearn.rendering.splats import Splats


def pixel_centres(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def random_splats(generator: torch.Generator, count: int = 12, images: int = 2) -> Splats:
    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(images, count, *shape, generator=generator, dtype=torch.float64)

    gaussians = Gaussians(
        means=1.6 * uniform(3) - 0.8,
        scales=0.5 + 3.0 * uniform(3),
        quaternions=torch.nn.functional.normalize(uniform(4) - 0.5, dim=-1),
        colors=uniform(3),
        opacities=0.05 + 0.6 * uniform(),
    )
    return project(gaussians, Camera.gmae(10, 14))


def test_cold_order_is_the_hard_order() -> None:
    splats = random_splats(torch.Generator().manual_seed(0))
    background = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    hard, transmittance = composite(splats, 10, 14, background.expand(2, 3), backend="torch")
    soft = composite_softly(splats, pixel_centres(10, 14), 1e-7, (0.2, 0.5, 0.9))
    assert bool((transmittance > 1e-4).all())  # where the hard one does not stop early
    torch.testing.assert_close(soft.mT.unflatten(-1, (10, 14)), hard, rtol=0, atol=1e-9)


def test_order_of_the_splats_does_not_matter() -> None:
    splats = random_splats(torch.Generator().manual_seed(1))
    order = torch.randperm(splats.count, generator=torch.Generator().manual_seed(2))
    pixels = pixel_centres(10, 14)
    shuffled = composite_softly(splats.select(order), pixels, 0.1)
    torch.testing.assert_close(shuffled, composite_softly(splats, pixels, 0.1))


def test_equal_depths_share_what_they_cover() -> None:
    both = Splats(
        means2d=torch.full((1, 2, 2), 2.0),
        conics=torch.tensor([1e-6, 0.0, 1e-6]).expand(1, 2, 3),
        depths=torch.full((1, 2), 8.0),
        colors=torch.eye(3)[:2].unsqueeze(0),
        opacities=torch.full((1, 2), 0.5),
    )
    found = composite_softly(both, torch.tensor([[2.0, 2.0]]), 0.1, "black")[0, 0]
    # Each covers a half and is hidden by the other's root of a half; a quarter of the ground is seen.
    covered = 0.5 * 0.5**0.5
    expected = covered / (2 * covered + 0.25)
    torch.testing.assert_close(found, torch.tensor([expected, expected, 0.0]))


def test_every_gradient_is_that_of_finite_differences() -> None:
    splats = random_splats(torch.Generator().manual_seed(3), count=4, images=1)
    leaves = [each.detach().requires_grad_() for each in splats.tensors().values()]
    pixels = pixel_centres(3, 4).double() + torch.tensor([4.0, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *parts: composite_softly(Splats(*parts), pixels, 0.3), leaves)


def test_descent_on_depth_brings_the_hidden_splat_to_the_front() -> None:
    target = torch.tensor([1.0, 0.0, 0.0])
    depths = torch.tensor([[7.8, 8.2]], requires_grad=True)  # blue before red
    optimizer = torch.optim.SGD([depths], lr=0.2)
    for _ in range(200):
        splats = Splats(
            means2d=torch.full((1, 2, 2), 2.0),
            conics=torch.tensor([1e-4, 0.0, 1e-4]).expand(1, 2, 3),
            depths=depths,
            colors=torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]),
            opacities=torch.full((1, 2), 0.9),
        )
        loss = (composite_softly(splats, torch.tensor([[2.0, 2.0]]), 0.3)[0, 0] - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(depths[0, 1].detach()) < float(depths[0, 0].detach())


@pytest.mark.parametrize("softness", [0.0, -1.0, float("nan")])
def test_refuses_softnesss_that_are_not_positive(softness: float) -> None:
    splats = random_splats(torch.Generator().manual_seed(4))
    with pytest.raises(ValueError, match="softness: expected a positive number"):
        composite_softly(splats, torch.zeros(1, 2), softness)
