"""`backend="torch"` is the specification of every step: nothing compiled is called, and the result is the formula's."""

from types import ModuleType

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rendering.brute_force import composite_brute_force
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.rendering import project, render
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.triton import blend as triton_blend
from splatlearn.rendering.pictures import Rendering

CAMERAS = [Camera.gmae(9, 11), Camera.orthographic(9, 11), Camera.pinhole_window(9, 11, 4.0)]


class Forbidden(ModuleType):
    """In the place of compiled code."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"compiled {name} was called")


class Operations(TorchDispatchMode):
    """Notes which of the library's own operations run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "splatlearn":
            self.names.add(func._opname)
        return func(*args, **(kwargs or {}))


def total(rendering: Rendering) -> torch.Tensor:
    assert rendering.depth is not None
    return rendering.color.square().sum() + rendering.alpha.sum() + rendering.depth.sum()


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_support, "_native", Forbidden("forbidden"))
    monkeypatch.setattr(triton_blend, "_kernels", Forbidden("forbidden"))


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.model)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_nothing_compiled_is_called(camera: Camera, dtype: torch.dtype, generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, dtype=dtype).map(lambda tensor: tensor.requires_grad_())
    with Operations() as seen:
        total(render(gaussians, camera, backend="torch")).backward()
    assert seen.names == {"composite", "composite_backward"}
    assert gaussians.means.grad is not None and bool(gaussians.means.grad.any())
    project(gaussians, camera, "torch").conics.sum().backward()


@pytest.mark.usefixtures("nothing_compiled")
def test_the_test_would_notice(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator)
    with pytest.raises(AssertionError, match="compiled project was called"):
        project(gaussians, CAMERAS[0])
    with pytest.raises(AssertionError, match="compiled project was called"):
        render(gaussians, CAMERAS[0])


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.model)
def test_it_is_the_formula(camera: Camera, generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, dtype=torch.float64)
    found = render(gaussians, camera, (0.2, 0.7, 0.4), backend="torch")
    color, left = composite_brute_force(project(gaussians, camera, "torch"), 9, 11, [0.2, 0.7, 0.4])
    torch.testing.assert_close(found.color, color, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.alpha, 1.0 - left, atol=1e-12, rtol=0)


@pytest.mark.usefixtures("no_shape_checks")
def test_an_unknown_backend_is_named(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="backend: expected 'auto' or one of torch, cpu, triton, got 'native'"):
        project(random_gaussians(generator), CAMERAS[0], "native")
