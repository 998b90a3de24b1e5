"""Terms of surfels: normals of planes are known, and discs that lie askew are turned into the plane."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.terms.moments import depth_moments
from splatlearn.fitting.terms.normals import NormalConsistency, facing_normals, normal_map, surface_normals
from splatlearn.fitting.terms.term import TermInputs
from splatlearn.rendering import render

TURN = torch.tensor([0.9, 0.3, -0.2, 0.1])


def plane(askew: float = 0.0, side: int = 12) -> Gaussians:
    """Discs on a slanted plane before the camera, each turned a little by itself if `askew`."""
    generator = torch.Generator().manual_seed(0)
    turn = quaternions_to_matrices(TURN)
    x, y = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="xy")
    flat = torch.stack([x.flatten(), y.flatten(), torch.zeros(side * side)], dim=-1)
    count = len(flat)
    return Gaussians(
        means=flat @ turn.T + torch.tensor([0.0, 0.0, 3.0]),
        scales=torch.tensor([0.15, 0.15, 0.0]).expand(count, 3).clone(),
        quaternions=TURN + askew * torch.randn(count, 4, generator=generator),
        opacities=torch.full((count,), 0.9),
        colors=torch.rand(count, 3, generator=generator),
        primitive="surfel",
    )


def camera() -> Camera:
    return Camera.pinhole(40, 48, 30.0)


def inputs_of(gaussians: Gaussians, view: Camera) -> TermInputs:
    many = replace(view, viewmats=view.viewmats[None])
    rendering = render(gaussians, many, "black", depth=False)
    targets = torch.zeros(1, 3, view.height, view.width)
    return TermInputs(1, 1.0, gaussians, rendering, many, targets, None, "black", None, Draws(0))


def test_normals_of_a_plane_are_those_of_its_discs() -> None:
    gaussians, view = plane(), camera()
    normal = quaternions_to_matrices(TURN)[:, 2]
    normal = normal if float(normal[2]) < 0 else -normal
    torch.testing.assert_close(facing_normals(gaussians, view), normal.expand(gaussians.count, 3), atol=1e-6, rtol=0)
    shown = render(gaussians, view, "black")
    inner = (slice(None), slice(12, 28), slice(14, 34))
    torch.testing.assert_close(
        normal_map(gaussians, view)[inner], normal[:, None, None].expand(3, 16, 20), atol=1e-5, rtol=0
    )
    assert shown.depth is not None
    found = surface_normals(shown.depth.double(), view).float()[inner]
    torch.testing.assert_close(found, normal[:, None, None].expand(3, 16, 20), atol=2e-3, rtol=0)


def test_the_thinnest_axis_of_a_gaussian_is_its_normal() -> None:
    flat = replace(plane(), primitive="gaussian", scales=plane().scales[:, [2, 0, 1]] + 0.01)
    matrices = quaternions_to_matrices(flat.quaternions)[..., 0]
    assert torch.equal(facing_normals(flat, camera()).abs(), matrices.abs())


def test_the_term_is_small_for_a_plane_and_turns_discs_into_it() -> None:
    view, term = camera(), NormalConsistency()
    # Not 0: at the rim, and where discs overlap, depths are means.
    assert float(term(inputs_of(plane(), view))) == pytest.approx(0.0, abs=0.015)
    start = plane(askew=0.15)
    quaternions = start.quaternions.clone().requires_grad_()
    values: list[float] = []
    optimizer = torch.optim.Adam([quaternions], lr=0.01)
    for _ in range(15):
        loss = term(inputs_of(replace(start, quaternions=quaternions), view))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[0] > 0.02 and values[-1] < 0.4 * values[0]


def test_the_distortion_of_surfels_is_0_for_a_plane() -> None:
    view = camera()
    many = replace(view, viewmats=view.viewmats[None])

    def distortion(gaussians: Gaussians) -> Tensor:
        return depth_moments(gaussians, many).distortion[0, 12:28, 14:34].mean()

    # Discs of one plane overlap at one depth; those of a Gaussian's means do not.
    assert float(distortion(plane())) < 1e-6
    assert float(distortion(replace(plane(), primitive="gaussian"))) > 1e-5
    assert float(distortion(plane(askew=0.15))) > 1e-5
