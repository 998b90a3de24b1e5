"""The renderer behind the signature of gsplat's `rasterization`, so that a change of the import renders on a CPU.

    from splatlearn.rendering.compat.gsplat import rasterization

Written for gsplat 1.5.3 and 1.6.0, Apache-2.0 (https://github.com/nerfstudio-project/gsplat).

Letters of shapes: N Gaussians, C cameras, D channels, K harmonics, H W pixels, P pairs of a camera and a Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_floating, check_shape
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import MAX_DEGREE, coefficient_count
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.rendering.compat.gsplat_meta import pairs_seen, report_gradients
from splatlearn.rendering.formula import EPS2D
from splatlearn.rendering.pictures import render
from splatlearn.rendering.scenes import scene_backend

MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
MODELS = {"pinhole": "pinhole", "ortho": "orthographic"}
"""Names of camera models there and here."""
FILTERS = {"classic": "point", "antialiased": "mip"}
"""Names of filters there and here."""
FIXED: dict[str, Any] = {
    "radius_clip": 0.0,
    "eps2d": EPS2D,
    "sparse_grad": False,
    "channel_chunk": 32,
    "distributed": False,
    "segmented": False,
    "covars": None,
    "with_ut": False,
    "with_eval3d": False,
    "return_normals": False,
    "global_z_order": True,
    "rays": None,
    "radial_coeffs": None,
    "tangential_coeffs": None,
    "thin_prism_coeffs": None,
    "ftheta_coeffs": None,
    "lidar_coeffs": None,
    "external_distortion_coeffs": None,
    "rolling_shutter": None,
    "viewmats_rs": None,
    "ut_params": None,
    "extra_signals": None,
    "extra_signals_sh_degree": None,
    "renderer_config": None,
}
"""Arguments of gsplat that have one value here, its default."""


def rasterization(
    means: Float[Tensor, "*B N 3"],
    quats: Float[Tensor, "*B N 4"],
    scales: Float[Tensor, "*B N 3"],
    opacities: Float[Tensor, "*B N"],
    colors: Tensor | None,
    viewmats: Float[Tensor, "*B C 4 4"],
    Ks: Float[Tensor, "*B C 3 3"],
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = EPS2D,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int | None = None,
    backgrounds: Float[Tensor, "*B C D"] | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    **others: Any,
) -> tuple[Float[Tensor, "*B C H W X"], Float[Tensor, "*B C H W 1"], dict[str, Any]]:
    """Render Gaussians for each of C cameras, with the arguments and results of gsplat's function of this name.

    - `means`, `quats` (w first, of any length but zero), `scales` (standard deviations), `opacities`.
    - `colors`: [*B, N, D], or [*B, C, N, D] with other colours for each camera. With `sh_degree`, coefficients of
      spherical harmonics [*B, N, K, 3], [*B, C, N, K, 3], or [N, K, 3] for all sets, of which the first
      (sh_degree + 1)² are used. None if `render_mode` has no colours. Colours of each camera cost a copy of the set
      for each camera; so do harmonics seen by "ortho" cameras.
    - `viewmats`: from world to camera. `Ks`: intrinsics in pixels, without skew; they get no gradient, as in gsplat.
    - `near_plane`, `far_plane`: Gaussians whose depth is outside are not drawn.
    - `packed`: whether `meta` lists pairs [P] of a camera and a Gaussian that it sees, or has a row for each pair.
    - `tile_size`: ignored; it changes no result.
    - `backgrounds`: None is black. `render_mode`: "RGB", the sum of depths "D", their mean "ED", "RGB+D", "RGB+ED".
    - `absgrad`: also set `meta["means2d"].absgrad` in the backward pass.
    - `rasterize_mode`: "classic", or "antialiased" for opacities that make up for the blur of small splats.
    - `camera_model`: "pinhole" or "ortho".

    Returns colours [*B, C, H, W, X], depth being the last channel; alphas [*B, C, H, W, 1]; and `meta`: `means2d`,
    whose `grad` the backward pass sets, `radii` (int32), `depths`, `opacities`, `batch_ids`, `camera_ids`,
    `gaussian_ids` (None unless `packed`), `width`, `height`, `n_batches`, `n_cameras`. gsplat's entries about tiles
    and `conics` are absent. Both numbers of `radii` are the longer half of the box.

    Gradients reach every input but `Ks`. The compiled CPU kernels take float32. For other dtypes and devices `render`
    chooses a backend, and `meta` has the sizes alone.

    These differ from gsplat: α is clamped at 0.999 (0.999 in gsplat 1.5, 0.99 in 1.6). The splat that takes the
    transmittance of a pixel below 1e-4 is drawn, and left out there. The Jacobian is limited to 1.3 half-images about
    the axis; there the limits move with the principal point. Gaussians that are not valid raise an error.

    Raises InputError, which names the argument, for every other argument of gsplat that does not have its default,
    for shapes that do not fit, and for values that are not valid; TypeError for arguments that gsplat does not have;
    BackendError for `absgrad` where the compiled kernels cannot be used.
    """
    given = {"radius_clip": radius_clip, "eps2d": eps2d, "sparse_grad": sparse_grad}
    _check_fixed({**given, "channel_chunk": channel_chunk, "distributed": distributed, **others})
    if render_mode not in MODES:
        raise InputError(f"render_mode: expected one of {', '.join(MODES)}, got {render_mode!r}")
    if camera_model not in MODELS:
        raise InputError(f"camera_model: expected one of {', '.join(MODELS)}, got {camera_model!r}")
    if rasterize_mode not in FILTERS:
        raise InputError(f"rasterize_mode: expected one of {', '.join(FILTERS)}, got {rasterize_mode!r}")
    filter = FILTERS[rasterize_mode]
    _check_shapes(means, quats, scales, opacities, viewmats, Ks)
    check_number("near_plane", near_plane, above=0)
    has_color, has_depth = "RGB" in render_mode, "D" in render_mode
    camera = Camera.from_K(Ks.detach(), height, width, viewmats, MODELS[camera_model])
    camera = replace(camera, near=near_plane, far=far_plane)
    given_set = _gaussians((means, scales, quats, opacities), colors if has_color else None, sh_degree, camera)
    background = "black" if backgrounds is None or not has_color else _checked(backgrounds, given_set, camera)
    has_info = scene_backend(given_set, camera, filter=filter) is not None
    if absgrad and not has_info:
        raise BackendError("absgrad: only the compiled kernels collect it, from float32 tensors")
    # No leaves: the backward pass reaches them after the renderer.
    gaussians, view = given_set.map(_viewed), camera.map(_viewed)
    info = (("absgrad",) if absgrad else ()) if has_info else False
    made = render(gaussians, view, background, depth=has_depth, info=info, filter=filter)
    meta: dict[str, Any] = {
        "width": width,
        "height": height,
        "n_batches": math.prod(means.shape[:-2]),
        "n_cameras": Ks.shape[-3],
    }
    if made.info is not None:
        meta |= pairs_seen(made.info, means, opacities, camera, packed)
        report_gradients(made.info, meta["means2d"], packed, [*gaussians.tensors().values(), view.viewmats])
    parts = [made.color] if has_color else []
    if made.depth is not None:
        # `render` has the mean depth; gsplat's "D" is the sum.
        parts.append((made.depth if "ED" in render_mode else made.depth * made.alpha).unsqueeze(-3))
    return torch.cat(parts, dim=-3).movedim(-3, -1).contiguous(), made.alpha.unsqueeze(-1), meta


def _viewed(tensor: Tensor) -> Tensor:
    return tensor.view_as(tensor)


def _check_fixed(given: dict[str, Any]) -> None:
    """Raise unless the arguments that have one value here have it."""
    for name, value in given.items():
        if name not in FIXED:
            raise TypeError(f"rasterization() got an unexpected keyword argument {name!r}")
        if name == "rolling_shutter" and getattr(value, "name", value) in (None, "GLOBAL"):
            continue
        default = FIXED[name]
        if value is not default and (default is None or isinstance(value, Tensor) or value != default):
            shown = type(value).__name__ if isinstance(value, Tensor) else repr(value)
            raise InputError(f"{name}: this renderer supports {default!r} alone, got {shown}; leave the argument out")


def _check_shapes(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, viewmats: Tensor, Ks: Tensor
) -> None:
    """Raise InputError for tensors that do not share the leading axes *B of the means."""
    named = {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "viewmats": viewmats, "Ks": Ks}
    for name, value in named.items():
        check_floating(name, value)
    if means.ndim < 2:
        raise InputError(f"means: expected shape [..., N, 3], got {list(means.shape)}")
    batch, count = tuple(means.shape[:-2]), means.shape[-2]
    check_shape("means", means, (count, 3), batch)
    check_shape("quats", quats, (count, 4), batch)
    check_shape("scales", scales, (count, 3), batch)
    check_shape("opacities", opacities, (count,), batch)
    check_shape("viewmats", viewmats, ("C", 4, 4), batch)
    check_shape("Ks", Ks, (viewmats.shape[-3], 3, 3), batch)


def _checked(backgrounds: Tensor, gaussians: Gaussians, camera: Camera) -> Tensor:
    """Return backgrounds [*B, C, D]; raise InputError for another shape."""
    check_floating("backgrounds", backgrounds)
    channels = 3 if gaussians.colors is None else gaussians.colors.shape[-1]
    check_shape("backgrounds", backgrounds, (channels,), camera.batch_shape)
    return backgrounds


def _gaussians(
    placed: tuple[Tensor, Tensor, Tensor, Tensor], colors: Tensor | None, sh_degree: int | None, camera: Camera
) -> Gaussians:
    """Return Gaussians [*B, N], or [*B, C, N] if cameras see other colours; without colours, one channel of zeros.

    - `placed`: means, scales, quaternions, opacities.
    """
    opacities = placed[-1]
    if colors is None:
        return Gaussians(*placed, colors=opacities.new_zeros(*opacities.shape, 1))
    check_floating("colors", colors)
    *batch, views = camera.batch_shape
    count = opacities.shape[-1]
    if sh_degree is not None:
        check_whole("sh_degree", sh_degree, 0, MAX_DEGREE)
        if colors.ndim == 3:
            colors = colors.expand(*batch, *colors.shape)
    has_own = _has_own_colors(colors, (*batch, views, count), sh_degree)
    seen: dict[str, Any]
    if sh_degree is None:
        seen = {"colors": colors}
    else:
        seen = {"sh": colors[..., : coefficient_count(sh_degree), :]}
    is_turned = bool(sh_degree) and camera.projection.rays_are_parallel
    if not has_own and not is_turned:
        return Gaussians(*placed, **seen)
    axis = len(batch)

    def for_views(tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(axis).expand(*batch, views, *tensor.shape[axis:])

    shared = [for_views(each) for each in placed]
    if not has_own:
        seen = {name: for_views(each) for name, each in seen.items()}
    own = Gaussians(*shared, **seen)
    if not is_turned:
        return own
    # gsplat sees harmonics from the camera's centre, whatever the camera model.
    directions = own.means - camera.centers.to(own.means).unsqueeze(-2)
    return Gaussians(*shared, colors=own.colors_seen(directions))


def _has_own_colors(colors: Tensor, shape: tuple[int, ...], sh_degree: int | None) -> bool:
    """Return whether colours or harmonics are [*B, C, N, …] rather than [*B, N, …], for *B, C and N in `shape`.

    Raises InputError where they are neither.
    """
    last = colors.shape[-1:] if sh_degree is None else colors.shape[-2:]
    enough = sh_degree is None or (colors.shape[-1] == 3 and colors.shape[-2] >= coefficient_count(sh_degree))
    for has_own, leading in ((False, (*shape[:-2], shape[-1])), (True, shape)):
        if enough and tuple(colors.shape) == (*leading, *last):
            return has_own
    own = "D" if sh_degree is None else f"K ≥ {coefficient_count(sh_degree)}, 3"
    either = (f"[{', '.join(map(str, leading))}, {own}]" for leading in ((*shape[:-2], shape[-1]), shape))
    raise InputError(f"colors: expected shape {' or '.join(either)}, got {list(colors.shape)}")
