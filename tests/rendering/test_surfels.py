"""Surfels: the specification against brute force, and the kernel of scenes against the specification in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rendering.surfels import brute_force, camera, surfels
from splatlearn.core.cameras import Camera, PixelGrid
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering import Rendering, render

FACING = torch.tensor([[1.0, 0.0, 0.0, 0.0]])


def disc(**changes: object) -> Gaussians:
    """One disc in the plane z = 2, turned about the x axis."""
    kept = {
        "means": torch.tensor([[0.1, -0.05, 2.0]]),
        "scales": torch.tensor([[0.3, 0.15, 0.0]]),
        "quaternions": torch.tensor([[0.9, 0.35, 0.1, 0.0]]),
        "opacities": torch.tensor([0.9]),
        "colors": torch.tensor([[1.0, 0.5, 0.2]]),
    }
    return Gaussians(**(kept | changes), primitive="surfel")  # pyright: ignore[reportArgumentType]


def ahead(height: int = 40, width: int = 52) -> Camera:
    return Camera.pinhole(height, width, 50.0)


def test_the_specification_is_the_formula(generator: torch.Generator) -> None:
    gaussians = surfels(30, generator).to(torch.float64)
    color, light, summed, median = brute_force(gaussians, camera())
    shown = render(gaussians, camera(), "black")
    torch.testing.assert_close(shown.color, color, atol=1e-9, rtol=0)
    torch.testing.assert_close(shown.alpha, 1 - light, atol=1e-9, rtol=0)
    assert shown.depth is not None
    torch.testing.assert_close(shown.depth, summed / (1 - light).clamp_min(2e-16), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(render(gaussians, camera(), "black", depth="median").depth, median, atol=1e-9, rtol=0)


def test_depths_are_those_of_the_plane() -> None:
    gaussians, view = disc().to(torch.float64), ahead()
    shown = render(gaussians, view, "black", backend="torch")
    normal = quaternions_to_matrices(gaussians.quaternions)[0, :, 2]
    rows, columns = (shown.alpha > 0.2).nonzero().unbind(1)
    rays = torch.stack(
        [(columns + 0.5 - view.cx) / view.fx, (rows + 0.5 - view.cy) / view.fy, torch.ones(len(rows))], dim=-1
    ).double()
    expected = (gaussians.means[0] @ normal) / (rays @ normal)
    assert len(rows) > 50 and float(expected.max() - expected.min()) > 0.1
    assert shown.depth is not None
    torch.testing.assert_close(shown.depth[rows, columns], expected, atol=1e-7, rtol=0)
    median = render(gaussians.to(torch.float32), view, "black", depth="median").depth
    assert median is not None
    half = shown.alpha[rows, columns] > 0.51
    torch.testing.assert_close(median[rows[half], columns[half]].double(), expected[half], atol=1e-5, rtol=0)


def weighted(shown: Rendering, seed: int = 1) -> Tensor:
    """A sum of all that a rendering has, with weights that do not depend on the precision."""
    generator = torch.Generator().manual_seed(seed)
    total = shown.color.new_zeros(())
    for each in (shown.color, shown.alpha, shown.depth, shown.moments):
        if each is not None:
            total = total + (each * torch.randn(each.shape, generator=generator, dtype=torch.float64).to(each)).sum()
    return total


def gradients(
    gaussians: Gaussians, view: Camera, backend: str, dtype: torch.dtype, depth: bool | str
) -> dict[str, Tensor]:
    tensors = {name: each.detach().to(dtype).clone().requires_grad_() for name, each in gaussians.tensors().items()}
    matrix = view.viewmats.to(dtype).clone().requires_grad_()
    shown = render(replace(gaussians, **tensors), replace(view, viewmats=matrix), "black", backend, depth, check=False)
    weighted(shown).backward()
    # The normal may be an axis of its own or the product of two: they differ unless the matrix stays a rotation.
    assert matrix.grad is not None
    turned = matrix.grad[:3, :3] @ view.viewmats[:3, :3].to(dtype).T
    moved = {"rotation": turned - turned.T, "translation": matrix.grad[:3, 3]}
    found = {name: each.grad for name, each in tensors.items()} | moved
    return {name: each for name, each in found.items() if each is not None}


@pytest.mark.parametrize("depth", [False, True, "moments"])
@pytest.mark.parametrize("degree", [None, 2])
def test_the_kernel_agrees_with_the_specification(
    generator: torch.Generator, depth: bool | str, degree: int | None
) -> None:
    gaussians = surfels(60, generator, degree=degree)
    exact = render(gaussians.to(torch.float64), camera(), "black", "torch", depth)
    shown = render(gaussians, camera(), "black", "cpu", depth)
    for name in ("color", "alpha", "depth", "moments"):
        ours, theirs = getattr(shown, name), getattr(exact, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            # A pixel in which a test falls the other way in float32 differs by 1/255 of a colour.
            off = (ours - theirs).abs()
            assert float(off.median()) < 1e-5 and float((off > 1e-4).double().mean()) < 2e-3, name
    wanted = gradients(gaussians, camera(), "torch", torch.float64, depth)
    got = gradients(gaussians, camera(), "cpu", torch.float32, depth)
    assert set(wanted) == set(got)
    for name, each in wanted.items():
        assert float((got[name] - each).norm()) < 2e-3 * float(each.norm()), name
    assert not got["scales"][:, 2].any()


def test_medians_of_the_kernel(generator: torch.Generator) -> None:
    gaussians = surfels(60, generator)
    for primitive in ("surfel", "gaussian"):
        each = replace(gaussians, primitive=primitive)
        exact = render(each.to(torch.float64), camera(), "black", "torch", "median").depth
        shown = render(each, camera(), "black", "cpu", "median").depth
        assert exact is not None and shown is not None and (exact > 0).any() and (exact == 0).any()
        # Where T is ½ within rounding, the next one may have the median.
        assert float(((shown - exact).abs() > 1e-4).double().mean()) < 3e-3


def test_moments_of_gaussians_agree_with_the_specification(generator: torch.Generator) -> None:
    gaussians = replace(surfels(40, generator), primitive="gaussian")
    wanted = gradients(gaussians, camera(), "torch", torch.float64, "moments")
    got = gradients(gaussians, camera(), "cpu", torch.float32, "moments")
    for name, each in wanted.items():
        assert float((got[name] - each).norm()) < 1e-3 * float(each.norm()), name


def test_gradients_are_those_of_finite_differences() -> None:
    gaussians, view = disc().to(torch.float64), ahead(12, 14)

    def shown(means: Tensor, scales: Tensor, quaternions: Tensor, opacities: Tensor) -> Tensor:
        made = Gaussians(means, scales, quaternions, opacities, colors=gaussians.colors, primitive="surfel")
        pictures = render(made, view, "black", "torch", "moments", check=False)
        # Smooth where nothing is cut off or passes to the floor.
        assert pictures.moments is not None
        return torch.cat([pictures.color[:, 4:8, 5:9].flatten(), pictures.moments[:, 4:8, 5:9].flatten()])

    inputs = [
        each.detach().clone().requires_grad_()
        for each in (gaussians.means, gaussians.scales, gaussians.quaternions, gaussians.opacities)
    ]
    assert torch.autograd.gradcheck(shown, inputs, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"quaternions": torch.tensor([[0.5**0.5, 0.5**0.5, 0.0, 0.0]]), "means": torch.tensor([[0.0, 0.0, 2.0]])},
        {"scales": torch.tensor([[1e-9, 1e-9, 0.0]])},
        {"scales": torch.tensor([[0.0, 0.3, 0.0]])},
        {"scales": torch.tensor([[0.0, 0.0, 0.0]])},
        {"scales": torch.tensor([[0.05 * 2.0 / 55, 0.05 * 2.0 / 55, 0.0]])},
        {"scales": torch.tensor([[50.0, 50.0, 0.0]])},
        {"quaternions": torch.tensor([[0.71, 0.704, 0.0, 0.0]]), "scales": torch.tensor([[30.0, 30.0, 0.0]])},
        {"means": torch.tensor([[0.0, 0.0, 0.0101]])},
    ],
)
def test_degenerate_discs_are_finite_and_agree(changes: dict[str, Tensor]) -> None:
    gaussians, view = disc(**changes), ahead()
    exact = render(gaussians.to(torch.float64), view, "black", "torch")
    shown = render(gaussians, view, "black", "cpu")
    assert float((shown.color - exact.color).abs().max()) < 2e-3
    for backend, dtype in (("torch", torch.float64), ("cpu", torch.float32)):
        for name, each in gradients(gaussians, view, backend, dtype, True).items():
            assert each.isfinite().all(), (backend, name)


def test_a_disc_of_a_twentieth_of_a_pixel_is_seen_as_its_floor() -> None:
    view = ahead()
    pixel = 2.0 / float(view.fx)
    middle = torch.tensor([[0.5 * pixel, 0.5 * pixel, 2.0]])
    gaussians = disc(scales=torch.full((1, 3), 0.05 * pixel), means=middle, quaternions=FACING)
    shown = render(gaussians, view, "black").alpha
    row, column = 20, 26
    assert float(shown[row, column]) == pytest.approx(0.9, abs=1e-5)
    assert float(shown[row, column + 1]) == pytest.approx(0.9 * float(torch.exp(torch.tensor(-1.0))), abs=1e-5)


def test_a_disc_that_faces_the_camera_is_the_flat_gaussian_but_for_the_filter() -> None:
    gaussians = disc(quaternions=FACING, means=torch.tensor([[0.0, 0.0, 2.0]]), scales=torch.tensor([[0.4, 0.3, 0.0]]))
    flat = replace(gaussians, primitive="gaussian")
    difference = (render(gaussians, ahead()).color - render(flat, ahead()).color).abs().max()
    assert 0 < float(difference) < 0.01


def test_no_gaussian_of_a_batch_or_grid_is_lost(generator: torch.Generator) -> None:
    gaussians = surfels(50, generator)
    whole = render(gaussians, camera(), "black", depth=False).color
    part = render(gaussians, camera(), "black", depth=False, grid=PixelGrid(2, 1, 0)).color
    off = (part - whole[:, 0::2, 1::2]).abs()
    assert float(off.max()) < 5e-3 and float(off.mean()) < 1e-5


def test_info_of_surfels(generator: torch.Generator) -> None:
    gaussians = surfels(50, generator)
    means = gaussians.means.clone().requires_grad_()
    shown = render(replace(gaussians, means=means), camera(), "black", info=("weights", "absgrad"))
    shown.color.sum().backward()
    info = shown.info
    assert info is not None and info.weight_sums is not None
    assert float(info.weight_sums.sum()) == pytest.approx(float(shown.alpha.detach().sum()), rel=1e-4)
    assert info.means2d_grad is not None and info.means2d_absgrad is not None
    assert (info.means2d_absgrad >= info.means2d_grad.abs() - 1e-4).all()
    assert float(info.means2d_absgrad.max()) > 0


def test_what_surfels_cannot_do_is_said(generator: torch.Generator) -> None:
    gaussians = surfels(5, generator)
    with pytest.raises(InputError, match="filter: expected one of point for the primitive 'surfel', got 'mip'"):
        render(gaussians, camera(), filter="mip")
    with pytest.raises((InputError, BackendError), match="surfel"):
        render(gaussians, Camera.panorama(16, 32))
    with pytest.raises(InputError, match="camera: expected pinhole cameras for surfels, which rays meet, got ortho"):
        render(gaussians, replace(camera(), model="orthographic"))
    with pytest.raises(InputError, match="depth: expected True, False or one of mean, median, moments, got 'mode'"):
        render(gaussians, camera(), depth="mode")
