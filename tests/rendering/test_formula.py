"""The formula and its constants, and the camera models, in every place that computes them.

Each place (specification, compiled CPU kernels, Triton, the viewer's page) is observed through what it computes close
to a threshold; where constants are written out in a source, they are read there too.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import splatlearn
from rendering import gpu
from scenes import ATTRIBUTES
from splatlearn.core.cameras import Camera, camera_models
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering import formula, project, projection
from splatlearn.rendering.choice import BACKENDS
from splatlearn.viewer import ViewedImage
from splatlearn.viewer.contents import KNOWN_MODELS
from splatlearn.viewer.page import render_view

PACKAGE = Path(splatlearn.__file__).parent
NATIVE = PACKAGE.parents[1] / "native" / "rendering"
KERNELS = PACKAGE / "rendering" / "backends" / "triton"
WEB = PACKAGE / "viewer" / "web"
THRESHOLDS = ("ALPHA_MAX", "ALPHA_MIN", "TRANSMITTANCE_MIN", "EPS2D")
NODE = shutil.which("node")
RENDERERS = ("torch", "cpu", "triton")
PLACES = (*RENDERERS, "viewer")


@contextlib.contextmanager
def usable(place: str) -> Iterator[None]:
    """Skips the test where a place cannot be observed on this machine."""
    if place == "viewer" and NODE is None:
        pytest.skip("the page's scripts are run by node, which is not installed")
    state = gpu.STATUS if place == "triton" else BACKENDS[place].support.status() if place in RENDERERS else "ok"
    if state != "ok":
        pytest.skip(state)
    with gpu.ready() if place == "triton" else contextlib.nullcontext():
        yield


def written(source: str, pattern: str) -> dict[str, float]:
    """Constants that a source writes out: name to value."""
    plain = re.sub(r"(?<=[\d.])f\b", "", source)
    return {name: float(eval(value, {"__builtins__": {}})) for name, value in re.findall(pattern, plain)}


def test_native_sources_write_the_constants_of_the_formula() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted(NATIVE.rglob("*.[ch]*")))
    found = written(sources, r"constexpr (?:float|int) ([A-Z0-9_]+) = ([\d./ e-]+);")
    names = (*THRESHOLDS, "FACING", "COMPENSATION_MIN", "EDGE_ON", "THINNEST", "NOWHERE", "VARIANCE_MIN", "ROUND")
    assert {name: found[name] for name in names} == {name: getattr(formula, name) for name in names}
    assert found["MAX_CHANNELS"] == formula.MAX_CHANNELS


def test_triton_kernels_take_the_constants_from_the_formula() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted(KERNELS.glob("*_kernels.py")))
    taken = re.findall(r"^(\w+) = tl\.constexpr\(formula\.(\w+)\)$", sources, flags=re.MULTILINE)
    assert sorted(taken) == sorted((name, name) for name in (*THRESHOLDS, "FACING", "COMPENSATION_MIN"))


def test_the_page_holds_the_constants_of_the_formula() -> None:
    gaussians = gaussian((0.0, 0.0, 0.0))
    image, none = torch.zeros(3, 8, 8), torch.zeros(1, dtype=torch.long)
    page = render_view("", "", [ViewedImage("", image, gaussians[0], Camera.gmae(8, 8), torch.zeros(3), none)])
    found = re.search(r'"formula":\s*(\{[^}]*\})', page)
    assert found is not None
    assert json.loads(found[1]) == page_formula()


def page_formula() -> dict[str, float]:
    names = {"alphaMax": "ALPHA_MAX", "alphaMin": "ALPHA_MIN", "eps2d": "EPS2D", "jacobianLimit": "JACOBIAN_LIMIT"}
    return {name: getattr(formula, constant) for name, constant in names.items()}


def gaussian(mean: tuple[float, ...], scale: float = 0.2, opacity: float = 0.8) -> Gaussians:
    """One set of one Gaussian."""
    return Gaussians(
        means=torch.tensor([[mean]]),
        scales=torch.tensor([[[scale, 0.5 * scale, 0.3 * scale]]]),
        quaternions=torch.tensor([[[0.8, 0.1, -0.5, 0.3]]]),
        colors=torch.full((1, 1, 3), 0.5),
        opacities=torch.full((1, 1), opacity),
    )


def kernel_inputs() -> tuple[torch.Tensor, ...]:
    """One Gaussian and a view, in the order of the kernels."""
    one = gaussian((0.0, 0.0, 0.0))
    return *(getattr(one, name) for name in ATTRIBUTES), torch.eye(4)[None]


def run_scripts(expression: str, **values: Any) -> Any:
    """What an expression over the page's scripts and some values gives, by way of JSON."""
    assert NODE is not None
    body = "\n".join((WEB / name).read_text(encoding="utf-8") for name in ("scene.js", "projection.js", "picking.js"))
    lines = [f"const {name} = {json.dumps(value)};" for name, value in values.items()]
    code = f'"use strict";\n{body}\n' + "\n".join(lines) + f"\nconsole.log(JSON.stringify({expression}));"
    done = subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def page_scene(gaussians: Gaussians, camera: Camera) -> dict[str, Any]:
    """A scene as the page's scripts take it."""
    lens = {name: getattr(camera, name) for name in ("model", "width", "height", "fx", "fy", "cx", "cy", "near")}
    numbers = torch.cat([getattr(gaussians, name).reshape(gaussians.count, -1) for name in ATTRIBUTES], dim=1)
    view = camera.viewmats.flatten().tolist()
    return {
        "camera": {**lens, "far": None, "view": view},
        "formula": page_formula(),
        "pivot": 0.0,
        "count": gaussians.count,
        "numbers": numbers.flatten().tolist(),
    }


def projected(place: str, gaussians: Gaussians, camera: Camera) -> tuple[Tensor, Tensor]:
    """Centres [K, 2] and conics [K, 3] of one set, sorted as the Gaussians are, float64."""
    if place == "viewer":
        found = run_scripts("project(scene, FRONT)", scene=page_scene(gaussians, camera))
        columns = {
            name: torch.tensor(list(found[name].values()), dtype=torch.float64) for name in ("x", "y", "a", "b", "c")
        }
        return torch.stack([columns["x"], columns["y"]], -1), torch.stack([columns[name] for name in "abc"], -1)
    splats = project(gaussians, camera, "torch" if place == "torch" else "auto")
    if place != "torch":
        assert projection.takes_compiled(gaussians, camera)
    return splats.means2d[0].double(), splats.conics[0].double()


def pixel(place: str, opacities: list[float]) -> tuple[Tensor, float]:
    """Colours [K] and transmittance of one pixel under splats of these opacities on its centre, near to far.

    Splat k has its own channel, so that the colour is its weight.
    """
    count = len(opacities)
    inputs = (
        torch.full((1, count, 2), 0.5),
        torch.tensor([1.0, 0.0, 1.0]).expand(1, count, 3),
        torch.tensor([opacities]),
        torch.eye(count).unsqueeze(0),
        torch.zeros(1, count),
    )
    forward: Callable[..., tuple[Tensor, Tensor]] = BACKENDS[place].blend.forward
    color, transmittance = gpu.on_device(forward, *inputs, (1, 1)) if place == "triton" else forward(*inputs, (1, 1))
    return color[0, :, 0, 0], float(transmittance[0, 0, 0])


@pytest.mark.parametrize("place", PLACES)
def test_alpha_below_the_least_is_skipped(place: str) -> None:
    least = formula.ALPHA_MIN
    with usable(place):
        for opacity, is_drawn in ((0.999 * least, False), (1.001 * least, True)):
            if place == "viewer":
                splats = {"x": [0.5], "y": [0.5], "a": [1.0], "b": [0.0], "c": [1.0], "opacity": [opacity]}
                alpha = run_scripts("alphaAt(scene, s, 0, 0.5, 0.5)", scene={"formula": page_formula()}, s=splats)
            else:
                alpha = float(pixel(place, [opacity])[0])
            assert alpha == pytest.approx(opacity if is_drawn else 0.0, rel=1e-4)


@pytest.mark.parametrize("place", PLACES)
def test_alpha_is_clamped(place: str) -> None:
    with usable(place):
        if place == "viewer":
            splats = {"x": [0.5], "y": [0.5], "a": [1.0], "b": [0.0], "c": [1.0], "opacity": [1.0]}
            alpha = run_scripts("alphaAt(scene, s, 0, 0.5, 0.5)", scene={"formula": page_formula()}, s=splats)
        else:
            alpha = float(pixel(place, [1.0])[0])
        assert alpha == pytest.approx(formula.ALPHA_MAX, rel=1e-6)


@pytest.mark.parametrize("place", RENDERERS)
def test_an_opaque_pixel_takes_no_more_splats(place: str) -> None:
    with usable(place):
        for left, counts in ((1.01 * formula.TRANSMITTANCE_MIN, True), (0.99 * formula.TRANSMITTANCE_MIN, False)):
            weights, transmittance = pixel(place, [0.99, 1.0 - left / 0.01, 0.5])
            assert (float(weights[2]) > 0) is counts
            assert transmittance == pytest.approx(0.5 * left if counts else left, rel=1e-2)


@pytest.mark.parametrize("place", PLACES)
def test_a_point_has_the_dilation_as_its_covariance(place: str) -> None:
    with usable(place):
        _, conics = projected(place, gaussian((0.1, 0.2, 0.0), scale=0.0), Camera.gmae(8, 8))
    expected = torch.tensor([[1 / formula.EPS2D, 0.0, 1 / formula.EPS2D]], dtype=torch.float64)
    torch.testing.assert_close(conics, expected, rtol=1e-6, atol=1e-9)


def camera_of(model: str) -> Camera:
    """A camera that stands askew, with intrinsics that are all different."""
    view = Camera.look_at((1.0, -0.7, -3.0), (0.1, 0.0, 0.2), 30, 40).viewmats
    if model == "panorama":
        return Camera.panorama(30, 40, view)
    return Camera(40, 30, 31.0, 33.0, 19.0, 16.0, model, view)


@pytest.mark.parametrize("model", camera_models())
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("off", [0.4, 5.0])
def test_every_place_projects_as_the_class_of_the_model(model: str, place: str, off: float) -> None:
    """Centres and conics from the class's `project` and `jacobian` alone; `off` the axis the Jacobian is limited."""
    if place == "viewer" and model not in KNOWN_MODELS:
        pytest.skip("the page refuses this model")
    if place in ("cpu", "triton") and model not in BACKENDS[place].project.MODELS:
        pytest.skip("the specification draws with this model")
    camera, gaussians = camera_of(model), gaussian((off, -0.6 * off, 0.3))
    view = camera.viewmats.double()
    x, y, z = ((gaussians.means.double() @ view[:3, :3].mT) + view[:3, 3])[0].unbind(-1)
    lens = camera.lens(z)
    jacobian = camera.projection.jacobian(x, y, z, lens, formula.JACOBIAN_LIMIT)
    axes = view[:3, :3] @ quaternions_to_matrices(gaussians.quaternions[0].double()) * gaussians.scales[0].double()
    rows = jacobian @ axes
    inverse = torch.linalg.inv(rows @ rows.mT + formula.EPS2D * torch.eye(2, dtype=torch.float64))
    expected = torch.stack([inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 1]], dim=-1)
    with usable(place):
        means2d, conics = projected(place, gaussians, camera)
    torch.testing.assert_close(means2d, torch.stack(camera.projection.project(x, y, z, lens), -1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conics, expected, rtol=1e-4, atol=1e-7)
    # Of angles no derivative grows without bound, so that none is limited.
    if off > 1 and camera.projection.depth_shrinks_extents and not camera.projection.measures_distance:
        assert not torch.equal(jacobian, camera.projection.jacobian(x, y, z, lens)), "the limit was not reached"


@pytest.mark.usefixtures("twice")
class TestAnUnknownModel:
    """A model that Python alone knows: the specification draws with it, and no other place mistakes it for its own."""

    def test_the_specification_draws_with_it(self) -> None:
        camera, gaussians = camera_of("twice"), gaussian((0.1, 0.2, 0.0))
        assert not projection.takes_compiled(gaussians, camera)
        splats = project(gaussians, camera)
        usual = project(gaussians, camera_of("orthographic"))
        torch.testing.assert_close(
            splats.means2d - torch.tensor([19.0, 16.0]), 2 * (usual.means2d - torch.tensor([19.0, 16.0]))
        )

    def test_the_compiled_kernel_refuses_it(self) -> None:
        with usable("cpu"):
            inputs = [each.numpy() for each in kernel_inputs()]
            outputs = [each.numpy() for each in projection._empty_outputs(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))]
            kernels = BACKENDS["cpu"].support.kernels()
            with pytest.raises(ValueError, match="know the models pinhole, orthographic, gmae and panorama, got twice"):
                kernels.project(*inputs, "twice", [1.0] * 7, *outputs, 1)

    def test_the_triton_kernels_refuse_it(self) -> None:
        with usable("triton"):
            inputs = kernel_inputs()
            outputs = projection._empty_outputs(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))
            with pytest.raises(
                InputError,
                match="expected one of the models of the Triton projection, pinhole, orthographic, gmae, got twice",
            ):
                BACKENDS["triton"].project.project(inputs, outputs, "twice", [1.0] * 7)

    def test_the_page_refuses_it(self) -> None:
        image, none = torch.zeros(3, 30, 40), torch.zeros(1, dtype=torch.long)
        with pytest.raises(
            InputError, match="expected one of the page's camera models, pinhole, orthographic, gmae, got 'twice'"
        ):
            ViewedImage("", image, gaussian((0.0, 0.0, 0.0))[0], camera_of("twice"), torch.zeros(3), none)
        with usable("viewer"), pytest.raises(RuntimeError, match="no model is called twice"):
            projected("viewer", gaussian((0.0, 0.0, 0.0)), camera_of("twice"))
