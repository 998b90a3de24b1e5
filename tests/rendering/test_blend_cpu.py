"""What only the CPU kernel has: threads, worker processes, constants shared with C++, and its place in `composite`."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rendering import gpu
from rendering.scenes_hard import Scene, scene
from scenes import random_splats
from splatlearn.rendering import Splats, available_backends, composite, formula
from splatlearn.rendering.backends.cpu import blend as cpu_blend
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.choice import choose_backend

pytestmark = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def everything(made: Scene) -> tuple[torch.Tensor, ...]:
    outputs = cpu_blend.forward(*made.tensors, made.size)
    generator = torch.Generator().manual_seed(9)
    upstream = (torch.randn(outputs[0].shape, generator=generator), torch.randn(outputs[1].shape, generator=generator))
    return *outputs, *cpu_blend.backward(made.tensors, outputs, upstream)


@pytest.mark.parametrize(("size", "batch"), [((260, 150), 1), ((33, 40), 7), ((70, 90), 2)])
def test_bit_identical_at_any_number_of_threads_and_from_run_to_run(size: tuple[int, int], batch: int) -> None:
    made = scene(torch.Generator().manual_seed(0), size, batch=batch, count=120)
    with threads(1):
        first = everything(made)
    for number in (1, 2, 3, 5, 5):
        with threads(number):
            assert all(torch.equal(one, other) for one, other in zip(first, everything(made), strict=True)), number


def test_an_image_does_not_depend_on_the_rest_of_the_batch() -> None:
    made = scene(torch.Generator().manual_seed(0), (50, 40), batch=5)
    alone = made.map(lambda tensor: tensor[3:4])
    whole, single = cpu_blend.forward(*made.tensors, made.size), cpu_blend.forward(*alone.tensors, alone.size)
    assert all(torch.equal(one[3:4], other) for one, other in zip(whole, single, strict=True))


def test_in_a_process_of_its_own() -> None:
    """Forked workers, and graphs that are traced; one process for all, which loads PyTorch's compiler once."""
    checks = ["workers", "compile", "transforms"]
    # On GPUs, the graph of their kernels is traced there.
    if gpu.STATUS == "ok" and not gpu.HAS_CUDA:
        checks.append("compile triton")
    command = [sys.executable, str(Path(__file__).with_name("own_process.py")), *checks]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "ok", done.stderr


def test_the_kernel_has_the_constants_of_the_formula() -> None:
    native = importlib.import_module("splatlearn.rendering._native")
    for name in ("ALPHA_MAX", "ALPHA_MIN", "TRANSMITTANCE_MIN"):
        assert getattr(native, name) == torch.tensor(getattr(formula, name), dtype=torch.float32).item(), name
    assert native.MAX_CHANNELS == formula.MAX_CHANNELS


class TestInstructionSets:
    def test_the_baseline_is_always_there(self) -> None:
        assert cpu_support.instruction_sets()[0] == "baseline"

    def test_switching_returns_the_one_before(self) -> None:
        before = cpu_support.use_instruction_set("baseline")
        assert before in cpu_support.instruction_sets()
        assert cpu_support.use_instruction_set(before) == "baseline"

    def test_unknown(self) -> None:
        with pytest.raises(ValueError, match="instruction set: this processor has no mmx"):
            cpu_support.use_instruction_set("mmx")


class TestChoice:
    def test_auto_takes_the_kernel_for_float32_and_the_specification_for_float64(self) -> None:
        means2d = torch.zeros(1, 2, 2)
        assert available_backends()["cpu"] == "ok"
        assert choose_backend("auto", means2d, 3) == "cpu"
        assert choose_backend("auto", means2d.double(), 3) == "torch"
        assert choose_backend("auto", means2d, formula.MAX_CHANNELS + 1) == "torch"

    @pytest.mark.parametrize(
        ("change", "channels", "message"),
        [
            (torch.Tensor.double, 3, "it computes in float32, got torch.float64; use backend='auto'"),
            (torch.Tensor.clone, 17, "it takes up to 16 channels, got 17; use backend='auto'"),
            (lambda tensor: tensor.to("meta"), 3, "it takes CPU tensors, got meta; use backend='auto'"),
        ],
    )
    def test_refusals(self, change: Callable[[torch.Tensor], torch.Tensor], channels: int, message: str) -> None:
        made = scene(torch.Generator().manual_seed(0), (6, 7), channels=channels)
        tensors = [change(tensor) for tensor in made.tensors]
        splats = Splats(tensors[0], tensors[1], torch.zeros_like(tensors[2]), tensors[3], tensors[2])
        with pytest.raises(RuntimeError, match=f"backend: 'cpu' cannot be used here: {message}"):
            composite(splats, 6, 7, backend="cpu")


def test_the_operation_is_one_node_with_consistent_registrations(generator: torch.Generator) -> None:
    splats = random_splats(generator, (9, 20), count=5, dtype=torch.float32)
    background = torch.rand(2, 3, generator=generator)
    inputs = (splats.means2d, splats.conics, splats.opacities, splats.colors, background)
    leaves = [each.requires_grad_() for each in inputs]
    torch.library.opcheck(torch.ops.splatlearn.composite.default, (*leaves, 9, 20, "cpu", [1, 0, 0], "gaussian"))


def test_gradients_reach_what_autograd_asks_for(generator: torch.Generator) -> None:
    splats = random_splats(generator, (20, 20), dtype=torch.float32)
    colors = splats.colors.clone().requires_grad_()
    part = Splats(splats.means2d, splats.conics, splats.depths, colors, splats.opacities)
    composite(part, 20, 20, backend="cpu")[0].sum().backward()
    exact = colors.detach().double().requires_grad_()
    means2d, conics, depths = splats.means2d.double(), splats.conics.double(), splats.depths.double()
    doubled = Splats(means2d, conics, depths, exact, splats.opacities.double())
    composite(doubled, 20, 20, backend="torch")[0].sum().backward()
    assert colors.grad is not None and exact.grad is not None
    torch.testing.assert_close(colors.grad.double(), exact.grad, atol=1e-4, rtol=1e-4)
