"""The parametrisation of a scene keeps every picture, and its rates are those of 3D Gaussian Splatting."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.fitting.scene_parameters import scene_gaussians, scene_parameters
from splatlearn.fitting.scene_schedule import SceneRates, SceneSchedule
from splatlearn.rendering import render


def orbit(count: int = 3, size: int = 48) -> Camera:
    """Cameras around the origin, four units away."""
    angles = torch.linspace(0, 5, count, dtype=torch.float64)
    forward = -torch.stack([angles.sin(), 0.3 * (3 * angles).sin(), -angles.cos()], dim=-1)
    forward = torch.nn.functional.normalize(forward, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([[0.0, 1, 0]]).to(forward), forward), dim=-1)
    turn = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    views = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    views[:, :3, :3], views[:, 2, 3] = turn, 4.0
    return Camera(size, size, 1.2 * size, 1.2 * size, size / 2, size / 2, viewmats=views.float())


def extremes(gaussians: Gaussians) -> Gaussians:
    """Opacities of 0 and 1, a scale of 0, and quaternions of other lengths."""
    opacities, scales = gaussians.opacities.clone(), gaussians.scales.clone()
    opacities[:6] = torch.tensor([0.0, 1.0, 1.0, 1e-20, 1 - 1e-7, 1e-3])
    scales[6:9, 0] = torch.tensor([0.0, 1e-30, 1e-6])
    return replace(gaussians, opacities=opacities, scales=scales, quaternions=3.0 * gaussians.quaternions)


@pytest.mark.parametrize("kind", ["sh0", "sh3", "colors"])
def test_a_start_keeps_its_pictures(kind: str, generator: torch.Generator) -> None:
    if kind == "colors":
        start = random_gaussians(generator, (), 60)
        assert start.colors is not None
        start = replace(start, colors=3.0 * start.colors - 1.0)
    else:
        start = random_sh(generator, int(kind[-1]), (), 60)
    start = extremes(start)
    back = scene_gaussians(scene_parameters(start)).detach()
    cameras = orbit()
    first, second = (render(each, cameras, "black") for each in (start, back))
    assert float(first.color.max()) > 1.1 and (kind != "colors" or float(first.color.min()) < 0)
    assert float((first.color - second.color).abs().max()) < 2e-5
    assert float((first.alpha - second.alpha).abs().max()) < 1e-5


def test_parameters_are_finite_copies_that_activations_lead_back_from(generator: torch.Generator) -> None:
    start = extremes(random_sh(generator, 2, (), 20))
    parameters = scene_parameters(start)
    assert set(parameters) == {"means", "log_scales", "quaternions", "logits", "sh"}
    assert all(bool(each.isfinite().all()) and each.is_contiguous() for each in parameters.values())
    parameters["means"] += 1.0
    parameters["sh"] += 1.0
    assert torch.equal(start.means + 1.0, parameters["means"]), "the start was not moved along"
    torch.testing.assert_close(parameters["quaternions"].norm(dim=-1), torch.ones(20))
    half = scene_parameters(start.to(torch.float16))
    assert half["means"].dtype == torch.float32
    assert scene_parameters(start.to(torch.float64))["means"].dtype == torch.float64


def test_gradients_reach_every_parameter(generator: torch.Generator) -> None:
    leaves = {k: v.requires_grad_() for k, v in scene_parameters(random_sh(generator, 1, (), 30)).items()}
    render(scene_gaussians(leaves), orbit(), "black").color.square().sum().backward()
    for each in leaves.values():
        assert each.grad is not None and bool(each.grad.any())


@pytest.mark.usefixtures("no_shape_checks")
def test_other_gaussians_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"^gaussians: expected one set \[K\], got sets \[2\]"):
        scene_parameters(random_gaussians(generator))
    with pytest.raises(InputError, match="^gaussians: expected 3 colour channels, got 5"):
        scene_parameters(random_gaussians(generator, (), channels=5))


def test_rates_are_those_of_3dgs() -> None:
    rates = SceneRates()
    sh = {"sh": torch.zeros(4, 16, 3)}
    found = rates.at(15_000, 30_000, 2.0, sh)
    assert {k: v for k, v in found.items() if not isinstance(v, torch.Tensor)} == {
        "means": pytest.approx(2.0 * 1.6e-5),
        "log_scales": 5e-3,
        "quaternions": 1e-3,
        "logits": 0.05,
    }
    each = found["sh"]
    assert isinstance(each, torch.Tensor) and each.shape == (16, 1)
    torch.testing.assert_close(each[:, 0], torch.tensor([2.5e-3] + 15 * [1.25e-4], dtype=torch.float64))
    assert rates.position_at(30_000, 30_000, 1.0) == pytest.approx(1.6e-6)
    assert rates.position_at(90_000, 30_000, 1.0) == pytest.approx(1.6e-6)
    assert rates.position_at(1, 30_000, 1.0) == pytest.approx(1.6e-4 * 0.01 ** (1 / 30_000))


def test_rates_are_annealed_at_the_end(generator: torch.Generator) -> None:
    parameters = scene_parameters(random_sh(generator, 2, (), 5))
    annealing, plain = (SceneSchedule(steps=200, anneal=share) for share in (0.25, 0.0))

    def shares(number: int) -> dict[str, float]:
        """Each rate beside that of a fit that is not annealed; the same for all coefficients."""
        found, usual = (each.rates_at(number, 2.0, parameters) for each in (annealing, plain))
        both = {name: torch.as_tensor(found[name]) / torch.as_tensor(rate) for name, rate in usual.items()}
        assert all(float(each.std(correction=0)) < 1e-12 for each in both.values())
        return {name: float(each.mean()) for name, each in both.items()}

    assert set(shares(150).values()) == {1.0}
    for number, share in ((175, 0.55), (200, 0.1), (500, 0.1)):
        assert shares(number) == pytest.approx({name: 1.0 if name == "means" else share for name in parameters})


def test_colors_move_as_far_as_harmonics_of_degree_0_take_them() -> None:
    assert SceneRates().at(1, 10, 1.0, {"colors": torch.zeros(2, 3)})["colors"] == pytest.approx(2.5e-3 * C0)


@pytest.mark.parametrize(("name", "value"), [("position", 0.0), ("position_last", -1.0), ("opacity", float("nan"))])
def test_rates_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^{name}: expected"):
        SceneRates(**{name: value})
