"""Our renderer behind gsplat's signature, against gsplat's equations in float64."""

from __future__ import annotations

import inspect
import warnings
from enum import Enum
from typing import Any

import pytest
import torch
from torch import Tensor

from rendering import gsplat_twin
from rendering.compiled import relative_error
from splatlearn.core.errors import BackendError, InputError
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.compat.gsplat import FIXED, rasterization

pytestmark = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
SIZE: dict[str, Any] = {"width": 64, "height": 48}
LEAVES = ("means", "quats", "scales", "opacities", "colors", "viewmats", "backgrounds")


def scene(
    seed: int = 0, count: int = 60, views: int = 2, batch: tuple[int, ...] = (), sh: int | None = None
) -> dict[str, Any]:
    """Arguments in float32: no pixel gets opaque, so that what is drawn last there decides nothing."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, generator=generator)

    viewmats = torch.eye(4).repeat(*batch, views, 1, 1)
    viewmats[..., :3, :3] += 0.05 * normal(views, 3, 3)
    viewmats[..., :3, :3] = torch.linalg.qr(viewmats[..., :3, :3])[0]
    viewmats[..., :3, :3] *= viewmats[..., :3, :3].diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-1)
    viewmats[..., :3, 3] = torch.tensor([0.0, 0.1, 4.0]) + 0.1 * normal(views, 3)
    lens = (
        torch.tensor([[50.0, 0.0, 31.0], [0.0, 45.0, 25.0], [0.0, 0.0, 1.0]])
        * torch.linspace(1, 1.2, views)[:, None, None]
    )
    return {
        "means": 0.6 * normal(count, 3).clamp(-2, 2),
        "quats": normal(count, 4),
        "scales": 0.05 + 0.15 * normal(count, 3).sigmoid(),
        "opacities": 0.8 * normal(count).sigmoid(),
        "colors": normal(count, 3).sigmoid() if sh is None else 0.3 * normal(count, sh, 3),
        "viewmats": viewmats,
        "Ks": lens.expand(*batch, views, 3, 3),
        "backgrounds": normal(views, 3).sigmoid(),
    }


def free(arguments: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Copies that are leaves; all but `Ks` require gradients."""
    return {name: each.to(dtype).clone().requires_grad_(name != "Ks") for name, each in arguments.items()}


def by_twin(arguments: dict[str, Any], **options: Any) -> tuple[dict[str, Any], Tensor, Tensor, dict[str, Any]]:
    leaves = free(arguments, torch.float64)
    return leaves, *gsplat_twin.rasterization(**leaves, **SIZE, **options)


def assert_agrees(arguments: dict[str, Any], **options: Any) -> None:
    """Compare pictures, alphas and all gradients with the twin of either release in float64."""
    ours = free(arguments)
    color, alpha, meta = rasterization(**ours, **SIZE, **options)
    upstream = torch.randn(*color.shape[:-1], color.shape[-1] + 1, generator=torch.Generator().manual_seed(1))
    (torch.cat([color, alpha], -1) * upstream).sum().backward()
    # Where little covers a pixel, its mean depth is a quotient of small numbers.
    most = 1e-4 if "ED" in options.get("render_mode", "") else 2e-5
    for release in gsplat_twin.RELEASES:
        theirs, want, want_alpha, want_meta = by_twin(arguments, **options, release=release)
        assert color.shape == want.shape and alpha.shape == want_alpha.shape
        assert color.is_contiguous() and color.dtype == torch.float32
        assert float((color - want).detach().abs().max()) < 5e-5
        assert float((alpha - want_alpha).detach().abs().max()) < 1e-5
        want_meta["means2d"].retain_grad()
        (torch.cat([want, want_alpha], -1) * upstream).sum().backward()
        for name in LEAVES:
            if theirs[name].grad is None:
                assert ours[name].grad is None or not ours[name].grad.any()
            else:
                assert relative_error(ours[name].grad, theirs[name].grad) < most, name
        rows = places(meta, want_meta)
        assert relative_error(meta["means2d"].grad, want_meta["means2d"].grad[rows]) < most


def places(meta: dict[str, Any], want: dict[str, Any]) -> Tensor:
    """For each of our pairs, the row of the twin's that is the same pair."""
    keys = [
        torch.stack([each[name] for name in ("batch_ids", "camera_ids", "gaussian_ids")], -1).tolist()
        for each in (meta, want)
    ]
    row_of = {tuple(key): row for row, key in enumerate(keys[1])}
    assert [tuple(key) for key in keys[0]] == sorted(tuple(key) for key in keys[0])
    return torch.tensor([row_of[tuple(key)] for key in keys[0]])


@pytest.mark.parametrize("model", ["pinhole", "ortho"])
@pytest.mark.parametrize("mode", ["RGB", "RGB+D", "RGB+ED", "D", "ED"])
def test_pictures_and_gradients_are_gsplats(mode: str, model: str) -> None:
    assert_agrees(scene(), render_mode=mode, camera_model=model)


@pytest.mark.parametrize("model", ["pinhole", "ortho"])
@pytest.mark.parametrize("degree", [0, 1])
def test_harmonics_are_seen_from_the_centre_of_the_camera(degree: int, model: str) -> None:
    assert_agrees(scene(sh=4), sh_degree=degree, camera_model=model)


@pytest.mark.parametrize("sh", [None, 4])
@pytest.mark.parametrize("model", ["pinhole", "ortho"])
def test_each_camera_may_have_its_own_colours(sh: int | None, model: str) -> None:
    arguments = scene(sh=sh)
    generator = torch.Generator().manual_seed(5)
    colors = arguments["colors"]
    arguments["colors"] = torch.stack([colors, torch.rand(colors.shape, generator=generator)])
    assert_agrees(arguments, sh_degree=None if sh is None else 1, camera_model=model)


@pytest.mark.parametrize("batch", [(2,), (2, 1)])
@pytest.mark.parametrize("sh", [None, 4])
def test_leading_axes(batch: tuple[int, ...], sh: int | None) -> None:
    assert_agrees(
        scene(batch=batch, views=3, count=30, sh=sh), sh_degree=None if sh is None else 1, render_mode="RGB+D"
    )


def test_harmonics_may_serve_all_sets() -> None:
    arguments = scene(batch=(2,), count=30, sh=4)
    shared = arguments["colors"][0]
    arguments["colors"] = shared.expand(2, *shared.shape)
    want, _, _ = rasterization(**arguments, **SIZE, sh_degree=1)
    got, _, _ = rasterization(**{**arguments, "colors": shared}, **SIZE, sh_degree=1)
    assert torch.equal(got, want)


def test_features_of_any_width_over_black() -> None:
    arguments = scene(count=40)
    del arguments["backgrounds"]
    arguments["colors"] = torch.rand(40, 37, generator=torch.Generator().manual_seed(2))
    color, _, _ = rasterization(**arguments, **SIZE, tile_size=16)
    want, _, _ = gsplat_twin.rasterization(**{name: each.double() for name, each in arguments.items()}, **SIZE)
    assert color.shape[-1] == 37 and float((color - want).abs().max()) < 1e-5


def test_planes_cull() -> None:
    arguments = scene()
    del arguments["backgrounds"]
    for near, far in ((3.8, 1e10), (0.01, 4.2)):
        _, alpha, meta = rasterization(**arguments, **SIZE, near_plane=near, far_plane=far)
        exact = {name: each.double() for name, each in arguments.items()}
        _, want, _ = gsplat_twin.rasterization(**exact, **SIZE, near_plane=near, far_plane=far)
        assert float((alpha - want).abs().max()) < 1e-5
        assert bool(((meta["depths"] >= near) & (meta["depths"] <= far)).all())


@pytest.mark.parametrize(("release", "most"), [("1.5", 0.1), ("1.6", 0.01)])
def test_where_pixels_get_opaque_the_last_splat_is_the_difference(release: str, most: float) -> None:
    """gsplat leaves out the splat that takes T to 1e-4 or below: one of weight at most 1e-4 / (1 − its clamp) or so."""
    arguments = scene(count=600, seed=3)
    arguments["opacities"] = torch.ones(600)
    color, _, _ = rasterization(**arguments, **SIZE)
    exact = {name: each.double() for name, each in arguments.items()}
    want, _, _ = gsplat_twin.rasterization(**exact, **SIZE, release=release)
    error = (color - want).abs()
    assert 1e-3 < float(error.max()) < most and float(error.mean()) < 2e-4
    same, _, _ = gsplat_twin.rasterization(**exact, **SIZE, draws_last=True)
    # A contribution at the threshold of 1/255 may be on either side of it in float32.
    assert float((color - same).abs().max()) < 1 / 255


def test_meta_has_what_the_renderer_knows() -> None:
    arguments = scene(sh=4)
    _, _, meta = rasterization(**free(arguments), **SIZE, sh_degree=1)
    _, _, _, want = by_twin(arguments, sh_degree=1)
    rows = places(meta, want)
    assert len(rows) >= 0.95 * len(want["gaussian_ids"])
    for name in ("means2d", "depths", "opacities"):
        assert relative_error(meta[name].detach(), want[name][rows].detach()) < 1e-6, name
    assert meta["radii"].dtype == torch.int32
    # Both of ours are the longer half; theirs are rounded up from a box that is as tight.
    difference = meta["radii"] - want["radii"][rows].amax(-1, keepdim=True)
    assert int(difference.abs().max()) <= 1
    for name in ("width", "height", "n_cameras", "n_batches"):
        assert meta[name] == want[name]


def test_absolute_gradients() -> None:
    arguments = scene(count=30)
    color, _, meta = rasterization(**free(arguments), **SIZE, absgrad=True)
    assert not hasattr(meta["means2d"], "absgrad")
    upstream = torch.randn(color.shape, generator=torch.Generator().manual_seed(1))
    (color * upstream).sum().backward()
    _, want, _, want_meta = by_twin(arguments, absgrad=True)
    (want * upstream).sum().backward()
    found = want_meta["means2d"].absgrad[places(meta, want_meta)]
    assert relative_error(meta["means2d"].absgrad, found) < 2e-5


def update_of_a_strategy(meta: dict[str, Any], count: int, packed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What gsplat's default strategy keeps of a step: summed gradient norms, views and the largest radius."""
    grads = meta["means2d"].grad.clone()
    grads[..., 0] *= meta["width"] / 2.0 * meta["n_cameras"]
    grads[..., 1] *= meta["height"] / 2.0 * meta["n_cameras"]
    if packed:
        ids, radii = meta["gaussian_ids"], meta["radii"].max(dim=-1).values
    else:
        sel = (meta["radii"] > 0.0).all(dim=-1)
        ids = torch.where(sel)[1]
        grads, radii = grads[sel], meta["radii"][sel].max(dim=-1).values
    sums, seen = torch.zeros(count), torch.zeros(count)
    sums.index_add_(0, ids, grads.norm(dim=-1))
    seen.index_add_(0, ids, torch.ones_like(ids, dtype=torch.float32))
    return sums, seen, torch.zeros(count).scatter_reduce(0, ids, radii.float(), "amax")


def test_strategies_read_the_same_of_packed_and_other_results() -> None:
    found = []
    for packed in (True, False):
        leaves = free(scene())
        color, _, meta = rasterization(**leaves, **SIZE, packed=packed)
        meta["means2d"].retain_grad()
        color.square().sum().backward()
        found.append(update_of_a_strategy(meta, 60, packed))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other) and bool(one.any())
    assert meta["means2d"].shape == (2, 60, 2) and meta["gaussian_ids"] is None
    assert bool((meta["depths"][meta["radii"][..., 0] == 0] == 0).all())


def test_a_loss_of_means2d_reaches_means_and_cameras_and_adds_to_their_gradient() -> None:
    losses = {
        "picture": lambda color, meta: color.square().sum(),
        "pixels": lambda color, meta: meta["means2d"].square().sum(),
    }
    losses["both"] = lambda color, meta: losses["picture"](color, meta) + losses["pixels"](color, meta)
    found = {}
    for name, loss in losses.items():
        leaves = free(scene())
        color, _, meta = rasterization(**leaves, **SIZE)
        loss(color, meta).backward()
        found[name] = (meta["means2d"].grad, leaves["means"].grad, leaves["viewmats"].grad)
    for picture, pixels, both in zip(*found.values(), strict=True):
        assert bool(picture.any()) and bool(pixels.any())
        assert relative_error(both, picture + pixels) < 1e-6


def test_gradients_of_means2d_come_without_gradients_of_means() -> None:
    arguments = scene()
    want = free(arguments)
    color, _, expected = rasterization(**want, **SIZE)
    color.sum().backward()
    fixed = {name: each.detach().requires_grad_(name == "colors") for name, each in arguments.items()}
    color, _, meta = rasterization(**fixed, **SIZE)
    color.sum().backward()
    assert torch.equal(meta["means2d"].grad, expected["means2d"].grad)
    with torch.no_grad():
        _, _, meta = rasterization(**want, **SIZE)
    assert not meta["means2d"].requires_grad


def test_no_gaussians_and_none_in_sight() -> None:
    arguments = scene(count=0)
    color, alpha, meta = rasterization(**free(arguments), **SIZE)
    assert torch.equal(color, arguments["backgrounds"][:, None, None].expand(2, 48, 64, 3))
    assert not alpha.any() and len(meta["radii"]) == 0
    away = free({**scene(), "means": scene()["means"] - torch.tensor([0.0, 0.0, 100.0])})
    color, _, meta = rasterization(**away, **SIZE)
    color.sum().backward()
    assert len(meta["gaussian_ids"]) == 0 and meta["means2d"].grad.shape == (0, 2)


def test_other_dtypes_have_pictures_and_gradients_but_no_pairs() -> None:
    arguments = scene(count=20)
    exact = free(arguments, torch.float64)
    color, alpha, meta = rasterization(**exact, **SIZE, render_mode="RGB+ED")
    theirs, want, _, _ = by_twin(arguments, render_mode="RGB+ED")
    assert float((color - want).detach().abs().max()) < 1e-9
    color.square().sum().backward()
    want.square().sum().backward()
    for name in LEAVES:
        assert relative_error(exact[name].grad, theirs[name].grad) < 1e-8, name
    assert meta == {"width": 64, "height": 48, "n_batches": 1, "n_cameras": 2}
    with pytest.raises(BackendError, match="absgrad: only the compiled kernels"):
        rasterization(**exact, **SIZE, absgrad=True)


class RollingShutterType(Enum):
    """As in gsplat."""

    GLOBAL = 4
    ROLLING_TOP_TO_BOTTOM = 0


OTHER = {
    "radius_clip": 1.0,
    "eps2d": 0.1,
    "channel_chunk": 8,
    "covars": torch.zeros(60, 3, 3),
    "global_z_order": False,
    "rolling_shutter": RollingShutterType.ROLLING_TOP_TO_BOTTOM,
    "extra_signals_sh_degree": 3,
}


@pytest.mark.parametrize("name", FIXED)
def test_arguments_that_have_one_value_are_refused_by_name(name: str) -> None:
    value = OTHER.get(name, torch.zeros(2, 4) if FIXED[name] is None else True)
    with pytest.raises(InputError, match=rf"^{name}: this renderer supports .* alone, got .*; leave the argument out"):
        rasterization(**scene(), **SIZE, **{name: value})


def test_their_defaults_are_taken() -> None:
    want, _, _ = rasterization(**scene(), **SIZE)
    got, _, _ = rasterization(**scene(), **SIZE, **{**FIXED, "rolling_shutter": RollingShutterType.GLOBAL})
    assert torch.equal(got, want)
    with pytest.raises(TypeError, match="unexpected keyword argument 'radius'"):
        rasterization(**scene(), **SIZE, radius=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"render_mode": "d"}, "render_mode: expected one of RGB, D, ED, .*, got 'd'"),
        ({"camera_model": "fisheye"}, "camera_model: expected one of pinhole, ortho, got 'fisheye'"),
        ({"rasterize_mode": "mip"}, "rasterize_mode: expected one of classic, antialiased, got 'mip'"),
        ({"means": torch.zeros(3)}, r"means: expected shape \[..., N, 3\], got \[3\]"),
        ({"quats": torch.ones(9, 4)}, r"quats: expected shape \[60, 4\], got \[9, 4\]"),
        ({"viewmats": torch.eye(4)}, r"viewmats: expected shape \[C, 4, 4\], got \[4, 4\]"),
        ({"Ks": torch.eye(3)[None]}, r"Ks: expected shape \[2, 3, 3\], got \[1, 3, 3\]"),
        ({"colors": torch.zeros(7, 3)}, r"colors: expected shape \[60, D\] or \[2, 60, D\], got \[7, 3\]"),
        ({"sh_degree": 1}, r"colors: expected shape \[60, K ≥ 4, 3\] or \[2, 60, K ≥ 4, 3\], got \[60, 3\]"),
        ({"sh_degree": 9}, "sh_degree: expected a whole number .*4, got 9"),
        ({"backgrounds": torch.zeros(3)}, r"backgrounds: expected shape \[2, 3\], got \[3\]"),
        ({"near_plane": 0.0}, "near_plane: expected a finite number above 0"),
        ({"opacities": torch.full((60,), 1.5)}, "opacities: "),
    ],
)
def test_errors_name_the_argument(no_shape_checks: None, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rasterization(**{**scene(), **changes}, **SIZE)


def installed() -> Any:
    """The package gsplat, whose Python half needs no CUDA; skips the test where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("gsplat")


def test_arguments_are_those_of_the_installed_gsplat() -> None:
    theirs = list(inspect.signature(installed().rasterization).parameters)
    ours = list(inspect.signature(rasterization).parameters)[:-1]
    assert theirs[: len(ours)] == ours and set(theirs) <= {*ours, *FIXED}


@pytest.mark.parametrize("absgrad", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_the_strategy_of_the_installed_gsplat_trains(packed: bool, absgrad: bool) -> None:
    installed()
    strategies = pytest.importorskip("gsplat.strategy")
    start = scene(seed=1, sh=4)
    fixed = {name: start[name] for name in ("viewmats", "Ks", "backgrounds")}
    photo = rasterization(**{**scene(sh=4), **fixed}, **SIZE, sh_degree=1)[0]
    named = {**{name: start[name] for name in ("means", "quats", "colors")}, "scales": start["scales"].log()}
    named["opacities"] = start["opacities"].logit()
    params = torch.nn.ParameterDict({name: torch.nn.Parameter(each) for name, each in named.items()})
    optimizers = {name: torch.optim.Adam([each], lr=0.01) for name, each in params.items()}
    strategy = strategies.DefaultStrategy(refine_start_iter=10, refine_every=20, grow_grad2d=1e-4, absgrad=absgrad)
    strategy.check_sanity(params, optimizers)
    state, losses = strategy.initialize_state(scene_scale=1.0), []
    for step in range(60):
        seen = {**params, "scales": params["scales"].exp(), "opacities": params["opacities"].sigmoid()}
        image, _, meta = rasterization(**seen, **fixed, **SIZE, sh_degree=1, packed=packed, absgrad=absgrad)
        strategy.step_pre_backward(params, optimizers, state, step, meta)
        loss = (image - photo).abs().mean()
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        strategy.step_post_backward(params, optimizers, state, step, meta, packed=packed)
        losses.append(loss.item())
    assert len(params["means"]) > 60 and losses[-1] < 0.5 * losses[0]
