"""What only the GPU kernels have: tiles, bands, half precision, their place in `composite`, and GPUs themselves."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from rendering import gpu
from rendering.compiled import Compiled, assert_matches, expected_of, thinned
from rendering.scenes_hard import Scene, scene
from rendering.test_compiled_properties import assert_finite_gradients, ellipses, floats, lists, scenes
from scenes import ATTRIBUTES, gaussians_of, random_gaussians, random_splats
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Splats, available_backends, composite, render
from splatlearn.rendering.backends.triton import blend as triton_blend
from splatlearn.rendering.backends.triton import support as triton_support
from splatlearn.rendering.choice import choose_backend

pytestmark = pytest.mark.skipif(gpu.STATUS != "ok", reason=gpu.STATUS)
on_gpu = pytest.mark.skipif(not gpu.HAS_CUDA, reason="no CUDA device")
TRITON = Compiled("triton", most=gpu.MOST_SPLATS)


@pytest.fixture
def own_tiles() -> Iterator[None]:
    with gpu.ready(own_tiles=True):
        yield


@pytest.fixture
def kernels() -> Iterator[None]:
    with gpu.ready():
        yield


def everything(made: Scene) -> tuple[torch.Tensor, ...]:
    outputs = TRITON.forward(made)
    generator = torch.Generator().manual_seed(9)
    upstream = (torch.randn(outputs[0].shape, generator=generator), torch.randn(outputs[1].shape, generator=generator))
    return *outputs, *TRITON.backward(made, outputs, upstream)


@pytest.mark.parametrize(("size", "channels"), [((11, 40), 3), ((5, 33), 5), ((6, 30), 9)])
def test_tiles_as_gpus_have_them(own_tiles: None, size: tuple[int, int], channels: int) -> None:
    def make(generator: torch.Generator) -> Scene:
        return scene(generator, size, batch=2, count=6, channels=channels, sigmas=(4.0, 1.5))

    assert_matches(TRITON, expected_of(make, torch.Generator().manual_seed(4)))


def test_more_splats_than_a_word_has_bits(own_tiles: None) -> None:
    def make(generator: torch.Generator) -> Scene:
        return scene(generator, (8, 20), batch=1, count=70, sigmas=(5.0, 3.0), opacities=(0.05, 0.4))

    assert_matches(TRITON, expected_of(make, torch.Generator().manual_seed(5)))


def test_the_same_bit_for_bit_from_run_to_run(kernels: None) -> None:
    for seed in range(8 if gpu.HAS_CUDA else 1):
        size = (224, 224) if gpu.HAS_CUDA else (20, 70)
        count = 512 if gpu.HAS_CUDA else 4
        made = scene(torch.Generator().manual_seed(seed), size, batch=4, count=count)
        first = everything(made)
        for _ in range(4 if gpu.HAS_CUDA else 1):
            assert all(torch.equal(one, other) for one, other in zip(first, everything(made), strict=True)), seed


def test_any_number_of_bands_adds_up_to_the_same(own_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scene(torch.Generator().manual_seed(0), (17, 34), batch=1, count=4, sigmas=(9.0, 9.0))
    many = everything(made)
    monkeypatch.setattr(triton_blend, "PROGRAMS", 1)
    assert triton_blend.tiling(1, 4, 3, made.size).bands == 1
    for one, other in zip(many, everything(made), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


class TestTiling:
    @pytest.mark.parametrize("size", [(1, 1), (8, 32), (9, 33), (224, 224), (360, 640)])
    @pytest.mark.parametrize("channels", range(1, 17))
    def test_tiles_cover_the_image(self, size: tuple[int, int], channels: int) -> None:
        cut = triton_blend.tiling(2, 64, channels, size)
        assert channels <= cut.padded and cut.padded & (cut.padded - 1) == 0
        assert cut.across * triton_blend.COLUMNS >= size[1]
        assert cut.tiles // cut.across * cut.rows >= size[0] and cut.tiles % cut.across == 0

    @pytest.mark.parametrize(("batch", "count"), [(1, 16), (256, 256), (256, 4096), (64, 10_000), (10_000, 256)])
    def test_sums_stay_within_their_memory(self, batch: int, count: int) -> None:
        cut = triton_blend.tiling(batch, count, 3, (360, 640))
        assert 1 <= cut.bands <= cut.tiles
        assert cut.bands == 1 or batch * cut.bands * count * (8 + cut.padded) <= triton_blend.MAX_SUMS


@settings(max_examples=12 if not gpu.HAS_CUDA else 100)
@given(made=scenes(ellipses()))
def test_ellipses_of_any_size_stay_finite(made: Scene) -> None:
    with gpu.ready():
        assert_finite_gradients(TRITON, made)


@settings(max_examples=12 if not gpu.HAS_CUDA else 100)
@given(made=scenes(lists(floats(1e18), (1, 3, 3))))
def test_conics_of_any_kind_stay_finite(made: Scene) -> None:
    with gpu.ready():
        assert_finite_gradients(TRITON, made)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(kernels: None, dtype: torch.dtype, generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (1,), 4).to(gpu.DEVICE).to(dtype)
    camera = Camera.gmae(12, 14)
    leaves = gaussians.map(lambda tensor: tensor.clone().requires_grad_())
    with torch.autocast(gpu.DEVICE, dtype=torch.bfloat16):
        half = render(leaves, camera, backend="triton", depth=False).color
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, render(gaussians.to(torch.float32), camera, backend="triton", depth=False).color)
    half.sum().backward()
    assert leaves.means.grad is not None and leaves.means.grad.dtype == dtype and leaves.means.grad.any()


def test_rendering_equals_the_specification(kernels: None, generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 6).to(gpu.DEVICE)
    camera = Camera.gmae(20, 24)
    got = render(gaussians, camera, (0.2, 0.5, 0.7), backend="triton")
    want = render(gaussians.to(torch.float64), camera, (0.2, 0.5, 0.7), backend="torch")
    for name in ("color", "alpha", "depth"):
        one, other = getattr(got, name), getattr(want, name)
        assert ((one.double() - other).abs() > 1e-4).double().mean() < 0.01


def test_the_operation_is_one_node_with_consistent_registrations(kernels: None, generator: torch.Generator) -> None:
    splats = random_splats(generator, (5, 7), count=2, dtype=torch.float32)
    tensors = (splats.means2d, splats.conics, splats.opacities, splats.colors, torch.rand(2, 3, generator=generator))
    inputs = tuple(tensor.to(gpu.DEVICE).requires_grad_() for tensor in tensors)
    torch.library.opcheck(torch.ops.splatlearn.composite.default, (*inputs, 5, 7, "triton", [1, 0, 0], "gaussian"))


class TestChoice:
    def test_the_interpreter_is_never_chosen(self) -> None:
        assert available_backends()["triton"] == "ok"
        for dtype in (torch.float32, torch.float64):
            assert choose_backend("auto", torch.zeros(1, 2, 2, dtype=dtype), 3) in ("cpu", "torch")

    @on_gpu
    def test_gpus_are_given_the_kernels(self) -> None:
        means2d = torch.zeros(1, 2, 2, device="cuda")
        assert choose_backend("auto", means2d, 3) == "triton"
        assert choose_backend("auto", means2d.double(), 3) == "torch"
        assert choose_backend("auto", means2d, 17) == "torch"

    @pytest.mark.parametrize(
        ("change", "channels", "message"),
        [
            (torch.Tensor.double, 3, "it computes in float32, got torch.float64; use backend='auto'"),
            (torch.Tensor.clone, 17, "it takes up to 16 channels, got 17; use backend='auto'"),
            (lambda tensor: tensor.to("meta"), 3, "it takes CUDA tensors, got meta; use backend='auto'"),
        ],
    )
    def test_refusals(self, change: Callable[[torch.Tensor], torch.Tensor], channels: int, message: str) -> None:
        made = thinned(scene(torch.Generator().manual_seed(0), (6, 7), channels=channels), 2)
        tensors = [change(tensor.to(gpu.DEVICE)) for tensor in made.tensors]
        splats = Splats(tensors[0], tensors[1], torch.zeros_like(tensors[2]), tensors[3], tensors[2])
        with pytest.raises(RuntimeError, match=f"backend: 'triton' cannot be used here: {message}"):
            composite(splats, 6, 7, backend="triton")

    def test_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)
        assert triton_support.status() == "no CUDA device"
        monkeypatch.setattr(triton_support, "_INSTALLED", False)
        assert "pip install 'splatlearn[gpu]'" in triton_support.status()


def run_script(name: str, *arguments: str) -> str:
    """What a script of this folder prints, without Triton's interpreter."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).with_name(name)), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


can_compile = pytest.mark.skipif(
    importlib.util.find_spec("triton.backends.nvidia") is None, reason="Triton without its CUDA backend"
)


@can_compile
def test_kernels_compile_for_a_gpu_that_is_not_there() -> None:
    found = json.loads(run_script("compile_kernels.py").splitlines()[-1])
    assert len(found) == 10
    for name, facts in found.items():
        # Three channels fit into registers; a thread with sixteen may keep a few numbers elsewhere.
        assert facts["bytes"] > 1000 and facts["stack"] <= (0 if name.endswith(" 3") else 128), name


@on_gpu
class TestOnGpu:
    def gaussians(self, batch: int = 8, count: int = 64) -> Gaussians:
        return random_gaussians(torch.Generator().manual_seed(0), (batch,), count).to("cuda")

    def step(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rendering = render(gaussians_of(tensors), Camera.gmae(64, 80))
        assert rendering.depth is not None
        loss = rendering.color.square().sum() + rendering.alpha.sum() + rendering.depth.sum()
        return loss.detach(), *torch.autograd.grad(loss, tensors)

    def leaves(self) -> list[torch.Tensor]:
        return [tensor.requires_grad_() for tensor in map(partial(getattr, self.gaussians()), ATTRIBUTES)]

    def test_nothing_waits_for_the_gpu(self) -> None:
        leaves = self.leaves()
        self.step(*leaves)
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")  # a wait raises
        try:
            found = self.step(*leaves)
        finally:
            torch.cuda.set_sync_debug_mode(before)
        assert all(each.isfinite().all() for each in found)

    def test_one_graph_under_torch_compile(self) -> None:
        leaves, camera = self.leaves(), Camera.gmae(64, 80)

        def image(*tensors: torch.Tensor) -> torch.Tensor:
            return render(gaussians_of(tensors), camera, depth=False).color.square()

        traced = torch.compile(image, fullgraph=True)
        plain = torch.autograd.grad(image(*leaves).sum(), leaves)
        for one, other in zip(plain, torch.autograd.grad(traced(*leaves).sum(), leaves), strict=True):
            torch.testing.assert_close(one, other)

    def test_a_captured_graph_replays_on_fresh_inputs(self) -> None:
        leaves = self.leaves()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.step(*leaves)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = self.step(*leaves)
        with torch.no_grad():
            leaves[3].mul_(0.5)
        graph.replay()
        for one, other in zip(captured, self.step(*leaves), strict=True):
            torch.testing.assert_close(one, other)

    def test_more_pixels_than_32_bits_can_count(self) -> None:
        batch, side = 800, 1024
        if torch.cuda.mem_get_info()[0] < 30e9:
            pytest.skip("needs 30 GB of GPU memory")
        made = scene(torch.Generator().manual_seed(0), (side, side), batch=1, count=3, sigmas=(60.0, 40.0))
        one = [tensor.cuda() for tensor in made.tensors]
        many = [tensor.expand(batch, *tensor.shape[1:]).contiguous() for tensor in one]
        # Of lists, the number of arguments is not known to a type checker.
        forward: Callable[..., tuple[torch.Tensor, torch.Tensor]] = triton_blend.forward
        alone, together = forward(*one, made.size), forward(*many, made.size)
        assert all(torch.equal(each[0], each_of_many[-1]) for each, each_of_many in zip(alone, together, strict=True))
