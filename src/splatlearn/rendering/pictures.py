"""Rendering: Gaussians and a camera in, images out."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.checks import check_finite, check_gaussians, sees_values
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import SURFEL, Gaussians
from splatlearn.core.kinds import check_kind
from splatlearn.core.operation import is_transformed
from splatlearn.rendering.backends.gsplat import rasterize as gsplat_rasterize
from splatlearn.rendering.backends.gsplat import support as gsplat_support
from splatlearn.rendering.backends.torch import depths as torch_depths
from splatlearn.rendering.backends.torch import sphere
from splatlearn.rendering.backends.torch.primitives.registry import as_primitive, check_primitive
from splatlearn.rendering.choice import WHOLE, check_filter, choose_backend
from splatlearn.rendering.compositing import Background, background_colors, composite, mean_depths
from splatlearn.rendering.derivatives import FIRST_ONLY
from splatlearn.rendering.leading import flat_pictures, flat_views, has_views
from splatlearn.rendering.projection import project
from splatlearn.rendering.scene_function import SceneInfo
from splatlearn.rendering.scenes import depth_channels, is_scene, render_scene, scene_backend
from splatlearn.rendering.splats import Splats, working_dtype
from splatlearn.rendering.view_colors import seen_by


@dataclass(frozen=True, eq=False)
class Rendering:
    """Images of Gaussians [*B, K], with leading axes *S: *B, or [*B, V] for V views of each set.

    - `color` [*S, C, H, W], over the background.
    - `alpha` [*S, H, W] in [0, 1]: how much of the background is covered.
    - `depth` [*S, H, W], world units along the camera's axis: the mean depth of what covers a pixel, weighted as its
      colour is; 0 where nothing does. With `depth="median"` the depth at which half of the light is left, without
      gradients, and 0 where more is. None if `render` was called with `depth=False`.
    - `moments` [*S, 2, H, W]: sums by weight of inverse depths, and of their squares; None unless `depth="moments"`.
    - `info`: which Gaussians each view sees, and more; None unless `render` was called with `info`.
    """

    color: Float[Tensor, "*S C H W"]
    alpha: Float[Tensor, "*S H W"]
    depth: Float[Tensor, "*S H W"] | None
    info: SceneInfo | None = None
    moments: Float[Tensor, "*S 2 H W"] | None = None


DEPTHS = ("mean", "median", "moments")
"""Kinds of depths that `render` knows."""
INFO = ("weights", "absgrad")
"""Quantities that `render` collects only on request, since they cost time."""
STRIDED = ("cpu",)
"""Backends whose way for scenes renders grids of pixels; panoramas are excluded, since their lens is not affine."""


def render(
    gaussians: Gaussians,
    camera: Camera,
    background: Background = "white",
    backend: str = "auto",
    depth: bool | str = True,
    check: bool | str = True,
    info: bool | Collection[str] = False,
    grid: PixelGrid = WHOLE_PICTURE,
    filter: str = "point",
    primitive: str | None = None,
) -> Rendering:
    """Render sets of Gaussians, with gradients to every attribute and to the camera.

    - `gaussians`: any leading batch shape *B, none included. Those with `sh` are seen in max(0, SH + ½) along the line
      from the camera's centre to each mean, with gradients through the direction; see `rendering.seen_by` for cameras
      that project in parallel.
    - `camera`: one for all sets, a batch [*B] with one for each, or a batch [*B, V] with V views of each set.
    - `background`: "white", "black", C numbers, or a tensor [C], [*B, C] or, with V views of each set, [*B, V, C].
    - `backend`: "auto" or a name of `available_backends()`; "torch" is the specification for every step, and has second
      derivatives, forward mode and function transforms (see `composite`). "gsplat" is the package of that name, where
      it is installed and the tensors are on CUDA; "auto" does not choose it.
    - `depth`: composite a depth map too (one more channel): True or "mean", or "median"; or "moments" (two channels).
      Of Gaussians these are depths of their means, of surfels those at which rays meet them. See `Rendering`.
    - `check`: raise for NaN and infinity, negative scales, opacities outside of [0, 1], zero quaternions, and a
      projection that is not finite; of thousands of Gaussians, only those that a camera sees are looked at. This is
      skipped on GPUs, where it would wait for the GPU. False: what is not finite makes the whole picture of a compiled
      backend NaN; "torch" shows NaN at most where it draws the Gaussian. "drop": Gaussians that are not finite are not
      drawn.
    - `info`: return what each view sees, too (`SceneInfo`): True, or names of what costs something beside: "weights",
      "absgrad". The compiled backends collect it, and gsplat all but "weights".
    - `grid`: which pixels of the picture are rendered, such as every second one in each direction; the result has the
      grid's size. The specification gives the numbers of the whole picture, a compiled backend the same up to rounding.
      gsplat renders whole pictures alone, and on a GPU there is no `info` of a grid. `info` counts in pixels of the
      whole picture, but for weights, which are summed over the grid.
    - `filter`: what a pixel integrates. "point": splats are at least about a pixel wide, which thickens those that are
      thinner. "mip": their opacities make up for it, so that pictures of every resolution show as much of each
      (Mip-Splatting; gsplat's "antialiased"). "analytic": a pixel is the integral over its square, and nothing is
      thickened (Analytic-Splatting). A splat file says which of the two it was fitted for
      (`SplatFile.filter`). On a GPU, sets of fewer Gaussians than scenes have are
      projected by the specification for it, without `info`.
    - `primitive`: draw plain Gaussians as another primitive; the default is what `gaussians.primitive` names (see
      `as_primitive`). Backends that do not know it leave it to the specification.

    Sets of thousands of Gaussians, and on a CPU several views of a set, are rendered in one step, without copies of the
    set for each view; the formula is the same. Raises InputError, which names the argument, for wrong shapes and
    values; BackendError for an unusable backend, and for `info` from a backend that does not collect it.
    """
    check_kind("gaussians", gaussians, Gaussians)
    check_kind("camera", camera, Camera)
    if primitive is not None:
        gaussians = as_primitive(gaussians, primitive)
    tensors = gaussians.tensors()
    asked, kind = _asked(info), _depth_kind(depth)
    check_filter(filter)
    if check not in (True, False, "drop"):
        raise InputError(f"check: expected True, False or 'drop', got {check!r}")
    is_dropping = check == "drop"
    check = check is True and sees_values(*tensors.values()) and not is_transformed(*tensors.values())
    check_primitive(gaussians, filter, has_values=check)
    if check:
        with torch.no_grad():
            check_finite("look at how the camera was made", viewmats=camera.viewmats)
    chosen = scene_backend(gaussians, camera, backend, filter, kind)
    has_squares = filter == "analytic"
    if grid != WHOLE_PICTURE and (chosen not in STRIDED or camera.model == "panorama" or has_squares):
        chosen = None
    is_plain = kind in (None, "mean") and gaussians.primitive != SURFEL
    if chosen is not None and (asked is not None or not is_plain or is_scene(gaussians, camera, chosen, filter)):
        color, transmittance, medians, collected = render_scene(
            gaussians, camera, background, kind, "drop" if is_dropping else check, asked, chosen, grid, filter
        )
        return _rendering(color, transmittance, collected, kind, medians)
    if asked is not None and backend not in WHOLE:
        raise BackendError(
            "info: only the compiled kernels collect it, from float32 tensors; "
            "expected info=False with this backend, device, dtype, grid or filter"
        )
    if check:
        with torch.no_grad():
            check_gaussians(**tensors)
    if is_dropping:
        gaussians = _finite_alone(gaussians)
    if backend in WHOLE:
        if grid != WHOLE_PICTURE:
            raise BackendError(f"grid: {backend} renders whole pictures alone; use backend='auto'")
        if kind not in (None, "mean"):
            raise BackendError(f"depth: {backend} renders mean depths alone, got {kind!r}; use backend='auto'")
        return _by_gsplat(gaussians, camera, background, kind is not None, asked, filter)
    flat, camera, shape = flat_views(seen_by(gaussians, camera), camera)
    channels = flat.fixed_colors().shape[-1]
    is_flat = len(shape) == 1
    background = flat_pictures(background, gaussians.batch_shape, shape, channels)
    placed = _on_sphere(flat, camera, backend, filter) if camera.projection.is_spherical else None
    splats = project(flat, camera, backend, filter) if placed is None else placed.splats
    if is_dropping:
        splats = _drawable(splats)
    if check:
        _check_projected(splats, flat)
    colors = splats.colors.to(working_dtype(splats.colors.dtype))
    behind = background_colors(background, colors)
    if check:
        check_finite("look at how it was made", background=behind)
    medians = None
    if placed is None and kind is not None and not is_plain:
        size = grid.size(camera.height, camera.width)
        splats = replace(splats, colors=colors)
        with torch.autocast(behind.device.type, enabled=False):
            image, transmittance, medians = torch_depths.blend(splats, behind, kind, size, grid)
    elif placed is not None and kind not in (None, "mean"):
        raise BackendError(f"depth: only the compiled kernels render {kind!r} of panoramas, from float32 tensors")
    else:
        image, transmittance = _with_mean_depths(splats, colors, behind, kind, placed, camera, backend, grid)
    if not is_flat:
        image, transmittance, medians = (
            None if each is None else each.reshape(*shape, *each.shape[1:]) for each in (image, transmittance, medians)
        )
    return _rendering(image, transmittance, None, kind, medians, backend)


def _with_mean_depths(
    splats: Splats,
    colors: Tensor,
    behind: Tensor,
    kind: str | None,
    placed: sphere.OnSphere | None,
    camera: Camera,
    backend: str,
    grid: PixelGrid,
) -> tuple[Tensor, Tensor]:
    """Composite splats, with their depths as a last channel unless `kind` is None."""
    if kind is not None:
        colors = torch.cat([colors, splats.depths.unsqueeze(-1)], dim=-1)
        behind = torch.cat([behind, behind.new_zeros(behind.shape[0], 1)], dim=-1)
        splats = replace(splats, colors=colors)
    if placed is None:
        return composite(splats, camera.height, camera.width, behind, backend, check=False, grid=grid)
    with torch.autocast(behind.device.type, enabled=False):
        return sphere.blend(sphere.OnSphere(splats, placed.frames), camera, behind, grid)


def _on_sphere(gaussians: Gaussians, camera: Camera, backend: str, filter: str) -> sphere.OnSphere:
    """Place Gaussians [B, K] before panoramas by the specification, if `backend` leaves them to it."""
    dtype = working_dtype(gaussians.means.dtype)
    channels = gaussians.fixed_colors().shape[-1]
    choose_backend(backend, gaussians.means.to(dtype), channels, is_transformed(*gaussians.tensors().values()))
    view = camera.viewmats.to(gaussians.means.device, dtype)
    with torch.autocast(gaussians.means.device.type, enabled=False):
        return sphere.project(gaussians.to(dtype), view, camera, filter)


def _by_gsplat(
    gaussians: Gaussians,
    camera: Camera,
    background: Background,
    depth: bool,
    asked: tuple[str, ...] | None,
    filter: str,
) -> Rendering:
    """Render by gsplat, and have the backward pass fill what it knows of `means2d`."""
    reason = gsplat_support.status()
    reason = gsplat_support.refusal(gaussians, camera) if reason == "ok" else reason
    if reason is None and filter not in gsplat_rasterize.MODES:
        reason = f"it knows the filters {', '.join(gsplat_rasterize.MODES)}, got {filter!r}"
    if reason is None and is_transformed(*gaussians.tensors().values(), camera.viewmats):
        reason = FIRST_ONLY
    if reason is not None:
        raise BackendError(f"backend: 'gsplat' cannot be used here: {reason}; use backend='auto'")
    if asked is not None and "weights" in asked:
        raise BackendError("info: gsplat does not collect 'weights'; the compiled kernels do")
    batch = gaussians.batch_shape
    shape = camera.batch_shape if has_views(gaussians, camera) else batch
    channels = 3 if gaussians.colors is None else gaussians.colors.shape[-1]
    like = gaussians.means.new_empty(math.prod(shape), 0, channels)
    behind = background_colors(flat_pictures(background, batch, shape, channels), like)
    has_absgrad = asked is not None and "absgrad" in asked
    if has_absgrad and channels + depth > gsplat_rasterize.CHANNELS:
        raise InputError(
            f"info: expected no 'absgrad' for more than {gsplat_rasterize.CHANNELS} channels, depth included, got "
            f"{channels + depth}, which gsplat blends in several passes; request it of fewer channels, or not"
        )
    color, transmittance, pairs = gsplat_rasterize.forward(
        gaussians, camera, behind.reshape(*shape, channels), depth, has_absgrad, filter
    )
    if asked is None:
        return _rendering(color, transmittance, None, "mean" if depth else None)
    info = SceneInfo(pairs.ids, pairs.view_ids, pairs.radii, None, None, None, 0, pairs.intersections)

    def fill(gradient: Tensor) -> None:
        info.means2d_grad = gradient
        info.means2d_absgrad = getattr(pairs.means2d, "absgrad", None) if has_absgrad else None

    if pairs.means2d.requires_grad:
        pairs.means2d.register_hook(fill)
    return _rendering(color, transmittance, info, "mean" if depth else None)


def _rendering(
    image: Tensor,
    transmittance: Tensor,
    info: SceneInfo | None,
    kind: str | None,
    medians: Tensor | None = None,
    backend: str = "auto",
) -> Rendering:
    """Return the result from colours, whose last channels are the sums that `kind` names, and transmittances."""
    if kind == "mean":
        color, alpha, depth = mean_depths(image, transmittance, backend)
        return Rendering(color, alpha, depth, info)
    alpha = 1.0 - transmittance
    if kind is None:
        return Rendering(image, alpha, None, info)
    # One node for autograd: each slice would write its gradient into an image of zeros of its own.
    last = depth_channels(kind)
    image, summed = image.split([image.shape[-3] - last, last], dim=-3)
    if kind == "moments":
        return Rendering(image, alpha, None, info, summed)
    return Rendering(image, alpha, medians, info)


def _depth_kind(depth: bool | str) -> str | None:
    """Return the kind of depths, None for none; raises InputError for an unknown one."""
    if isinstance(depth, bool):
        return "mean" if depth else None
    if depth not in DEPTHS:
        raise InputError(f"depth: expected True, False or one of {', '.join(DEPTHS)}, got {depth!r}")
    return depth


def _asked(info: bool | Collection[str]) -> tuple[str, ...] | None:
    """Return the names of what `info` requests, None for nothing; raises InputError for an unknown name."""
    if isinstance(info, bool):
        return () if info else None
    names = (info,) if isinstance(info, str) else tuple(info)
    for name in names:
        if name not in INFO:
            raise InputError(f"info: expected True, False or names among {', '.join(INFO)}, got {name!r}")
    return names


def _finite_alone(gaussians: Gaussians) -> Gaussians:
    """Return the Gaussians with those that are not finite replaced by ones that show nowhere."""
    tensors, shape = gaussians.tensors(), gaussians.opacities.shape
    with torch.no_grad():
        finite = torch.stack([each.isfinite().reshape(*shape, -1).all(-1) for each in tensors.values()]).all(0)
    rest = dict.fromkeys(tensors, 0.0) | {"quaternions": 1.0, "shapes": 1.0}
    return replace(
        gaussians,
        **{
            name: torch.where(finite.reshape(*shape, *(1,) * (each.ndim - len(shape))), each, rest[name])
            for name, each in tensors.items()
        },
    )


def _drawable(splats: Splats) -> Splats:
    """Return the splats with those whose projection is not finite replaced by ones that show nowhere."""
    geometry = torch.cat([splats.means2d, splats.packed, splats.depths.unsqueeze(-1)], -1)
    finite = geometry.detach().isfinite().all(dim=-1)
    shapes = splats.shapes
    return replace(
        splats,
        means2d=torch.where(finite.unsqueeze(-1), splats.means2d, 0.0),
        conics=torch.where(finite.unsqueeze(-1), splats.conics, splats.conics.new_tensor((1.0, 0.0, 1.0))),
        depths=torch.where(finite, splats.depths, 0.0),
        opacities=torch.where(finite, splats.opacities, 0.0),
        shapes=None if shapes is None else torch.where(finite.unsqueeze(-1), shapes, 1.0),
    )


def _check_projected(splats: Splats, gaussians: Gaussians) -> None:
    """Raise InputError if the projection of finite Gaussians overflows."""
    with torch.no_grad():
        finite = torch.cat([splats.means2d, splats.packed, splats.depths.unsqueeze(-1)], -1).isfinite().all(dim=-1)
        if bool(finite.all()):
            return
        mean, scale = (float(each.abs().max()) for each in (gaussians.means, gaussians.scales))
        raise InputError(
            f"gaussians: expected a projection that {splats.conics.dtype} can hold, got {int((~finite).sum())} of "
            f"{finite.numel()} splats that are NaN or infinite; the largest coordinate of means is {mean:.3g}, the "
            f"largest of scales {scale:.3g}"
        )
