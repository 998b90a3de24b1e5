"""The GPU's way for scenes against the specification in float64 and the way of the CPU: pictures, gradients, `info`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest
import torch

from rendering import gpu
from rendering.compiled import relative_error
from rendering.many import camera, free, free_camera, many
from rendering.test_blend_triton import can_compile, run_script
from rendering.test_scenes import BACKGROUND, clear_pixels
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Rendering, choice, render, scenes
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.scene_views import SceneInputs, SceneLens, SceneView
from splatlearn.rendering.backends.triton import scene as triton_scene
from splatlearn.rendering.compat.gsplat import rasterization

pytestmark = pytest.mark.skipif(gpu.STATUS != "ok", reason=gpu.STATUS)
on_gpu = pytest.mark.skipif(not gpu.HAS_CUDA, reason="no CUDA device")
needs_cpu_kernels = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
ALL = ("weights", "absgrad")


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets of any size go the way for scenes; the interpreter has larger tiles, of which it takes fewer."""
    monkeypatch.setattr(scenes, "FEWEST", 0)
    monkeypatch.setattr(scenes, "ALWAYS", 0)
    monkeypatch.setattr(scenes, "FEWEST_ON_GPU", 0)
    if not gpu.HAS_CUDA:
        monkeypatch.setattr(triton_scene, "TILE", 32)
        monkeypatch.setattr(triton_scene, "SUMMED", (16, 2))
    with gpu.ready():
        yield


Found = tuple[Rendering, dict[str, torch.Tensor]]


def results(
    gaussians: Gaussians,
    view: Camera,
    backend: str,
    clear: torch.Tensor | float = 1.0,
    info: bool | tuple[str, ...] = False,
    filter: str = "point",
) -> Found:
    """A picture, and the gradients of a random sum over its decided pixels, on the CPU; "torch" computes in float64."""
    dtype = torch.float64 if backend == "torch" else torch.float32
    device = gpu.DEVICE if backend == "triton" else "cpu"
    leaves, moved = free(gaussians.to(device), dtype), free_camera(view, dtype)
    channels = 3 if gaussians.colors is None else gaussians.colors.shape[-1]
    background = torch.tensor((BACKGROUND * 14)[:channels], dtype=dtype, device=device).requires_grad_()
    made = render(leaves, moved, background, backend, info=info, filter=filter)
    generator = torch.Generator().manual_seed(0)
    loss = torch.zeros((), dtype=dtype)
    for each in (made.color, made.alpha, made.depth):
        assert each is not None
        loss = loss + (each.cpu() * torch.randn(each.shape, generator=generator) * clear).sum()
    inputs = {**leaves.tensors(), "viewmats": moved.viewmats, "background": background}
    gradients = [each.cpu() for each in torch.autograd.grad(loss, list(inputs.values()))]
    assert made.depth is not None
    here = Rendering(made.color.detach().cpu(), made.alpha.detach().cpu(), made.depth.detach().cpu(), made.info)
    return here, dict(zip(inputs, gradients, strict=True))


def assert_same(got: Found, want: Found, clear: torch.Tensor | float = 1.0, most: float = 3e-5) -> None:
    """Compare pictures at the decided pixels to 1e-5, and gradients to `most` in relative L2."""
    for name in ("color", "alpha"):
        error = ((getattr(got[0], name) - getattr(want[0], name)).abs() * clear).max()
        assert float(error) < 1e-5, (name, float(error))
    assert got[0].depth is not None and want[0].depth is not None
    covered = (want[0].alpha > 0.1) * clear
    assert relative_error(got[0].depth * covered, want[0].depth * covered) < 1e-5
    errors = {name: relative_error(got[1][name], want[1][name]) for name in want[1]}
    # Of the moments of huge and thin splats, little is left in the gradients of scales and rotations.
    allowed = {name: 10 * most if name in ("scales", "quaternions") else most for name in errors}
    assert all(error < allowed[name] for name, error in errors.items()), errors


@pytest.mark.parametrize(
    ("model", "degree", "channels", "size", "tile"),
    [
        ("pinhole", 3, 3, (24, 40), 16),
        ("gmae", 4, 3, (33, 17), 32),
        ("orthographic", 2, 3, (20, 41), 32),
        ("pinhole", None, 1, (9, 33), 32),
        ("gmae", None, 19, (12, 20), 32),
    ],
)
def test_random_scenes_agree_with_the_specification(
    model: str,
    degree: int | None,
    channels: int,
    size: tuple[int, int],
    tile: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not gpu.HAS_CUDA:
        monkeypatch.setattr(triton_scene, "TILE", tile)
    gaussians, view = many(torch.Generator().manual_seed(1), 56, degree, channels), camera(size, model)
    clear = clear_pixels(gaussians, view)
    assert clear.double().mean() > 0.5
    assert_same(results(gaussians, view, "triton", clear), results(gaussians, view, "torch", clear), clear)


@pytest.mark.parametrize("model", ["pinhole", "orthographic"])
def test_opacities_make_up_for_the_blur(model: str) -> None:
    gaussians, view = many(torch.Generator().manual_seed(9), 40, degree=1), camera((14, 22), model)
    gaussians = replace(gaussians, scales=gaussians.scales * 0.3)
    clear = clear_pixels(gaussians, view, filter="mip")
    got, want = (results(gaussians, view, backend, clear, filter="mip") for backend in ("triton", "torch"))
    # The least of them have a compensation near 0, and the way of the CPU is as far from float64.
    assert_same(got, want, clear, most=3e-4)
    blurred = render(gaussians, view, BACKGROUND, "torch").color.detach()
    assert float((want[0].color - blurred).abs().max()) > 0.05


@pytest.mark.large
@pytest.mark.parametrize("seed", range(6))
def test_more_random_scenes_agree_with_the_specification(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_scene, "TILE", 16)
    gaussians = many(torch.Generator().manual_seed(seed), 150, degree=(None, 0, 1, 2, 3, 4)[seed])
    view = camera(((45, 70), (17, 90), (64, 33))[seed % 3], ("pinhole", "gmae", "orthographic")[seed % 3])
    clear = clear_pixels(gaussians, view)
    assert_same(results(gaussians, view, "triton", clear), results(gaussians, view, "torch", clear), clear, 1e-4)


def test_where_alpha_is_clamped_there_is_no_gradient() -> None:
    """A Gaussian that is opaque and flat over the picture, behind others that are not."""
    gaussians, view = many(torch.Generator().manual_seed(4), 20, degree=None).select(slice(6, None)), camera((9, 14))
    wall = gaussians.select(slice(1)).map(torch.clone)
    wall.means[:], wall.scales[:], wall.opacities[:] = torch.tensor([-0.5, 0.25, 2.0]), 400.0, 1.0
    both = Gaussians.cat([wall, replace(gaussians, opacities=gaussians.opacities.clamp_max(0.5))])
    clear = clear_pixels(both, view)
    got, want = (results(both, view, backend, clear) for backend in ("triton", "torch"))
    assert float(want[0].alpha.min()) > 0.99 and want[1]["colors"][0].any() and want[1]["opacities"][0] == 0
    assert got[1]["opacities"][0] == 0
    assert_same(got, want, clear, most=1e-4)


def test_both_ways_of_the_gpu_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians, view = many(torch.Generator().manual_seed(3), 20, degree=1), camera((20, 30))
    clear = clear_pixels(gaussians, view)
    large = results(gaussians, view, "triton", clear)
    monkeypatch.setattr(scenes, "FEWEST_ON_GPU", 10**9)
    few = results(gaussians, view, "triton", clear)
    assert large[0].color.abs().sum() > 0 and not torch.equal(large[1]["means"], few[1]["means"])
    assert_same(large, few, clear)


@needs_cpu_kernels
def test_views_of_sets_and_what_they_see_are_those_of_the_cpu() -> None:
    """Two sets with two views of each, with intrinsics of their own, and a far plane."""
    tensors = many(torch.Generator().manual_seed(5), 40, degree=1).tensors()
    gaussians = Gaussians.of({name: each.unflatten(0, (2, 20)) for name, each in tensors.items()})
    eyes = [(1.0, -0.5, -4.0), (-1.0, 0.3, -3.0), (0.2, 0.1, 3.5), (0.5, 1.0, -3.0)]
    matrices = torch.stack([Camera.look_at(eye, (0.0, 0.0, 0.0), 20, 30).viewmats for eye in eyes])
    focal = torch.tensor([[26.0, 30.0], [22.0, 28.0]])
    view = Camera(30, 20, focal, 1.1 * focal, 15.0, 10.5, viewmats=matrices.unflatten(0, (2, 2)), far=5.5)
    got, want = (results(gaussians, view, backend, info=ALL) for backend in ("triton", "cpu"))
    assert_same(got, want)
    seen, known = got[0].info, want[0].info
    assert seen is not None and known is not None
    assert set(known.view_ids.tolist()) == {0, 1, 2, 3}
    for name in ("ids", "view_ids", "pixels"):
        assert torch.equal(getattr(seen, name).cpu(), getattr(known, name)), name
    assert float((seen.radii.cpu() - known.radii).abs().max()) < 0.5
    for name in ("weight_sums", "weight_maxima", "means2d_grad", "means2d_absgrad"):
        assert relative_error(getattr(seen, name).cpu(), getattr(known, name)) < 1e-4, name
    assert seen.not_finite == 0 and seen.intersections >= len(seen.ids)


def test_what_is_not_requested_is_none() -> None:
    gaussians, view = many(torch.Generator().manual_seed(0), 8).to(gpu.DEVICE), camera((9, 14))
    info = render(gaussians, view, backend="triton", info=True).info
    assert info is not None and info.weight_sums is None and info.weight_maxima is None and info.pixels is None
    assert render(gaussians, view, backend="triton").info is None


def test_the_same_bit_for_bit_from_run_to_run() -> None:
    count, size = (20_000, (300, 400)) if gpu.HAS_CUDA else (12, (18, 40))
    gaussians, view = many(torch.Generator().manual_seed(8), count, degree=1), camera(size)
    (made, gradients), (other, others) = (results(gaussians, view, "triton") for _ in range(2))
    assert torch.equal(made.color, other.color) and torch.equal(made.alpha, other.alpha)
    assert all(torch.equal(each, others[name]) for name, each in gradients.items())


@needs_cpu_kernels
def test_behind_the_signature_of_gsplat() -> None:
    gaussians, view = many(torch.Generator().manual_seed(2), 12, degree=1).select(slice(6, None)), camera((10, 15))
    assert gaussians.sh is not None
    given = (gaussians.means, gaussians.quaternions, gaussians.scales, gaussians.opacities, gaussians.sh)
    lenses = (view.viewmats[None], view.K[None])
    found = []
    for backend, device in (("triton", gpu.DEVICE), ("cpu", "cpu")):
        tensors = [each.to(device).clone().requires_grad_() for each in (*given, *lenses)]
        with mock.patch.dict(choice.COMPILED, {device: backend}):
            color, _, meta = rasterization(*tensors, width=15, height=10, sh_degree=1, absgrad=True)
            color.square().sum().backward()
        means2d = meta["means2d"]
        found.append([color, *(means2d, means2d.grad, means2d.absgrad), *(each.grad for each in tensors[:6])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.detach().cpu(), other.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [0, 3])
def test_a_view_that_sees_nothing_is_background(count: int) -> None:
    gaussians = many(torch.Generator().manual_seed(0), count)
    behind = replace(gaussians, means=gaussians.means - torch.tensor([0.0, 0.0, 50.0]))
    made, gradients = results(behind, camera((9, 14)), "triton", info=ALL)
    assert torch.equal(made.color, torch.tensor(BACKGROUND)[:, None, None].expand(3, 9, 14))
    assert made.info is not None and len(made.info.ids) == 0 and made.info.intersections == 0
    for name, each in gradients.items():
        assert each.any() == (name == "background"), name


@pytest.mark.parametrize("name", ["means", "scales", "sh"])
def test_what_is_not_finite_is_dropped_on_request(name: str) -> None:
    gaussians, view = many(torch.Generator().manual_seed(6), 14), camera((12, 15))
    kept = torch.arange(14) != 7
    tensor = gaussians.tensors()[name].clone()
    tensor[7] = float("nan")
    broken = replace(gaussians, **{name: tensor}).to(gpu.DEVICE)
    want = render(gaussians.select(kept).to(gpu.DEVICE), view, backend="triton")
    leaves = free(broken)
    got = render(leaves, view, backend="triton", check="drop", info=True)
    assert torch.equal(got.color, want.color)
    assert got.info is not None and got.info.not_finite == 1 and 7 not in got.info.ids.tolist()
    got.color.sum().backward()
    for each in leaves.tensors().values():
        assert each.grad is not None and bool(each.grad.isfinite().all())
    assert not bool(render(broken, view, backend="triton", check=False).color.isfinite().any())
    if not gpu.HAS_CUDA:
        with pytest.raises(InputError, match=f"{name}: "):
            render(broken, view, backend="triton")


@pytest.mark.skipif(gpu.HAS_CUDA, reason="values on a GPU are not looked at")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scales", -1.0, "scales: expected standard deviations"),
        ("opacities", 1.5, "opacities: expected"),
        ("quaternions", 0.0, "quaternions: expected rotations"),
    ],
)
def test_invalid_values_are_named(name: str, value: float, message: str) -> None:
    gaussians = many(torch.Generator().manual_seed(0), 8)
    tensor = gaussians.tensors()[name].clone()
    tensor[7] = value
    broken = replace(gaussians, means=gaussians.means.index_fill(0, torch.tensor([7]), 0.0), **{name: tensor})
    with pytest.raises(InputError, match=message):
        render(broken, camera((12, 18)), backend="triton")


def test_a_second_derivative_is_refused_in_a_sentence() -> None:
    leaves = free(many(torch.Generator().manual_seed(0), 4).to(gpu.DEVICE))
    made = render(leaves, camera((9, 14)), BACKGROUND, "triton")
    (gradient,) = torch.autograd.grad(made.color.square().sum(), leaves.means, create_graph=True)
    with pytest.raises(BackendError, match="backend='torch'"):
        gradient.sum().backward()


def test_more_pairs_than_can_be_counted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_scene, "MOST_PAIRS", 2)
    gaussians = many(torch.Generator().manual_seed(0), 8).to(gpu.DEVICE)
    with pytest.raises(BackendError, match="at most 2 pairs of a Gaussian and a tile"):
        render(gaussians, camera((9, 14)), backend="triton")


@pytest.mark.parametrize(("size", "count"), [((211, 333), 20_000), ((2100, 4000), 500)])
def test_lists_hold_each_pair_once_near_to_far(
    size: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of Gaussians, and of more tiles than keys of two bytes name."""
    monkeypatch.setattr(triton_scene, "TILE", 16)
    if not gpu.HAS_CUDA:
        monkeypatch.setattr(triton_scene, "GAUSSIANS", 2**14)
        monkeypatch.setattr(triton_scene, "PAIRS", 2**18)
    gaussians, view = many(torch.Generator().manual_seed(0), count, degree=0).to(gpu.DEVICE), camera(size)
    lens = SceneLens("pinhole", [view.fx, view.fy, view.cx, view.cy, view.near, 1.0, 1.0], float("inf"), False)  # pyright: ignore[reportArgumentType]
    inputs = SceneInputs(**gaussians.tensors(), colors=None)
    matrix, origin = view.viewmats.to(gpu.DEVICE), torch.zeros(3, device=gpu.DEVICE)
    state = triton_scene._bin(inputs, SceneView(matrix, origin, lens, background=origin, depth_channels=0), size)
    lists, rows, counts = state.lists.long(), state.rows.long(), state.tile_counts.long()
    tiles = torch.repeat_interleave(torch.arange(len(state.offsets) - 1, device=gpu.DEVICE), state.offsets.diff())
    assert len(state.offsets) - 1 == -(-size[0] // 16) * -(-size[1] // 16) and state.intersections > count
    assert torch.equal(torch.bincount(lists, minlength=count), counts)
    assert (lists * len(state.offsets) + tiles).unique().numel() == state.intersections
    assert torch.equal(rows.sort().values, torch.arange(state.intersections, device=gpu.DEVICE))
    assert bool(((rows >= state.starts[lists]) & (rows < (state.starts + counts)[lists])).all())
    depths = (gaussians.means @ matrix[:3, :3].T + matrix[:3, 3])[:, 2]
    is_same_tile = tiles.diff() == 0
    assert bool((depths[lists].diff()[is_same_tile] >= -1e-5).all())
    # Where the centre is within the picture, its tile is among those of the Gaussian.
    column, row = (state.records[:, :2] / 16).floor().long().unbind(-1)
    x, y = state.records[:, :2].unbind(-1)
    within = (counts > 0) & (x > 0) & (x < size[1]) & (y > 0) & (y < size[0])
    own = lists * len(state.offsets) + tiles
    centers = torch.arange(count, device=gpu.DEVICE) * len(state.offsets) + row * -(-size[1] // 16) + column
    assert within.sum() > count / 3 and bool(torch.isin(centers[within], own).all())


def test_rows_are_added_in_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Gaussians with none to many rows, and more of them than a program takes."""
    monkeypatch.setattr(triton_scene, "SUMMED", (4, 8))
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([0, 1, 8, 9, 31, 0, 2])
    starts = counts.cumsum(0) - counts
    rows = torch.rand(int(counts.sum()), 3, generator=generator)
    found = torch.zeros(7, 3, device=gpu.DEVICE)
    nothing = torch.zeros(0, device=gpu.DEVICE)
    state = triton_scene.SceneState(
        *(nothing, nothing, counts.int().to(gpu.DEVICE), nothing, starts.to(gpu.DEVICE), nothing, nothing, nothing),
        not_finite=0,
        doubtful=0,
    )
    triton_scene._add_rows(rows.to(gpu.DEVICE), state, found, shift=0, maximum=1)
    for each, part in zip(found.cpu(), rows.split(counts.tolist()), strict=True):
        want = part.sum(0)
        want[1] = part[:, 1].max() if len(part) else 0.0
        torch.testing.assert_close(each, want)


def test_the_way_is_chosen_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    few, view = many(torch.Generator().manual_seed(0), 100).to(gpu.DEVICE), camera((224, 224))
    lots = few.map(lambda each: each[:1].expand(scenes.FEWEST_ON_GPU, *each.shape[1:]))
    assert scenes.scene_backend(lots, view, "triton") == "triton"
    assert scenes.is_scene(lots, view, "triton") and not scenes.is_scene(few, view, "triton")
    assert scenes.scene_backend(few.to(torch.float16), view, "triton") is None
    assert scenes.scene_backend(few, view) == "triton"


def test_launches_and_kernels_agree_on_sizes() -> None:
    place = "splatlearn.rendering.backends.triton."
    blending, projecting = (importlib.import_module(f"{place}scene_{name}_kernels") for name in ("blend", "project"))
    assert triton_scene.WEIGHTS == blending.WEIGHTS.value
    for name in ("RECORD", "MOMENTS", "COUNTS", "SPHERE_RECORD", "SPHERE_FRAME"):
        assert getattr(triton_scene, name) == getattr(projecting, name).value


@on_gpu
@needs_cpu_kernels
@pytest.mark.parametrize(("count", "degree"), [(2_000, 0), (20_000, 3), (100_000, 1)])
def test_large_scenes_are_those_of_the_cpu(count: int, degree: int) -> None:
    gaussians, view = many(torch.Generator().manual_seed(count), count, degree), camera((211, 333))
    got, want = (results(gaussians, view, backend, info=ALL) for backend in ("triton", "cpu"))
    # The stop test falls the other way in a few pixels.
    assert float(((got[0].color - want[0].color).abs() > 1e-4).double().mean()) < 1e-3
    for name, each in want[1].items():
        assert relative_error(got[1][name], each) < 5e-3, name
    assert got[0].info is not None and want[0].info is not None
    # A box may end at a rounding error from a pixel's centre.
    seen, known = (
        set(zip(each.view_ids.tolist(), each.ids.tolist(), strict=True)) for each in (got[0].info, want[0].info)
    )
    assert len(seen ^ known) <= 1e-4 * len(known)


@can_compile
@pytest.mark.parametrize(
    "pairs",
    [
        ("0@80", "1@90", "4@90"),
        pytest.param(("1@80", "2@80", "3@80", "4@80", "0@90", "2@90", "3@90", "4@90"), marks=pytest.mark.large),
    ],
)
def test_launches_compile_for_gpus_that_are_not_there(pairs: tuple[str, ...]) -> None:
    """From the arguments that launches have, for the oldest GPUs that are taken and newer ones."""
    found = json.loads(run_script("compile_scenes.py", *pairs).splitlines()[-1])
    kernels = ["project_scene", "tiles_of_pairs", "scene_forward", "scene_backward", "sum_rows"]
    kernels.append("project_scene_backward")
    expected = {f"{kernel} {pair.split('@')[1]}" for kernel in kernels for pair in pairs}
    expected |= {f"sphere_{name} {pair[2:]}" for pair in pairs if pair[0] == "4" for name in ("forward", "backward")}
    assert set(found) == expected
    # A thread may keep a few numbers outside registers, and no array of them.
    assert max(stack for stacks in found.values() for stack in stacks) <= 128, found
