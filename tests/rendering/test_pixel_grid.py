"""Grids of pixels: every s-th pixel in each direction shows what it shows in the whole picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rendering.compiled import relative_error
from rendering.many import camera, free, many
from rendering.test_scenes import clear_pixels
from splatlearn.core.cameras import Camera, PixelGrid
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import composite, project, render
from splatlearn.rendering.backends.cpu import support as cpu_support

compiled = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
SIZE = 37, 53


def grids(stride: int) -> list[PixelGrid]:
    return [PixelGrid(stride, left, top) for top in range(stride) for left in range(stride)]


def exact(gaussians: Gaussians) -> Gaussians:
    return gaussians.map(lambda each: each.detach().double())


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_grids_tile_the_picture_to_the_bit_in_the_specification(stride: int) -> None:
    gaussians = exact(many(torch.Generator().manual_seed(1), 60, degree=1))
    view = camera(SIZE).to(torch.float64)
    whole = render(gaussians, view, backend="torch")
    put = torch.full_like(whole.color, torch.nan)
    for grid in grids(stride):
        part = render(gaussians, view, backend="torch", grid=grid)
        assert part.color.shape[1:] == grid.size(*SIZE)
        assert torch.equal(part.alpha, grid.of(whole.alpha))
        assert part.depth is not None and whole.depth is not None
        assert torch.equal(part.depth, grid.of(whole.depth))
        grid.of(put).copy_(part.color)
    assert torch.equal(put, whole.color)


@pytest.mark.parametrize("stride", [2, 3])
def test_gradients_of_the_specification_are_those_of_the_pixels_of_the_whole_picture(stride: int) -> None:
    gaussians, view = exact(many(torch.Generator().manual_seed(2), 30, degree=1)), camera(SIZE).to(torch.float64)
    grid = PixelGrid(stride, stride - 1, 1)
    upstream = torch.randn(3, *grid.size(*SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = (free(gaussians, torch.float64) for _ in range(2))
    (render(one, view, backend="torch", grid=grid).color * upstream).sum().backward()
    (grid.of(render(other, view, backend="torch").color) * upstream).sum().backward()
    for name, each in one.tensors().items():
        found, expected = each.grad, other.tensors()[name].grad
        assert found is not None and expected is not None
        assert relative_error(found, expected) < 1e-12, name


@compiled
@pytest.mark.parametrize("model", ["pinhole", "orthographic"])
@pytest.mark.parametrize("grid", [PixelGrid(2, 1, 0), PixelGrid(3, 0, 2)])
def test_the_kernel_of_scenes_agrees_with_the_specification(model: str, grid: PixelGrid) -> None:
    gaussians, view = many(torch.Generator().manual_seed(3), 300, degree=1), camera(SIZE)
    if model == "orthographic":
        view = replace(view, model=model, fx=8.0, fy=8.0)
    clear = grid.of(clear_pixels(gaussians, view))
    upstream = torch.randn(3, *grid.size(*SIZE), generator=torch.Generator().manual_seed(0)) * clear
    one, other = free(gaussians), free(gaussians, torch.float64)
    found = render(one, view, "black", info=("weights", "absgrad"), grid=grid)
    expected = render(other, view.to(torch.float64), "black", backend="torch", grid=grid)
    for name in ("color", "alpha", "depth"):
        by_kernel, by_specification = (getattr(each, name).detach() * clear for each in (found, expected))
        assert relative_error(by_kernel, by_specification) < 1e-5, name
    (found.color * upstream).sum().backward()
    (expected.color * upstream).sum().backward()
    for name, each in one.tensors().items():
        by_kernel, by_specification = each.grad, other.tensors()[name].grad
        assert by_kernel is not None and by_specification is not None
        assert relative_error(by_kernel, by_specification) < 1e-4, name


@compiled
def test_info_of_a_grid_counts_in_pixels_of_the_whole_picture() -> None:
    gaussians, view, grid = many(torch.Generator().manual_seed(4), 300, degree=0), camera(SIZE), PixelGrid(2, 0, 1)
    clear = clear_pixels(gaussians, view)
    upstream = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0)) * clear
    mask = torch.zeros(SIZE)
    grid.of(mask).fill_(1.0)
    part, whole = (
        render(free(gaussians), view, "black", info=("weights", "absgrad"), grid=each) for each in (grid, PixelGrid())
    )
    (part.color * grid.of(upstream)).sum().backward()
    (whole.color * upstream * mask).sum().backward()
    assert part.info is not None and whole.info is not None
    places = torch.searchsorted(whole.info.ids, part.info.ids)
    assert torch.equal(whole.info.ids[places], part.info.ids), "a grid shows nothing that the picture does not"
    assert torch.allclose(part.info.radii, whole.info.radii[places], rtol=1e-4)
    for name in ("means2d_grad", "means2d_absgrad"):
        found, expected = getattr(part.info, name), getattr(whole.info, name)
        left = torch.ones(len(expected), dtype=torch.bool)
        left[places] = False
        assert relative_error(found, expected[places]) < 1e-4, name
        assert float(expected[left].abs().sum()) == 0.0, "what the grid does not see has no gradient there"
    assert part.info.weight_sums is not None
    assert float(part.info.weight_sums.sum()) == pytest.approx(float(part.alpha.detach().sum()), rel=1e-4)


@compiled
def test_a_batch_of_few_splats_agrees_with_the_specification() -> None:
    gaussians, view = many(torch.Generator().manual_seed(5), 40, degree=0), camera(SIZE)
    splats = project(gaussians.map(lambda each: each[None]), view)
    grid = PixelGrid(2, 1, 1)
    found, left = composite(splats, *SIZE, "white", "cpu", grid=grid)
    expected, left_there = composite(splats, *SIZE, "white", "torch", grid=grid)
    clear = grid.of(clear_pixels(gaussians, view))
    assert relative_error(found * clear, expected * clear) < 1e-5
    assert relative_error(left * clear, left_there * clear) < 1e-5


def test_a_grid_is_no_smaller_picture() -> None:
    """A camera with a quarter of the pixels filters more: thin Gaussians look different through it."""
    gaussians = exact(many(torch.Generator().manual_seed(6), 60, degree=0))
    gaussians = replace(gaussians, scales=gaussians.scales * 0.02)
    view = camera((40, 60)).to(torch.float64)
    grid = render(gaussians, view, backend="torch", grid=PixelGrid(2)).color
    smaller = render(gaussians, view.resized(20, 30), backend="torch").color
    assert relative_error(smaller, grid) > 0.05


def test_errors_name_the_grid() -> None:
    with pytest.raises(InputError, match=r"stride: expected .* 0"):
        PixelGrid(0)
    with pytest.raises(InputError, match=r"left: expected .* 2"):
        PixelGrid(2, 2, 0)
    with pytest.raises(InputError, match=r"grid: expected a picture with pixels from column 3"):
        PixelGrid(4, 3, 0).size(8, 3)
    gaussians = many(torch.Generator().manual_seed(7), 4, degree=0)
    with pytest.raises(BackendError, match=r"gsplat"):
        render(gaussians, Camera(8, 8, 8.0, 8.0, 4.0, 4.0), backend="gsplat", grid=PixelGrid(2))
