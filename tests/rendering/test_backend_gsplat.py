"""gsplat as a backend of `render`: what it is called with, and what is made of its results.

Without CUDA and the package, its equations in PyTorch take its place (`gsplat_twin.py`). Where both are there, the same
tests call the package.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from rendering import gsplat_twin
from rendering.compiled import relative_error
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Rendering, available_backends, composite, project, render
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.gsplat import support

IS_REAL = support.status() == "ok"
DEVICE = "cuda" if IS_REAL else "cpu"


class Calls(list):
    """The arguments of each call."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """The package, or its twin on the CPU."""
    made = Calls()
    if IS_REAL:
        package = __import__("gsplat")
        rasterization = package.rasterization
    else:
        package, rasterization = ModuleType("gsplat"), twin
        monkeypatch.setitem(sys.modules, "gsplat", package)
        monkeypatch.setattr(support, "DEVICES", ("cpu",))
        monkeypatch.setattr(support, "status", lambda: "ok")

    def record(**arguments: Any) -> Any:
        made.append(arguments)
        assert all(each.is_contiguous() for each in arguments.values() if isinstance(each, Tensor))
        return rasterization(**arguments)

    monkeypatch.setattr(package, "rasterization", record, raising=False)
    yield made


def twin(**arguments: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The twin in float64, with float32 results, and packed ids as gsplat has them."""
    exact: dict[str, Any] = arguments | {
        name: each.double() for name, each in arguments.items() if isinstance(each, Tensor)
    }
    color, alpha, meta = gsplat_twin.rasterization(**exact)
    return color.float(), alpha.float(), meta | {"flatten_ids": torch.zeros(77)}


def scene(batch: tuple[int, ...] = (), degree: int | None = None, count: int = 40) -> Gaussians:
    """Gaussians that cover no pixel for good."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*batch, count, *shape, generator=generator).to(DEVICE)

    seen = {"colors": normal(3).sigmoid()} if degree is None else {"sh": 0.3 * normal((degree + 1) ** 2, 3)}
    scales, opacities = 0.05 + 0.15 * normal(3).sigmoid(), 0.8 * normal().sigmoid()
    tensors = {"means": 0.6 * normal(3), "scales": scales, "quaternions": normal(4), "opacities": opacities}
    return Gaussians.of(tensors | seen).map(lambda each: each.requires_grad_())


def camera(batch: tuple[int, ...] = (), model: str = "pinhole") -> Camera:
    """Cameras before the origin, each with its own lens and place."""
    generator = torch.Generator().manual_seed(1)
    view = torch.eye(4).repeat(*batch, 1, 1)
    view[..., :3, 3] = torch.tensor([0.1, 0.0, 4.0]) + 0.2 * torch.randn(*batch, 3, generator=generator)
    focal: Any = 40.0 + 5.0 * torch.rand(batch, generator=generator) if batch else 40.0
    return Camera(48, 32, focal, 40.0, 24.5, 15.0, model, view.requires_grad_())


def gradients(made: Rendering, gaussians: Gaussians, view: Camera) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    loss = torch.zeros((), device=DEVICE)
    for each in (made.color, made.alpha, made.depth):
        if each is not None:
            # Where little covers a pixel, its mean depth is a quotient of small numbers.
            known = (made.alpha.detach() > 0.1) if each is made.depth else 1.0
            loss = loss + (each * known * torch.randn(each.shape, generator=generator).to(DEVICE)).sum()
    inputs = {**gaussians.tensors(), "viewmats": view.viewmats}
    return dict(zip(inputs, torch.autograd.grad(loss, [*inputs.values()]), strict=True))


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize("degree", [None, 1])
@pytest.mark.parametrize("model", ["pinhole", "orthographic"])
@pytest.mark.parametrize(
    ("sets", "views"), [((), ()), ((), (3,)), ((2,), ()), ((2,), (2,)), ((2,), (2, 3)), ((2, 1), (2, 1, 2))]
)
def test_it_renders_what_the_specification_does(
    sets: tuple[int, ...], views: tuple[int, ...], model: str, degree: int | None, depth: bool, calls: Calls
) -> None:
    gaussians, view = scene(sets, degree), camera(views, model)
    shape = views if len(views) > len(sets) else sets
    background = torch.rand(*shape, 3, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    got = render(gaussians, view, background, "gsplat", depth)
    want = render(gaussians, view, background, "torch", depth)
    assert len(calls) == 1 and got.info is None
    for name in ("color", "alpha", "depth"):
        one, other = getattr(got, name), getattr(want, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.shape == other.shape
            known = 1.0 if name != "depth" else (want.alpha.detach() > 0.1).float()
            assert float(((one - other).detach().abs() * known).max()) < 5e-5, name
    found, expected = gradients(got, gaussians, view), gradients(want, gaussians, view)
    for name in expected:
        assert relative_error(found[name], expected[name]) < 2e-4, name


def test_opacities_make_up_for_the_blur(calls: Calls) -> None:
    gaussians, view = scene((), 1), camera((2,))
    small = replace(gaussians, scales=(0.2 * gaussians.scales).detach().requires_grad_())
    got, want = (render(small, view, "white", backend, filter="mip") for backend in ("gsplat", "torch"))
    assert calls[0]["rasterize_mode"] == "antialiased"
    plain = render(small, view, "white", "torch")
    assert float((plain.alpha - want.alpha).detach().abs().max()) > 0.05
    for name in ("color", "alpha"):
        assert float((getattr(got, name) - getattr(want, name)).detach().abs().max()) < 5e-5, name
    found, expected = gradients(got, small, view), gradients(want, small, view)
    for name in expected:
        assert relative_error(found[name], expected[name]) < 2e-4, name


def test_what_gsplat_is_called_with(calls: Calls) -> None:
    view = replace(camera((2,)), near=0.5)
    render(scene(degree=1), view, "white", "gsplat", info=["absgrad"])
    (given,) = calls
    assert given["sh_degree"] == 1 and given["colors"].shape == (40, 4, 3)
    assert given["viewmats"].shape == (2, 4, 4) and given["backgrounds"].shape == (2, 3)
    assert torch.equal(given["Ks"].cpu(), view.K)
    assert (given["width"], given["height"]) == (48, 32)
    assert (given["near_plane"], given["far_plane"], given["eps2d"]) == (0.5, 1e10, 0.3)
    assert given["packed"] and given["absgrad"] and given["render_mode"] == "RGB+D"
    assert given["rasterize_mode"] == "classic"
    render(scene((2,), degree=1), replace(camera((2,)), far=9.0), "black", "gsplat", depth=False)
    given = calls[-1]
    assert "sh_degree" not in given and given["colors"].shape == (2, 40, 3)
    assert given["viewmats"].shape == (2, 1, 4, 4) and given["render_mode"] == "RGB"
    assert given["far_plane"] == 9.0 and not given["absgrad"] and given["camera_model"] == "pinhole"
    render(scene(), camera(model="orthographic"), backend="gsplat")
    assert calls[-1]["camera_model"] == "ortho"


@pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
def test_info_is_that_of_the_compiled_kernels(calls: Calls) -> None:
    found = []
    for backend, device in (("gsplat", DEVICE), ("cpu", "cpu")):
        gaussians = scene((2,)).map(lambda each, device=device: each.detach().to(device).requires_grad_())
        made = render(gaussians, camera((2, 2)), "black", backend, info=["absgrad"])
        assert made.info is not None and made.info.means2d_grad is None
        made.color.square().sum().backward()
        found.append(made.info)
    theirs, ours = found
    keys = [list(zip(info.view_ids.tolist(), info.ids.tolist(), strict=True)) for info in found]
    row_of = {key: row for row, key in enumerate(keys[0])}
    rows = torch.tensor([row_of[key] for key in keys[1]])
    assert keys[0] == sorted(keys[0]) and len(rows) > 0.95 * len(keys[0])
    assert float((theirs.radii.cpu()[rows] - ours.radii.ceil()).abs().max()) <= 1
    for name in ("means2d_grad", "means2d_absgrad"):
        assert relative_error(getattr(theirs, name).cpu()[rows], getattr(ours, name)) < 1e-4, name
    assert theirs.weight_sums is None and theirs.intersections > 0


def test_absolute_gradients_of_more_channels_than_gsplat_blends_at_once_are_refused(calls: Calls) -> None:
    gaussians = scene()
    many = replace(gaussians, colors=gaussians.fixed_colors()[:, :1].expand(-1, 32).detach())
    made = render(many, camera(), [0.0] * 32, "gsplat", depth=False, info="absgrad")
    assert made.info is not None and made.color.shape == (32, 32, 48)
    with pytest.raises(InputError, match="'absgrad' for more than 32 channels, depth included, got 33"):
        render(many, camera(), [0.0] * 32, "gsplat", info="absgrad")


def test_dropped_gaussians(calls: Calls) -> None:
    gaussians = scene()
    means = gaussians.means.detach().clone()
    means[3] = float("nan")
    kept = torch.arange(40, device=DEVICE) != 3
    got = render(replace(gaussians, means=means), camera(), backend="gsplat", check="drop")
    assert torch.equal(got.color, render(gaussians.select(kept), camera(), backend="gsplat").color)


def test_it_is_said_where_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "find_spec", lambda name: None)
    assert available_backends()["gsplat"].startswith("gsplat is not installed: pip install 'gsplat>=1.5'")
    with pytest.raises(BackendError, match="backend: 'gsplat' cannot be used here: gsplat is not installed"):
        render(scene(), camera(), backend="gsplat")
    monkeypatch.setattr(support, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert available_backends()["gsplat"] == "no CUDA device"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert available_backends()["gsplat"] == "ok"


def test_what_it_cannot_render_is_refused(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "backend: 'gsplat' cannot be used here: "
    with pytest.raises(BackendError, match=refused + "it computes in float32, got torch.float64"):
        render(scene().to(torch.float64), camera(), backend="gsplat")
    with pytest.raises(BackendError, match=refused + "it knows the camera models pinhole, orthographic, got 'gmae'"):
        render(scene(), Camera.gmae(32, 48), backend="gsplat")
    with pytest.raises(BackendError, match=refused + "it has no gradients of intrinsics"):
        render(scene(), replace(camera(), fx=torch.tensor(40.0, requires_grad=True)), backend="gsplat")
    with pytest.raises(BackendError, match="info: gsplat does not collect 'weights'"):
        render(scene(), camera(), backend="gsplat", info="weights")
    monkeypatch.setattr(support, "DEVICES", ("cuda",))
    with pytest.raises(BackendError, match=refused + "it takes CUDA tensors, got cpu; use backend='auto'"):
        render(scene().map(lambda each: each.cpu()), camera(), backend="gsplat")
    assert not calls


def test_single_steps_are_not_its() -> None:
    gaussians = scene((1,))
    with pytest.raises(InputError, match="torch, cpu, triton, got 'gsplat'; it renders Gaussians as a whole"):
        project(gaussians, camera(), "gsplat")
    with pytest.raises(InputError, match="it renders Gaussians as a whole"):
        composite(project(gaussians, camera()), 32, 48, backend="gsplat")
