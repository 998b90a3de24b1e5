"""Scenes: many Gaussians of one set, from parameters to pictures in one step.

This way culls Gaussians before it looks at their shapes and colours, and gives each block of pixels a list of the
Gaussians that meet it. It renders pictures one after the other, each over all threads or the whole GPU. `project` and
`composite` render the pictures of a batch side by side, which suits many pictures of few Gaussians; torch.compile and
export see them as single nodes.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.camera import INTRINSICS
from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.checks import check_finite, check_gaussians
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN, SURFEL, Gaussians
from splatlearn.core.operation import is_transformed
from splatlearn.rendering.backends.scene_views import SceneLens
from splatlearn.rendering.backends.torch.primitives.registry import formula_of, primitive_of
from splatlearn.rendering.choice import BACKENDS, COMPILED
from splatlearn.rendering.compositing import Background, background_colors
from splatlearn.rendering.formula import EPS2D, JACOBIAN_LIMIT, MAX_CHANNELS, SURFEL_FLOOR
from splatlearn.rendering.leading import flat_pictures, has_views
from splatlearn.rendering.projection import takes_compiled
from splatlearn.rendering.scene_function import RenderScene, Report, SceneInfo

FEWEST = 2048
"""Gaussians of a set from which on pictures of MANY_PIXELS are rendered this way: their blocks suit many threads."""
MANY_PIXELS = 200 * 200
ALWAYS = 16384
"""Gaussians of a set from which on pictures of any size are rendered this way (`scene_step --crossover`)."""
FEWEST_ON_GPU = 16384
"""Gaussians of a set from which on a GPU renders this way, one view after the other.

An estimate: here the backward pass of the way for few has hundreds of programs for one image, and far fewer beyond
(`render_scenes_cuda --with-crossover` measures it).
"""


def scene_backend(
    gaussians: Gaussians, camera: Camera, backend: str = "auto", filter: str = "point", depth: str | None = None
) -> str | None:
    """Return the backend whose way for scenes supports these inputs, however many Gaussians there are, or None.

    It is `backend`, or for "auto" the compiled one of the device. It supports float32, intrinsics of each view, a far
    plane, and gradients of the matrices. It does not support gradients of intrinsics, function transforms and
    torch.compile.
    """
    if torch.compiler.is_compiling():
        return None
    tensors = [*gaussians.tensors().values()]
    name = COMPILED.get(gaussians.means.device.type) if backend == "auto" else backend
    chosen = BACKENDS.get(name or "")
    intrinsics = [value for each in INTRINSICS if isinstance(value := getattr(camera, each), Tensor)]
    supports = (
        chosen is not None
        and chosen.scene is not None
        and chosen.support.status() == "ok"
        and chosen.support.refusal(gaussians.means, 1) is None
        and all(each.dtype == torch.float32 for each in tensors)
        and camera.model in chosen.scene.MODELS
        and filter in chosen.scene.DRAWN.get(gaussians.primitive, ())
        and not (camera.projection.is_spherical and (gaussians.primitive != GAUSSIAN or filter == "analytic"))
        and (depth in (None, "mean") or chosen.scene.HAS_MEDIANS)
        and (gaussians.primitive != SURFEL or camera.model == "pinhole")
        and (camera.viewmats.device.type == "cpu" or camera.viewmats.device == gaussians.means.device)
        and not any(each.requires_grad for each in intrinsics)
        and not is_transformed(*tensors, camera.viewmats)
    )
    return name if supports else None


def is_scene(gaussians: Gaussians, camera: Camera, backend: str, filter: str = "point") -> bool:
    """Return whether inputs that the way for scenes of `backend` supports are rendered by it.

    On a GPU those are sets of many Gaussians; on a CPU also several views of a set, and cameras that the compiled
    `project` does not take. Panoramas are rendered by it on both, however few Gaussians there are.
    """
    if camera.projection.is_spherical:
        return True
    if backend != "cpu":
        return gaussians.count >= FEWEST_ON_GPU
    has_many = gaussians.count >= (FEWEST if camera.height * camera.width >= MANY_PIXELS else ALWAYS)
    return has_many or has_views(gaussians, camera) or not takes_compiled(gaussians, camera, filter)


def render_scene(
    gaussians: Gaussians,
    camera: Camera,
    background: Background,
    depth: str | None,
    check: bool | str,
    info: tuple[str, ...] | None,
    backend: str,
    grid: PixelGrid = WHOLE_PICTURE,
    filter: str = "point",
) -> tuple[Float[Tensor, "*S C H W"], Float[Tensor, "*S H W"], Float[Tensor, "*S H W"] | None, SceneInfo | None]:
    """Render views of sets of Gaussians [*B, K], with gradients to Gaussians, matrices and background.

    `scene_backend` says what is supported; the arguments are those of `render`.

    - `depth`: None, "mean", "median" or "moments"; see `depth_channels`.
    - `info`: None, or what to collect beside what costs nothing: "weights", "absgrad".
    - `backend`: what `scene_backend` returned; `grid`: the pixels that are rendered; `filter`: what one integrates.

    Returns colours, with the sums that `depth` names as the last channels; transmittances; median depths or None; and
    what `info` requests. Raises InputError for values that are not valid if `check` is True, and for "absgrad" and
    moments of more channels than are blended at once.
    """
    batch, views = gaussians.batch_shape, camera.batch_shape
    shape = views if has_views(gaussians, camera) else batch
    sets, count = math.prod(batch), math.prod(shape[len(batch) :])
    channels = 3 if gaussians.colors is None else gaussians.colors.shape[-1]
    behind = background_colors(
        flat_pictures(background, batch, shape, channels), gaussians.means.new_empty(sets * count, 0, channels)
    )
    if check is True:
        check_finite("look at how it was made", background=behind)
    behind = torch.cat([behind, behind.new_zeros(behind.shape[0], depth_channels(depth))], dim=-1)
    if depth == "moments" and behind.shape[-1] > MAX_CHANNELS:
        raise InputError(
            f"depth: expected no moments beside more than {MAX_CHANNELS - 2} channels, which are blended in several "
            f"passes, got {channels}"
        )

    def paired(each: Tensor) -> Tensor:
        own = each.shape[len(views) :]
        return each.reshape(sets, count, *own) if views else each.expand(sets, count, *own)

    if info is not None and "absgrad" in info and behind.shape[-1] > MAX_CHANNELS:
        raise InputError(
            f"info: expected no 'absgrad' for more than {MAX_CHANNELS} channels, depth included, got "
            f"{behind.shape[-1]}, which are blended in several passes; request it of fewer channels, or not"
        )

    scene = BACKENDS[backend].scene
    assert scene is not None
    camera, flat, report = (
        camera.map(paired),
        gaussians.reshape_batch(sets),
        Report(scene, info, grid.stride, depth == "median"),
    )
    here = camera.map(lambda each: each.to(flat.means))
    is_parallel = camera.projection.rays_are_parallel
    color, transmittance = RenderScene.apply(
        *(flat.means, flat.scales, flat.quaternions, flat.opacities, flat.colors, flat.sh, flat.shapes),
        here.viewmats,
        here.axes if is_parallel else here.centers,
        behind.unflatten(0, (sets, count)),
        grid.size(camera.height, camera.width),
        _lenses(camera, is_parallel, grid, filter, formula_of(primitive_of(flat.primitive, filter))),
        depth_channels(depth),
        report,
    )
    invalid = report.seen.not_finite + report.seen.doubtful
    if check is True and invalid:
        with torch.no_grad():
            check_gaussians(**gaussians.tensors())
        raise InputError(
            f"gaussians: expected values whose projections and colours are finite in {torch.float32}, "
            f"got {invalid} of {gaussians.count} that are not"
        )
    if check is False and report.seen.not_finite:
        # What is not finite stays visible: a guard downstream must see it.
        color, transmittance = color * math.nan, transmittance * math.nan
    medians = None if report.medians is None else report.medians.reshape(*shape, *transmittance.shape[2:])
    return (
        color.reshape(*shape, *color.shape[2:]),
        transmittance.reshape(*shape, *transmittance.shape[2:]),
        medians,
        report.info,
    )


def depth_channels(kind: str | None) -> int:
    """Channels of depths: the sum of depths by weight; for "moments" those of inverse depths and of their squares."""
    return 0 if kind is None else 2 if kind == "moments" else 1


def _lenses(camera: Camera, is_parallel: bool, grid: PixelGrid, filter: str, formula: str) -> list[SceneLens]:
    """One lens for each view, in order, in pixels of the grid."""
    count = math.prod(camera.batch_shape)
    columns = []
    for name in INTRINSICS:
        value = getattr(camera, name)
        columns.append(value.flatten().tolist() if isinstance(value, Tensor) else [float(value)] * count)
    near, far = float(camera.near), float(camera.far)
    half_x, half_y = JACOBIAN_LIMIT * camera.width / 2, JACOBIAN_LIMIT * camera.height / 2
    return [
        SceneLens(
            camera.model,
            [*grid.intrinsics(fx, fy, cx, cy), near, half_x / fx, half_y / fy],
            far,
            is_parallel,
            (SURFEL_FLOOR if formula == SURFEL else EPS2D) / grid.stride**2,
            filter == "mip",
            formula,
        )
        for fx, fy, cx, cy in zip(*columns, strict=True)
    ]
