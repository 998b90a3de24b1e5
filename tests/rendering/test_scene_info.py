"""What a view of a scene reports beside its picture, and what it does with values that are not finite."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rendering.compiled import relative_error
from rendering.many import camera, free, many
from rendering.test_scenes import clear_pixels
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Splats, composite, project, render, scenes
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.formula import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN

pytestmark = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())


def weights_of(splats: Splats, size: tuple[int, int]) -> torch.Tensor:
    """Blending weights [K, H, W] of the splats of one picture, as the formula has them, one splat after the other."""
    rows, columns = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    transmittance, found = torch.ones(size, dtype=torch.float64), []
    for (x, y), (a, b, c), opacity in zip(splats.means2d[0], splats.conics[0], splats.opacities[0], strict=True):
        dx, dy = columns - x, rows - y
        alpha = (opacity * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)).clamp_max(ALPHA_MAX)
        alpha = torch.where((alpha >= ALPHA_MIN) & (transmittance >= TRANSMITTANCE_MIN), alpha, 0.0)
        found.append(transmittance * alpha)
        transmittance = transmittance * (1 - alpha)
    return torch.stack(found)


def ordered(gaussians: Gaussians, view: Camera) -> tuple[Splats, torch.Tensor]:
    """The splats of a view in float64, and the place in the set of each."""
    exact = gaussians.map(lambda each: each.detach().double().unsqueeze(0))
    marked = replace(exact, sh=None, colors=torch.arange(exact.count, dtype=torch.float64)[None, :, None])
    splats = project(marked, view.to(torch.float64), "torch")
    return splats, splats.colors[0, :, 0].long()


def test_weights_are_those_of_the_formula() -> None:
    gaussians, view = many(torch.Generator().manual_seed(2), 300, degree=0), camera((45, 71))
    info = render(gaussians, view, info="weights").info
    assert info is not None and info.weight_sums is not None
    assert info.weight_maxima is not None and info.pixels is not None
    splats, places = ordered(gaussians, view)
    weights = torch.empty(gaussians.count, 45, 71, dtype=torch.float64)
    weights[places] = weights_of(splats, (45, 71))
    unseen = torch.ones(gaussians.count, dtype=torch.bool)
    unseen[info.ids] = False
    assert not weights[unseen].any(), "only what shows nowhere may be left out"
    assert info.ids.tolist() == sorted(set(info.ids.tolist()))
    assert relative_error(info.weight_sums, weights[info.ids].sum((1, 2))) < 1e-3
    assert relative_error(info.weight_maxima, weights[info.ids].amax((1, 2))) < 1e-3
    assert float((info.pixels - (weights[info.ids] > 0).sum((1, 2))).abs().max()) <= 3
    assert float(info.weight_sums.sum()) == pytest.approx(float(render(gaussians, view).alpha.sum()), rel=1e-4)


def test_radii_bound_what_is_visible() -> None:
    gaussians, view = many(torch.Generator().manual_seed(3), 200, degree=0), camera((60, 80))
    info = render(gaussians, view, info=True).info
    assert info is not None and info.weight_sums is None and info.pixels is None
    splats, places = ordered(gaussians, view)
    rank = torch.empty_like(places)
    rank[places] = torch.arange(len(places))
    a, b, c = splats.conics[0, rank[info.ids]].unbind(-1)
    determinant = a * c - b * b
    power = 2 * torch.log(splats.opacities[0, rank[info.ids]] / ALPHA_MIN)
    longest = (power * torch.maximum(a, c) / determinant).sqrt()
    assert bool((info.radii >= longest * (1 - 1e-4)).all())
    assert bool((info.radii <= longest * 1.01 + 0.5).all())


def test_gradients_of_means2d_and_their_absolute_sums_are_those_of_single_pixels() -> None:
    gaussians, view = many(torch.Generator().manual_seed(4), 100, degree=0).select(slice(6, 50)), camera((14, 19))
    clear = clear_pixels(gaussians, view)
    leaves = free(gaussians)
    made = render(leaves, view, "black", depth=False, info=("absgrad",))
    upstream = torch.randn(made.color.shape, generator=torch.Generator().manual_seed(0)) * clear
    assert made.info is not None and made.info.means2d_grad is None
    (made.color * upstream).sum().backward()
    assert made.info.means2d_grad is not None and made.info.means2d_absgrad is not None

    splats, places = ordered(gaussians, view)
    colors = render_colors(gaussians, places)
    means2d = splats.means2d.clone().requires_grad_()
    color, _ = composite(replace(splats, means2d=means2d, colors=colors), 14, 19, "black", "torch")
    sums, absolute = torch.zeros(gaussians.count, 2).double(), torch.zeros(gaussians.count, 2).double()
    for row in range(14):
        for column in range(19):
            loss = (color[0, :, row, column] * upstream[:, row, column]).sum()
            (found,) = torch.autograd.grad(loss, means2d, retain_graph=True)
            sums[places] += found[0]
            absolute[places] += found[0].abs()
    assert relative_error(made.info.means2d_grad, sums[made.info.ids]) < 2e-5
    assert relative_error(made.info.means2d_absgrad, absolute[made.info.ids]) < 2e-5


def render_colors(gaussians: Gaussians, places: torch.Tensor) -> torch.Tensor:
    """Colours [1, K, 3] of harmonics of degree 0, in the order of the splats."""
    assert gaussians.sh is not None
    return (0.28209479177387814 * gaussians.sh[places, 0].double() + 0.5).clamp_min(0.0).unsqueeze(0)


def test_pairs_of_views_are_told_apart() -> None:
    gaussians, view = many(torch.Generator().manual_seed(5), 150, degree=1), camera((30, 40))
    aside = Camera.look_at((-2.0, 0.4, -3.0), (0.0, 0.0, 0.0), 30, 40)
    both = replace(view, viewmats=torch.stack([view.viewmats, aside.viewmats]))
    leaves = free(gaussians)
    made = render(leaves, replace(both, fx=view.fx, fy=view.fy), info=("weights", "absgrad"))
    made.color.square().sum().backward()
    info = made.info
    assert info is not None and info.means2d_grad is not None and info.weight_sums is not None
    for index in range(2):
        alone = free(gaussians)
        single = render(alone, replace(view, viewmats=both.viewmats[index]), info=("weights", "absgrad"))
        single.color.square().sum().backward()
        here = info.view_ids == index
        want = single.info
        assert want is not None and want.means2d_grad is not None and want.weight_sums is not None
        assert torch.equal(info.ids[here], want.ids)
        assert torch.equal(info.weight_sums[here], want.weight_sums)
        assert torch.equal(info.means2d_grad[here], want.means2d_grad)


def test_no_views_see_nothing_and_ask_for_nothing() -> None:
    leaves, view = free(many(torch.Generator().manual_seed(5), 20, degree=1)), camera((30, 40))
    none = replace(view, viewmats=view.viewmats.expand(0, 4, 4))
    made = render(leaves, none, info=("weights", "absgrad"))
    (made.color.sum() + made.alpha.sum()).backward()
    info = made.info
    assert info is not None and made.color.shape == (0, 3, 30, 40)
    for each in (info.ids, info.view_ids, info.radii, info.weight_sums, info.weight_maxima, info.pixels):
        assert each is not None and each.shape == (0,)
    for each in (info.means2d_grad, info.means2d_absgrad):
        assert each is not None and each.shape == (0, 2)
    assert (info.not_finite, info.intersections) == (0, 0)
    for name, each in leaves.tensors().items():
        assert each.grad is not None and not each.grad.any(), name


def test_info_of_another_backend_is_refused_in_a_sentence() -> None:
    gaussians, view = many(torch.Generator().manual_seed(0), 20), camera((20, 20))
    with pytest.raises(BackendError, match="info: only the compiled kernels"):
        render(gaussians, view, backend="torch", info=True)
    with pytest.raises(InputError, match="weights, absgrad, got 'weight'"):
        render(gaussians, view, info="weight")


def test_absolute_gradients_of_more_channels_than_a_pass_has_are_refused() -> None:
    gaussians, view = many(torch.Generator().manual_seed(0), 20, degree=None, channels=16), camera((20, 20))
    assert render(gaussians, view, (0.0,) * 16, depth=False, info="absgrad").info is not None
    with pytest.raises(InputError, match="'absgrad' for more than 16 channels, depth included, got 17"):
        render(gaussians, view, (0.0,) * 16, info="absgrad")


def test_kept_memory_can_be_freed() -> None:
    gaussians = many(torch.Generator().manual_seed(0), 5000)
    render(free(gaussians), camera((64, 64)), info=True).color.sum().backward()
    assert cpu_support.free_kept_memory() > 0
    assert cpu_support.free_kept_memory() == 0


@pytest.mark.parametrize("few", [0, 10**9], ids=["scenes", "plain"])
@pytest.mark.parametrize("name", ["means", "scales", "quaternions", "opacities", "sh"])
def test_what_is_not_finite_is_dropped_on_request(name: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "FEWEST", few)
    monkeypatch.setattr(scenes, "ALWAYS", few)
    gaussians, view = many(torch.Generator().manual_seed(6), 120), camera((40, 50))
    tensor = gaussians.tensors()[name].clone()
    tensor[3], tensor[60] = float("nan"), float("inf")
    broken = replace(gaussians, **{name: tensor})
    kept = torch.ones(120, dtype=torch.bool)
    kept[[3, 60]] = False
    want = render(gaussians.select(kept), view)
    leaves = free(broken)
    got = render(leaves, view, check="drop")
    assert torch.allclose(got.color, want.color, atol=1e-6)
    got.color.sum().backward()
    for each in leaves.tensors().values():
        assert each.grad is not None
        assert bool(each.grad[kept].isfinite().all())
    if name != "sh":
        assert not bool(render(broken, view, check=False).color.isfinite().all())
    with pytest.raises(InputError, match=f"{name}: "):
        render(broken, view)


def test_what_was_dropped_is_counted() -> None:
    gaussians, view = many(torch.Generator().manual_seed(6), 120), camera((40, 50))
    means = gaussians.means.clone()
    means[5], means[70, 1] = float("nan"), float("inf")
    info = render(replace(gaussians, means=means), view, check="drop", info=True).info
    assert info is not None and info.not_finite == 2
    assert not {5, 70} & set(info.ids.tolist())


def test_check_takes_three_values() -> None:
    with pytest.raises(InputError, match="check: expected True, False or 'drop', got 'raise'"):
        render(many(torch.Generator().manual_seed(0), 5), camera((9, 9)), check="raise")
