"""Smooth convexes by arithmetic of their own, their limit the polygon, and inputs that make no hull."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import splatlearn as sl
from rendering.convexes import brute_force, camera, convexes, edges_of
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.fitting import FitOptions, as_convexes
from splatlearn.rendering import Splats, as_primitive, composite, project, render
from splatlearn.rendering.backends.torch.primitives.convex import Convex, convex_shapes
from splatlearn.rendering.backends.torch.primitives.hull import hull_of

pytestmark = pytest.mark.filterwarnings("ignore::splatlearn.core.errors.SlowBackendWarning")


@pytest.mark.parametrize("points", [3, 5, 8])
def test_the_specification_is_the_formula(points: int, generator: torch.Generator) -> None:
    gaussians = convexes(6, generator, points)
    color, light = brute_force(gaussians, camera())
    shown = render(gaussians, camera(), "black", depth=False)
    torch.testing.assert_close(shown.color, color, atol=1e-7, rtol=0)
    torch.testing.assert_close(shown.alpha, 1 - light, atol=1e-7, rtol=0)
    assert 0.05 < float(shown.alpha.mean()) < 0.95


def polygon(corners: Tensor, smoothness: float, sharpness: float) -> Gaussians:
    """One convex in the plane of a picture of 40 × 40 px, white, with these corners in px."""
    places = (corners - 20) / 20
    local = torch.nn.functional.pad(places, (0, 1)).flatten()
    shapes = torch.cat([corners.new_tensor((smoothness, sharpness)), local])
    one = torch.ones(1, 3, dtype=corners.dtype)
    return Gaussians(
        0 * one, one, one.new_tensor([[1.0, 0, 0, 0]]), one[0, :1] * 0.95, colors=one, shapes=shapes[None],
        primitive="convex",
    )  # fmt: skip


FLAT = replace(Camera.gmae(40, 40), model="orthographic")


def test_a_sharp_convex_is_the_polygon() -> None:
    """Its light goes to opacity · area, by Heron's shoelace, and what is inside and outside to opacity and 0."""
    corners = torch.tensor([[7.2, 9.1], [31.4, 6.3], [35.8, 20.2], [22.9, 33.7], [10.5, 27.6]], dtype=torch.float64)
    after = corners.roll(-1, 0)
    area = 0.5 * float((corners[:, 0] * after[:, 1] - corners[:, 1] * after[:, 0]).sum().abs())
    rows, columns = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(40) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).double()
    sides = after - corners
    across = [
        sides[i, 0] * (pixels[..., 1] - corners[i, 1]) - sides[i, 1] * (pixels[..., 0] - corners[i, 0])
        for i in range(5)
    ]
    is_inside = torch.stack(across).amin(0) > 0
    off = []
    for sharp in (10.0, 40.0, 160.0, 2560.0):
        alpha = render(polygon(corners, sharp, sharp), FLAT, "black", depth=False).alpha
        off.append(float((alpha - 0.95 * is_inside).abs().mean()))
    assert off[0] > 2 * off[1] > 4 * off[2] and off[3] < 1e-3
    soft = render(polygon(corners, 2560.0, 40.0), FLAT, "black", depth=False).alpha
    # Edges a pixel wide: the sum over pixels is the area.
    assert float(soft.sum()) == pytest.approx(0.95 * area, rel=0.01)


def test_smoothness_rounds_corners_and_sharpness_is_the_slope_of_edges() -> None:
    corners = torch.tensor([[5.0, 5.0], [35.0, 5.0], [35.0, 35.0], [5.0, 35.0]], dtype=torch.float64)

    def alpha_at(smoothness: float, x: float, y: float) -> float:
        splats = project(polygon(corners, smoothness, 8.0).reshape_batch(1), FLAT)
        at = Convex().alpha_at(splats.means2d, splats.packed, splats.opacities, corners.new_tensor([[x, y]]))
        return float(at.alpha)

    for smoothness in (10.0, 100.0):
        # In the middle of an edge α is half, with the slope σ/4 in sizes, of which one is 20 px.
        assert alpha_at(smoothness, 35.0, 20.0) == pytest.approx(0.475, abs=2e-3)
        slope = alpha_at(smoothness, 34.9, 20.0) - alpha_at(smoothness, 35.1, 20.0)
        assert slope == pytest.approx(0.95 * 8.0 / 4 * 0.2 / 20, rel=1e-2)
        # At a corner two distances are 0, whose smooth maximum is ln 2 / δ.
        expected = 0.95 / (1 + math.exp(8.0 * math.log(2) / smoothness))
        assert alpha_at(smoothness, 35.0, 35.0) == pytest.approx(expected, rel=1e-3)


def test_neither_distance_nor_resolution_changes_what_is_blurred(generator: torch.Generator) -> None:
    """A picture of four times the pixels, and a scene twice as large at twice the distance."""
    one = convexes(1, generator, spread=0.0)
    near = Camera.look_at((0.0, 0.0, -3.0), (0.0, 0.0, 0.0), 16, 16, 45.0)
    fine = Camera.look_at((0.0, 0.0, -3.0), (0.0, 0.0, 0.0), 48, 48, 45.0)
    far = Camera.look_at((0.0, 0.0, -6.0), (0.0, 0.0, 0.0), 16, 16, 45.0)
    shown = render(one, near, "black", depth=False).alpha
    # Centres of every third pixel coincide.
    torch.testing.assert_close(render(one, fine, "black", depth=False).alpha[1::3, 1::3], shown)
    torch.testing.assert_close(render(one.transformed(scale=2.0), far, "black", depth=False).alpha, shown)


@pytest.mark.parametrize("view", ["gmae", "pinhole"])
@pytest.mark.parametrize("points", [3, 6])
def test_gradients_are_those_of_finite_differences(view: str, points: int, generator: torch.Generator) -> None:
    gaussians = convexes(3, generator, points)
    seen = Camera.gmae(6, 5) if view == "gmae" else camera(6, 5)
    target = torch.rand(3, 6, 5, generator=generator, dtype=torch.float64)
    names, leaves = [*gaussians.tensors()], [each.clone().requires_grad_() for each in gaussians.tensors().values()]

    def loss(*tensors: Tensor) -> Tensor:
        made = replace(gaussians, **dict(zip(names, tensors, strict=True)))
        return (render(made, seen, "white", "torch", depth=False, check=False).color - target).square().sum()

    assert torch.autograd.gradcheck(loss, leaves, atol=1e-5, fast_mode=True)


def test_written_gradients_are_those_of_autograd(generator: torch.Generator) -> None:
    splats = project(convexes(5, generator, batch=(2,)), camera(7, 6))
    splats = splats.map(lambda each: each.detach())

    def gradients(is_recorded: bool) -> list[Tensor]:
        leaves = splats.map(lambda each: each.clone().requires_grad_())

        def loss(tensors: dict[str, Tensor]) -> Tensor:
            made = Splats(**tensors, primitive=splats.primitive)
            return composite(made, 7, 6, backend="torch")[0].square().sum()

        if is_recorded:
            # A function transform differentiates the formula itself.
            return [*torch.func.grad(loss)({k: v.detach() for k, v in leaves.tensors().items()}).values()]
        loss(leaves.tensors()).backward()
        return [each.grad if each.grad is not None else torch.zeros_like(each) for each in leaves.tensors().values()]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-8)


def degenerate(points: int) -> dict[str, Tensor]:
    """Points that make no hull, or next to none, by what is wrong with them."""
    generator = torch.Generator().manual_seed(points)
    usual = torch.tensor(convex_shapes(points, flat=True))[2:].reshape(points, 3)
    line = usual.clone()
    line[:, 1] = 0.0
    pair = usual.clone()
    pair[1] = pair[0]
    needle = usual * torch.tensor([1.0, 1e-6, 1.0])
    return {
        "one place": torch.zeros(points, 3),
        "one line": line,
        "along the ray": usual[:, [2, 1, 0]] * torch.tensor([0.0, 0.0, 1.0]),
        "two as one": pair,
        "all as two": usual[torch.arange(points) % 2],
        "a needle": needle,
        "huge": usual * 1e12,
        "tiny": usual * 1e-12,
        "behind the camera": usual + torch.tensor([0.0, 0.0, -30.0]),
        "nearly on a line": line + 1e-7 * torch.randn(points, 3, generator=generator),
    }


@pytest.mark.parametrize("points", range(3, 9))
def test_degenerate_points_stay_finite(points: int) -> None:
    cases = degenerate(points)
    count = len(cases)
    numbers = torch.tensor(convex_shapes(points))[:2].expand(count, 2)
    shapes = torch.cat([numbers, torch.stack([*cases.values()]).flatten(1)], dim=-1)
    gaussians = Gaussians(
        torch.zeros(count, 3), torch.full((count, 3), 0.2), torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.full((count,), 0.9), colors=torch.rand(count, 3), shapes=shapes, primitive="convex",
    )  # fmt: skip
    for view in (Camera.gmae(9, 9), Camera.look_at((0.0, 0.0, -3.0), (0.0, 0.0, 0.0), 9, 9, 45.0)):
        leaves = gaussians.map(lambda each: each.clone().requires_grad_())
        shown = render(leaves, view, "black", depth=False, check=False)
        shown.color.square().sum().backward()
        assert bool(shown.color.isfinite().all())
        for name, each in leaves.tensors().items():
            assert each.grad is not None and bool(each.grad.isfinite().all()), name
        alone = {
            name: float(render(gaussians.select(torch.tensor([i])), view, depth=False, check=False).alpha.max())
            for i, name in enumerate(cases)
        }
        hidden = ("one place", "one line", "along the ray", "all as two", "tiny")
        assert all(alone[name] == 0.0 for name in hidden), alone
        assert points == 3 or alone["two as one"] > 0.3


def test_hulls_are_those_of_all_pairs(generator: torch.Generator) -> None:
    for points in range(3, 9):
        places = torch.randn(20, points, 2, generator=generator, dtype=torch.float64)
        hull = hull_of(places)
        for index, each in enumerate(places.tolist()):
            corners = hull.order[index][hull.is_corner[index]].tolist()
            after = hull.after[index][hull.is_corner[index]].tolist()
            assert after == [*corners[1:], corners[0]] and len(corners) == len(edges_of([tuple(p) for p in each]))
            lines = edges_of([tuple(p) for p in each])
            for corner in corners:
                x, y = each[corner]
                assert sum(abs(a * x + b * y + c) < 1e-9 for a, b, c in lines) == 2


def test_nothing_is_outside_of_the_box(generator: torch.Generator) -> None:
    splats = project(convexes(40, generator).reshape_batch(1), camera(60, 80))
    half = Convex().bounds(splats.packed, splats.opacities)
    assert bool(half.isfinite().all()) and float(half.median()) < 40
    rows, columns = torch.meshgrid(torch.arange(-40, 100) + 0.5, torch.arange(-40, 120) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).reshape(-1, 2).double()
    alpha = Convex().alpha_at(splats.means2d, splats.packed, splats.opacities, pixels).alpha
    off = (pixels[None, None] - splats.means2d[:, :, None]).abs()
    is_outside = (off > half[:, :, None]).any(-1)
    assert not bool((alpha[is_outside] > 0).any()) and bool((alpha > 0).any(-1).all())


def test_it_moves_with_the_scene_and_its_mirror_image(generator: torch.Generator) -> None:
    gaussians = convexes(4, generator)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    for matrix in (
        turn,
        -turn,
        torch.diag(turn.new_tensor((1.0, -1.0, -1.0))),
        torch.diag(turn.new_tensor((1, 1, -1))),
    ):
        moved = gaussians.transformed(matrix)

        def points(each: Gaussians) -> Tensor:
            assert each.shapes is not None
            local = each.shapes[:, 2:].unflatten(1, (-1, 3)) * each.scales.unsqueeze(1)
            return each.means.unsqueeze(1) + local @ quaternions_to_matrices(each.quaternions).mT

        torch.testing.assert_close(points(moved), points(gaussians) @ matrix.T)


def test_plain_gaussians_become_what_shows_about_the_same() -> None:
    one = Gaussians(
        torch.zeros(1, 3), torch.full((1, 3), 0.5), torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([0.9]),
        colors=torch.ones(1, 3),
    )  # fmt: skip
    plain = render(one, FLAT, "black", depth=False).alpha
    for points in (4, 6, 8):
        made = render(as_convexes(one, points, flat=True), FLAT, "black", depth=False).alpha
        assert float((made - plain).abs().max()) < 0.2 and 0.8 < float(made.sum() / plain.sum()) < 1.2
    assert as_primitive(one, "convex").shapes is not None


@pytest.mark.parametrize("points", [4, 8])
def test_one_photograph_is_fitted(points: int, generator: torch.Generator) -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[..., 4:12, 3:13] = 1.0
    errors = []
    options = FitOptions(primitive="convex", points=points, background="black", add=1, rounds=1)
    fitted = sl.fit(image, 2, 30, options, watch=lambda step, error: errors.append(float(error)))
    assert fitted.primitive == "convex" and fitted.count == 3
    assert fitted.shapes is not None and fitted.shapes.shape[-1] == 2 + 3 * points
    assert errors[-1] < 0.3 * errors[0]
    again = sl.fit(image, fitted, 0)
    assert again.shapes is not None
    torch.testing.assert_close(again.shapes, fitted.shapes)


def test_what_is_wrong_is_named(generator: torch.Generator) -> None:
    made, view = convexes(3, generator), Camera.gmae(4, 4)
    assert made.shapes is not None
    with pytest.raises(InputError, match="shapes: expected delta, sigma and 3 numbers for each of 3 to 8 points .* 8"):
        render(replace(made, shapes=made.shapes[:, :8]), view)
    with pytest.raises(InputError, match="shapes: expected smoothness and sharpness above 0, got 0"):
        render(replace(made, shapes=0 * made.shapes), view)
    with pytest.raises(InputError, match="filter: expected one of point for the primitive 'convex', got 'mip'"):
        render(made, view, filter="mip")
    with pytest.raises(InputError, match="camera: expected one without a panorama's model for 'convex'"):
        render(made, Camera.panorama(8, 16))
    with pytest.raises(InputError, match="points: expected"):
        as_convexes(random_gaussians(generator, ()), 9)
    with pytest.raises(InputError, match="gaussians: expected plain ones"):
        as_convexes(made)
