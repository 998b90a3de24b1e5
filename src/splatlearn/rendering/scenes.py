"""Scenes: many Gaussians of one set, from parameters to pictures in one step on a CPU.

For hundreds of Gaussians, `project` and `composite` are faster. For many, this way culls Gaussians before it looks at
their shapes and colours, and gives each block of pixels a list of the Gaussians that meet it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.camera import INTRINSICS
from splatlearn.core.errors import BackendError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.operation import is_transformed
from splatlearn.rendering.backends.cpu import project as cpu_project
from splatlearn.rendering.backends.cpu import scene as cpu_scene
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.cpu.scene import SceneInputs, SceneLens
from splatlearn.rendering.derivatives import FIRST_ONLY, refuse_transforms
from splatlearn.rendering.formula import JACOBIAN_LIMIT

FEWEST = 6000
"""Gaussians of a set from which on this way is the faster one (`benchmarks/scene_step.py --crossover`)."""
CAMERA_SUMS = 15
"""Numbers in the gradient of a view: three rows of its matrix, and the origin of directions."""


@dataclass(eq=False)
class SceneInfo:
    """What is known of the N pairs of a view and a Gaussian that it sees, ordered by view and then by Gaussian.

    - `ids` [N]: the place of the Gaussian in its set; `view_ids` [N]: the place of the picture, counted over all
      leading axes.
    - `radii` [N]: half the longer side of the box around what is visible of the Gaussian, in pixels.
    - `weight_sums`, `weight_maxima` [N]: the sum and the largest of its blending weights T·α over pixels, and
      `pixels` [N]: the number of pixels in which it is visible; None unless "weights" were requested.
    - `means2d_grad` [N, 2]: the gradient of the loss with respect to means2d, per pixel of distance. None before the
      backward pass.
    - `means2d_absgrad` [N, 2]: the sum over pixels of the absolute gradient (AbsGS, Ye et al. 2024); None unless
      "absgrad" was requested, and before the backward pass. The thresholds of papers are for gradients in normalised
      device coordinates, which are these times W/2 and H/2.
    - `not_finite`: the number of Gaussians that were dropped since they have numbers that are not valid.
    - `intersections`: the number of pairs of a Gaussian and a block of 64 × 64 pixels.
    """

    ids: Int[Tensor, " N"]
    view_ids: Int[Tensor, " N"]
    radii: Float[Tensor, " N"]
    weight_sums: Float[Tensor, " N"] | None
    weight_maxima: Float[Tensor, " N"] | None
    pixels: Float[Tensor, " N"] | None
    not_finite: int
    intersections: int
    means2d_grad: Float[Tensor, "N 2"] | None = None
    means2d_absgrad: Float[Tensor, "N 2"] | None = None


def takes_scene(gaussians: Gaussians, camera: Camera) -> bool:
    """Return whether the compiled way for scenes supports these inputs, however many Gaussians there are.

    It supports float32 on a CPU, intrinsics of each view, a far plane, and gradients of the matrices. It does not
    support gradients of intrinsics, function transforms and torch.compile.
    """
    tensors = [*gaussians.tensors().values()]
    intrinsics = [value for name in INTRINSICS if isinstance(value := getattr(camera, name), Tensor)]
    return (
        cpu_support.status() == "ok"
        and not torch.compiler.is_compiling()
        and all(each.device.type == "cpu" and each.dtype == torch.float32 for each in tensors)
        and camera.model in cpu_project.MODELS
        and camera.viewmats.device.type == "cpu"
        and not any(each.requires_grad for each in intrinsics)
        and not is_transformed(*tensors, camera.viewmats)
    )


def render_scene(
    gaussians: Gaussians, camera: Camera, background: Float[Tensor, "N V C"], depth: bool, info: Sequence[str] | None
) -> tuple[Float[Tensor, "N V C H W"], Float[Tensor, "N V H W"], int, SceneInfo | None]:
    """Render V views of each of N sets of Gaussians [N, K], with gradients to Gaussians, matrices and background.

    - `camera`: one batch [N, V]. `takes_scene` says what is supported.
    - `background` [N, V, C], with a last channel for the depths if `depth`.
    - `info`: None, or what to collect beside what costs nothing: "weights", "absgrad".

    Returns colours, with the weighted sum of depths as the last channel if `depth`; transmittances; the number of
    Gaussians, over all views, that were dropped since their numbers are not valid; and what `info` asks for.
    """
    views = camera.viewmats.to(torch.float32)
    is_parallel = camera.projection.rays_are_parallel
    here = camera.map(lambda each: each.to(torch.float32))
    origins = here.axes if is_parallel else here.centers
    lenses = _lenses(camera, is_parallel)
    report = _Report(info)
    color, transmittance = _RenderScene.apply(
        gaussians.means,
        gaussians.scales,
        gaussians.quaternions,
        gaussians.opacities,
        gaussians.colors,
        gaussians.sh,
        views,
        origins,
        background,
        (camera.height, camera.width),
        lenses,
        depth,
        report,
    )
    return color, transmittance, report.not_finite, report.info


def _lenses(camera: Camera, is_parallel: bool) -> list[SceneLens]:
    """One lens for each view, in order."""
    count = math.prod(camera.batch_shape)
    columns = []
    for name in INTRINSICS:
        value = getattr(camera, name)
        columns.append(value.flatten().tolist() if isinstance(value, Tensor) else [float(value)] * count)
    near, far = float(camera.near), float(camera.far)
    half_x, half_y = JACOBIAN_LIMIT * camera.width / 2, JACOBIAN_LIMIT * camera.height / 2
    return [
        SceneLens(camera.model, [fx, fy, cx, cy, near, half_x / fx, half_y / fy], far, is_parallel)
        for fx, fy, cx, cy in zip(*columns, strict=True)
    ]


class _Report:
    """What a call collects beside its pictures; the backward pass adds to `info`."""

    def __init__(self, wanted: Sequence[str] | None) -> None:
        self.wanted = wanted
        self.info: SceneInfo | None = None
        self.not_finite = 0

    def wants(self, name: str) -> bool:
        return self.wanted is not None and name in self.wanted

    def collect(self, states: list[Any], weights: list[Tensor | None]) -> None:
        self.not_finite = sum(state.not_finite for state in states)
        if self.wanted is None:
            return
        ids, radii, sums = [], [], []
        for state, each in zip(states, weights, strict=True):
            ids.append(torch.empty(state.visible, dtype=torch.int32))
            radii.append(torch.empty(state.visible))
            state.fill_visible(ids[-1].numpy(), radii[-1].numpy())
            if each is not None:
                sums.append(each[ids[-1].long()])
        counts = torch.tensor([state.visible for state in states])
        columns = torch.cat(sums).unbind(-1) if sums else (None, None, None)
        self.info = SceneInfo(
            torch.cat(ids).long(),
            torch.repeat_interleave(torch.arange(len(states)), counts),
            torch.cat(radii),
            *columns,
            not_finite=self.not_finite,
            intersections=sum(state.intersections for state in states),
        )


class _RenderScene(torch.autograd.Function):
    """Not a registered operation: it keeps a state from pass to pass, and torch.compile is given the other way."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        scales: Tensor,
        quaternions: Tensor,
        opacities: Tensor,
        colors: Tensor | None,
        sh: Tensor | None,
        views: Tensor,
        origins: Tensor,
        background: Tensor,
        size: tuple[int, int],
        lenses: list[SceneLens],
        depth: bool,
        report: _Report,
    ) -> tuple[Tensor, Tensor]:
        tensors = [_contiguous(each) for each in (means, scales, quaternions, opacities, colors, sh)]
        views, origins, background = (each.detach().contiguous() for each in (views, origins, background))
        sets, count = background.shape[:2]
        color = torch.empty(sets, count, background.shape[-1], *size)
        transmittance = torch.empty(sets, count, *size)
        states, weights = [], []
        for one, view in _pairs(sets, count):
            weights.append(torch.empty(means.shape[1], 3) if report.wants("weights") else None)
            states.append(
                cpu_scene.forward(
                    _one_of(tensors, one),
                    (views[one, view], origins[one, view]),
                    lenses[one * count + view],
                    depth,
                    background[one, view],
                    (color[one, view], transmittance[one, view]),
                    weights[-1],
                )
            )
        report.collect(states, weights)
        ctx.save_for_backward(*tensors, views, origins, background, color, transmittance)
        ctx.states, ctx.lenses, ctx.depth, ctx.report, ctx.count = states, lenses, depth, report, means.shape[1]
        return color, transmittance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        refuse_transforms("render", True, *gradients)
        saved = [*ctx.saved_tensors]
        results = _RenderSceneBackward.apply(ctx, saved[:6], saved[6:], *gradients)
        return *results, None, None, None, None


class _RenderSceneBackward(torch.autograd.Function):
    """The backward pass as a node of its own, whose derivative is refused: autograd would take it for a constant."""

    @staticmethod
    def forward(
        outer: Any, tensors: list[Tensor | None], others: list[Tensor], by_color: Tensor, by_transmittance: Tensor
    ) -> tuple[Tensor | None, ...]:
        views, origins, background, color, transmittance = others
        by_color, by_transmittance = by_color.contiguous(), by_transmittance.contiguous()
        report: _Report = outer.report
        sets, count = background.shape[:2]
        results = [None if each is None else cpu_scene.empty_like(each) for each in tensors]
        by_background = torch.empty_like(background)
        of_camera = outer.needs_input_grad[6] or outer.needs_input_grad[7]
        by_camera = torch.empty(sets, count, CAMERA_SUMS, dtype=torch.float64) if of_camera else None
        means2d: tuple[list[Tensor], list[Tensor]] = [], []
        for one, view in _pairs(sets, count):
            state = outer.states[one * count + view]
            asked = (report.info is not None, report.wants("absgrad"))
            filled = [torch.empty(outer.count, 2) if wanted else None for wanted in asked]
            cpu_scene.backward(
                state,
                _one_of(tensors, one),
                (views[one, view], origins[one, view]),
                outer.lenses[one * count + view],
                outer.depth,
                background[one, view],
                (color[one, view], transmittance[one, view]),
                (by_color[one, view], by_transmittance[one, view]),
                _one_of(results, one),
                by_background[one, view],
                None if by_camera is None else by_camera[one, view],
                (filled[0], filled[1]),
                is_first_view=view == 0,
            )
            for rows, each in zip(means2d, filled, strict=True):
                if each is not None and report.info is not None:
                    rows.append(each[report.info.ids[report.info.view_ids == one * count + view]])
        if report.info is not None:
            report.info.means2d_grad = torch.cat(means2d[0])
            report.info.means2d_absgrad = torch.cat(means2d[1]) if means2d[1] else None
        by_views = by_origins = None
        if by_camera is not None:
            by_views = torch.zeros_like(views)
            by_views[..., :3, :] = by_camera[..., :12].unflatten(-1, (3, 4)).to(views)
            by_origins = by_camera[..., 12:].to(views)
        return *results, by_views, by_origins, by_background

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: there is no second derivative."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise BackendError(f"render: the compiled renderer cannot be used here: {FIRST_ONLY}")


def _pairs(sets: int, count: int) -> list[tuple[int, int]]:
    return [(one, view) for one in range(sets) for view in range(count)]


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().contiguous()


def _one_of(tensors: Sequence[Tensor | None], index: int) -> SceneInputs:
    return SceneInputs(*(None if each is None else each[index] for each in tensors))  # pyright: ignore[reportArgumentType]
