"""Panoramas: the specification by geometry, and the compiled ways against it in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rendering.compiled import CPU, Compiled, relative_error
from rendering.finite_differences import assert_gradients
from rendering.many import free, free_camera, many
from splatlearn.core.cameras import Camera, PixelGrid, tangent_frames
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import formula, project, render
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.torch import sphere
from splatlearn.rendering.backends.torch.primitives.gaussian import Gaussian

BACKGROUND = (0.3, 0.6, 0.9)
needs_kernels = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
BACKENDS = ["torch", pytest.param("cpu", marks=needs_kernels)]
SIZES = ((32, 64), (70, 141), (30, 60), (65, 200))


def askew(height: int, width: int) -> Camera:
    """A panorama within the Gaussians of `many`, tilted."""
    return Camera.panorama(height, width, Camera.look_at((0.3, -0.2, -0.4), (0.0, 0.5, 0.0), 8, 8).viewmats)


def turned(angle: float) -> Tensor:
    """A matrix that turns the world about the vertical, so that what is ahead moves to the right."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return torch.tensor(
        [[cosine, 0.0, sine, 0.0], [0.0, 1.0, 0.0, 0.0], [-sine, 0.0, cosine, 0.0], [0.0, 0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )


def blob(direction: tuple[float, float, float], angle: float, opacity: float = 0.9, distance: float = 2.0) -> Gaussians:
    """A round Gaussian whose standard deviation is seen under an angle, degrees."""
    mean = distance * torch.nn.functional.normalize(torch.tensor(direction), dim=0)
    return Gaussians(
        means=mean[None],
        scales=torch.full((1, 3), distance * math.radians(angle)),
        quaternions=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        colors=torch.ones(1, 3),
        opacities=torch.full((1,), opacity),
    )


def clear_pixels(gaussians: Gaussians, camera: Camera, band: float = 1e-3) -> Tensor:
    """Pixels [H, W] in which no α is next to a limit, and no transmittance next to that of an opaque pixel."""
    exact = gaussians.map(lambda each: each.detach().double().unsqueeze(0))
    exact = replace(exact, sh=None, colors=exact.means)
    splats, frames = sphere.project(exact, camera.viewmats.double(), camera)
    rows, columns = torch.meshgrid(
        torch.arange(camera.height, dtype=torch.float64) + 0.5,
        torch.arange(camera.width, dtype=torch.float64) + 0.5,
        indexing="ij",
    )
    rays = sphere.rays(torch.stack([columns, rows], -1).reshape(-1, 2), camera)
    east, down, ahead = torch.einsum("kij,pj->ikp", frames[0], rays)
    faces = ahead > formula.FACING
    scale = sphere.focal(camera) / torch.where(faces, ahead, 1.0)
    at = Gaussian().alpha_off((east * scale)[None], (down * scale)[None], splats.conics, splats.opacities)
    alpha = torch.where(faces, at.alpha[0], 0.0)
    left = (1.0 - alpha).cumprod(0)
    close = [
        ((each / limit - 1).abs() < band) & faces
        for each, limit in ((at.raw[0], formula.ALPHA_MIN), (at.raw[0], formula.ALPHA_MAX))
    ]
    close.append((left / formula.TRANSMITTANCE_MIN - 1).abs() < band)
    return ~torch.stack(close).any(0).any(0).reshape(camera.height, camera.width)


def results(
    gaussians: Gaussians, camera: Camera, backend: str, dtype: torch.dtype, clear: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Colours with depth and coverage [5, H, W], and the gradients of a random sum over `clear` pixels."""
    leaves, moved = free(gaussians, dtype), free_camera(camera, dtype)
    channels = 3 if gaussians.colors is None else gaussians.colors.shape[-1]
    background = torch.tensor((BACKGROUND * 14)[:channels], dtype=dtype).requires_grad_()
    made = render(leaves, moved, background, backend)
    assert made.depth is not None
    picture = torch.cat([made.color, made.alpha[None], (made.depth * made.alpha)[None]])
    weights = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    inputs = {**leaves.tensors(), "viewmats": moved.viewmats, "background": background}
    gradients = torch.autograd.grad((picture * weights * clear).sum(), list(inputs.values()))
    return picture.detach(), dict(zip(inputs, gradients, strict=True))


def assert_agrees(gaussians: Gaussians, camera: Camera, backend: str = "auto", most: float = 2e-5) -> None:
    clear = clear_pixels(gaussians, camera)
    assert clear.double().mean() > 0.5
    got, of_got = results(gaussians, camera, backend, torch.float32, clear)
    want, of_want = results(gaussians, camera, "torch", torch.float64, clear)
    error = (got - want).abs() * clear
    assert float(error[:-1].max()) < 2e-5 and float(error[-1].max()) < 1e-4
    for name, each in of_want.items():
        allowed = 10 * most if name in ("scales", "quaternions") else most
        assert relative_error(of_got[name], each) < allowed, (name, relative_error(of_got[name], each))


@pytest.fixture(params=CPU)
def instructions(request: pytest.FixtureRequest) -> Iterator[Compiled]:
    with request.param.active():
        yield request.param


@needs_kernels
@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.large) for seed in range(6, 12))])
def test_compiled_panoramas_agree_with_the_specification(seed: int) -> None:
    gaussians = many(torch.Generator().manual_seed(seed), 300, degree=(None, 0, 1, 2, 3, 4)[seed % 6])
    assert_agrees(gaussians, askew(*SIZES[seed % len(SIZES)]))


@needs_kernels
def test_every_instruction_set_agrees_with_the_specification(instructions: Compiled) -> None:
    assert_agrees(many(torch.Generator().manual_seed(3), 200, degree=3), askew(70, 141))


@needs_kernels
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_gaussians_are_rendered_by_the_same_kernels(count: int) -> None:
    gaussians = many(torch.Generator().manual_seed(1), 9, degree=1).select(slice(6, 6 + count))
    assert_agrees(gaussians, askew(20, 40))


@needs_kernels
@pytest.mark.parametrize("channels", [1, 4, 17])
def test_features_of_any_number_are_blended(channels: int) -> None:
    assert_agrees(many(torch.Generator().manual_seed(2), 100, degree=None, channels=channels), askew(33, 70))


@needs_kernels
def test_threads_change_no_bit() -> None:
    gaussians, camera = many(torch.Generator().manual_seed(4), 3000, degree=1), askew(128, 256)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(results(gaussians, camera, "cpu", torch.float32, torch.ones(128, 256)))
    torch.set_num_threads(before)
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(each, found[1][1][name]) for name, each in found[0][1].items())


def test_gradients_are_those_of_finite_differences() -> None:
    """Of Gaussians in all directions, one of them on the vertical axis."""
    gaussians = many(torch.Generator().manual_seed(0), 14, degree=1).select(slice(6, 14)).to(torch.float64)
    means = gaussians.means.index_put((torch.tensor([0]),), torch.tensor([[0.0, -1.5, 0.0]], dtype=torch.float64))
    gaussians = replace(gaussians, means=means, opacities=gaussians.opacities.clamp(0.2, 0.9))
    names = list(gaussians.tensors())

    def picture(view: Tensor, *tensors: Tensor) -> Tensor:
        moved = replace(gaussians, **dict(zip(names, tensors, strict=True)))
        made = render(moved, Camera.panorama(5, 10, view), BACKGROUND, "torch", check=False)
        assert made.depth is not None
        return torch.cat([made.color, made.depth[None]])

    assert_gradients(picture, [torch.eye(4, dtype=torch.float64), *gaussians.tensors().values()], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turning_about_the_vertical_rolls_the_picture(backend: str, quarters: int) -> None:
    gaussians = many(torch.Generator().manual_seed(5), 200)
    straight, moved = (
        render(gaussians, Camera.panorama(30, 72, turned(angle).float()), BACKGROUND, backend).color
        for angle in (0.0, quarters * math.pi / 2)
    )
    torch.testing.assert_close(moved, straight.roll(quarters * 18, -1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_seen_of_a_point_does_not_depend_on_what_is_up(backend: str) -> None:
    """A picture on its side shows the same at the same directions, however near to a pole they are."""
    gaussians = many(torch.Generator().manual_seed(6), 100, degree=None)
    upright = Camera.panorama(60, 120)
    side = torch.tensor([[0.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    made, tilted = (
        render(gaussians, camera, BACKGROUND, backend).color for camera in (upright, replace(upright, viewmats=side))
    )
    # The middle of the picture, about the axis of the turn, read at the directions of the other picture's pixels.
    rows, columns = torch.meshgrid(torch.arange(20, 40) + 0.5, torch.arange(50, 70) + 0.5, indexing="ij")
    rays = sphere.rays(torch.stack([columns, rows], -1).reshape(-1, 2), upright) @ side[:3, :3].T
    x, y, z = rays.unbind(-1)
    pixels = upright.projection.project(x, y, z, upright.lens(z))
    grid = torch.stack([pixels[0] / 60 - 1, pixels[1] / 30 - 1], -1)[None, None]
    read = torch.nn.functional.grid_sample(tilted[None], grid, mode="bicubic", align_corners=False)[0, :, 0]
    error = (read - made[:, 20:40, 50:70].flatten(1)).square().mean()
    assert -10 * math.log10(float(error)) > 35


def stitched(gaussians: Gaussians, camera: Camera, side: int) -> Tensor:
    """A panorama read out of six pinhole pictures of a right angle."""
    rows, columns = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
    rays = sphere.rays(torch.stack([columns, rows], -1).reshape(-1, 2), camera)
    out = torch.zeros(3, len(rays))
    for axis in range(3):
        for sign in (1.0, -1.0):
            ahead = torch.zeros(3)
            ahead[axis] = sign
            right = torch.zeros(3)
            right[(axis + 1) % 3] = 1.0
            face = torch.eye(4)
            face[:3, :3] = torch.stack([right, torch.linalg.cross(ahead, right), ahead])
            made = render(
                gaussians, Camera.pinhole(side, side, 90.0, face @ camera.viewmats), BACKGROUND, "torch"
            ).color
            local = rays @ face[:3, :3].T
            here = local[:, 2] >= local.abs().amax(1) - 1e-6
            grid = (local[here, :2] / local[here, 2:])[None, None]
            out[:, here] = torch.nn.functional.grid_sample(
                made[None], grid, align_corners=False, padding_mode="border"
            )[0, :, 0]
    return out.unflatten(1, (camera.height, camera.width))


@pytest.mark.parametrize("backend", BACKENDS)
def test_six_pinhole_pictures_show_the_same(backend: str) -> None:
    gaussians = many(torch.Generator().manual_seed(7), 150, degree=2)
    # Small enough for the pinhole, which errs far from its axis, and so wide that the filter of a pixel matters little.
    distance = (gaussians.means - askew(8, 8).centers).norm(dim=-1, keepdim=True)
    gaussians = replace(
        gaussians, scales=gaussians.scales.clamp(0.02 * distance, 0.08 * distance), opacities=0.8 * gaussians.opacities
    )
    camera = askew(96, 192)
    made = render(gaussians, camera, BACKGROUND, backend).color
    error = (made - stitched(gaussians, camera, 160)).square().mean()
    assert float(made.std()) > 0.1
    assert -10 * math.log10(float(error)) > 35


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("up", [1.0, -1.0])
@pytest.mark.parametrize("angle", [1.0, 4.0, 15.0])
def test_a_blob_at_a_pole_is_round(backend: str, up: float, angle: float) -> None:
    made = render(blob((0.0, up, 0.0), angle), Camera.panorama(64, 128), "black", backend)
    torch.testing.assert_close(made.color, made.color[..., :1].expand(-1, -1, 128), rtol=0, atol=2e-6)
    profile = made.alpha[:, 0] if up < 0 else made.alpha[:, 0].flip(0)
    away = (torch.arange(64) + 0.5) * math.pi / 64
    variance = math.radians(angle) ** 2 + formula.EPS2D * (math.pi / 64) ** 2
    expected = 0.9 * torch.exp(-0.5 * away.clamp_max(1.5).tan() ** 2 / variance)
    expected = torch.where((expected >= formula.ALPHA_MIN) & (away < math.pi / 2), expected, 0.0)
    torch.testing.assert_close(profile, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("degrees", [0.0, 20.0, 89.0])
@pytest.mark.parametrize("angle", [0.5, 3.0, 12.0, 25.0])
def test_a_blob_is_round_in_angle_anywhere(backend: str, degrees: float, angle: float) -> None:
    """Next to the seam and the pole, and as wide as they come: α is a function of the angle to the centre alone."""
    latitude, longitude = math.radians(degrees), math.radians(179.5)
    direction = (math.cos(latitude) * math.sin(longitude), math.sin(latitude), math.cos(latitude) * math.cos(longitude))
    camera = Camera.panorama(60, 120)
    made = render(blob(direction, angle), camera, "black", backend).alpha.double()
    rows, columns = torch.meshgrid(torch.arange(60).double() + 0.5, torch.arange(120).double() + 0.5, indexing="ij")
    cosines = sphere.rays(torch.stack([columns, rows], -1).reshape(-1, 2), camera) @ torch.tensor(direction).double()
    cosines = cosines.reshape(60, 120).clamp(-1, 1)
    variance = math.radians(angle) ** 2 + formula.EPS2D * (math.pi / 60) ** 2
    raw = 0.9 * torch.exp(-0.5 * cosines.clamp_min(formula.FACING).arccos().tan() ** 2 / variance)
    expected = torch.where((raw >= formula.ALPHA_MIN) & (cosines > formula.FACING), raw, 0.0)
    is_decided = (raw / formula.ALPHA_MIN - 1).abs() > 1e-2
    assert float(((made - expected).abs() * is_decided).max()) < 3e-5
    assert float(made[:, 0].max()) > 0.0 and float(made[:, -1].max()) > 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_depth_is_the_distance(backend: str) -> None:
    """What is nearer covers what is farther, whichever way it lies; near and far planes are spheres."""
    here, there = (blob((1.0, 0.0, 0.2), 20.0, 0.999, distance) for distance in (2.0, 3.0))
    both = Gaussians.cat([replace(there, colors=torch.zeros(1, 3)), here])
    camera = Camera.panorama(32, 64)
    made = render(both, camera, "black", backend)
    assert made.depth is not None
    assert float(made.depth[made.alpha > 0.9].min()) > 1.99 and float(made.color.max()) > 0.97
    for limits, expected in (({"near": 2.5}, 0.0), ({"far": 2.5}, 1.0), ({"near": 3.5}, None)):
        color = render(both, replace(camera, **limits), (0.5, 0.5, 0.5), backend).color
        middle = float(color.flatten(1).mean(0)[made.alpha.flatten().argmax()])
        assert middle == pytest.approx(0.5 if expected is None else expected, abs=0.02)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_at_the_pole_and_in_the_place_of_the_camera_are_finite(backend: str) -> None:
    gaussians = Gaussians.cat(
        [blob((0.0, 1.0, 0.0), 5.0), blob((0.0, -1.0, 0.0), 5.0), blob((1.0, 0.0, 0.0), 5.0, distance=1e-9)]
    )
    leaves, camera = free(gaussians), free_camera(Camera.panorama(16, 32))
    made = render(leaves, camera, BACKGROUND, backend)
    weights = torch.randn(made.color.shape, generator=torch.Generator().manual_seed(0))
    (made.color * weights).sum().backward()
    assert leaves.means.grad is not None and camera.viewmats.grad is not None
    assert bool(leaves.means.grad.isfinite().all()) and bool(camera.viewmats.grad.isfinite().all())
    assert bool(leaves.means.grad[:2].any(dim=-1).all()) and not bool(leaves.means.grad[2].any())


@needs_kernels
def test_info_has_gradients_in_the_tangent_planes() -> None:
    gaussians = many(torch.Generator().manual_seed(8), 20, degree=None)
    # Points: their conics are the filter's, wherever they are.
    gaussians = replace(
        gaussians, scales=torch.zeros_like(gaussians.scales), opacities=gaussians.opacities.clamp(0.3, 0.9)
    )
    camera, points = Camera.panorama(12, 24), free(gaussians)
    made = render(points, camera, BACKGROUND, "cpu", depth=False, info="absgrad")
    weights = torch.randn(made.color.shape, generator=torch.Generator().manual_seed(0))
    (made.color * weights).sum().backward()
    assert made.info is not None and made.info.means2d_grad is not None and points.means.grad is not None
    ids = made.info.ids
    frames = tangent_frames(gaussians.means)[ids]
    scale = sphere.focal(camera) / gaussians.means[ids].norm(dim=-1, keepdim=True)
    in_plane = (frames[:, :2] @ points.means.grad[ids].unsqueeze(-1)).squeeze(-1) / scale
    torch.testing.assert_close(made.info.means2d_grad, in_plane, rtol=1e-3, atol=1e-5)
    absolute = torch.zeros(20, 2)
    for row in range(12):
        for column in range(24):
            one = free(gaussians)
            color = render(one, camera, BACKGROUND, "cpu", depth=False).color
            (color * weights)[:, row, column].sum().backward()
            assert one.means.grad is not None
            absolute[ids] += ((frames[:, :2] @ one.means.grad[ids].unsqueeze(-1)).squeeze(-1) / scale).abs()
    assert made.info.means2d_absgrad is not None
    torch.testing.assert_close(made.info.means2d_absgrad, absolute[ids], rtol=1e-3, atol=1e-5)
    assert torch.equal(ids, torch.arange(20)) and float(made.info.radii.min()) > 0


def test_several_panoramas_of_a_set_are_a_batch() -> None:
    gaussians = many(torch.Generator().manual_seed(9), 50)
    views = torch.stack([askew(8, 16).viewmats, torch.eye(4)])
    both = render(gaussians, Camera.panorama(16, 32, views), BACKGROUND)
    for view, color in zip(views, both.color, strict=True):
        assert torch.equal(color, render(gaussians, Camera.panorama(16, 32, view), BACKGROUND).color)


def test_projection_alone_lies_in_the_plane_of_the_picture() -> None:
    """A small Gaussian ahead: what `project` makes of it is what is drawn; by `composite`, next to no difference."""
    gaussians = replace(blob((0.1, 0.1, 1.0), 2.0), scales=torch.tensor([[0.05, 0.02, 0.03]]))
    splats = project(
        gaussians.reshape_batch(1),
        Camera.panorama(64, 128),
    )
    placed = sphere.project(gaussians.reshape_batch(1), torch.eye(4), Camera.panorama(64, 128)).splats
    torch.testing.assert_close(splats.means2d, placed.means2d)
    torch.testing.assert_close(splats.conics, placed.conics, rtol=0.03, atol=1e-3)


def test_intrinsics_of_another_picture_are_refused() -> None:
    with pytest.raises(
        InputError, match="fx: expected width / 2π = 10.1859 of a panorama, got 12; use Camera.panorama"
    ):
        Camera(64, 32, 12.0, 32 / math.pi, 32.0, 16.0, "panorama")
    with pytest.raises(InputError, match="cy: expected height / 2 = 16 of a panorama, got 15"):
        replace(Camera.panorama(32, 64), cy=15.0)
    with pytest.raises(InputError, match=r"fy: expected height / π = .* got a tensor \[\]"):
        replace(Camera.panorama(32, 64), fy=torch.tensor(32 / math.pi))
    assert Camera.panorama(32, 64).resized(16, 32).fx == pytest.approx(16 / math.pi)


def test_backends_that_cannot_are_named() -> None:
    gaussians = blob((0.0, 0.0, 1.0), 3.0)
    if cpu_support.status() == "ok":
        with pytest.raises(BackendError, match="it computes in float32, got torch.float64"):
            render(gaussians.to(torch.float64), Camera.panorama(8, 16), backend="cpu")
    with pytest.raises(BackendError, match="info: only the compiled kernels collect it"):
        render(gaussians, Camera.panorama(8, 16), backend="torch", info=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("grid", [PixelGrid(2, 1, 0), PixelGrid(3, 0, 2)])
def test_every_s_th_pixel_is_that_of_the_whole_picture(backend: str, grid: PixelGrid) -> None:
    """A full turn is then no whole number of the grid's pixels."""
    gaussians, camera = many(torch.Generator().manual_seed(10), 200), askew(70, 145)
    part = render(gaussians, camera, BACKGROUND, backend, grid=grid).color
    whole = grid.of(render(gaussians, camera, BACKGROUND, backend).color)
    clear = grid.of(clear_pixels(gaussians, camera))
    assert float(((part - whole).abs() * clear).max()) < (1e-6 if backend == "torch" else 3e-5)
