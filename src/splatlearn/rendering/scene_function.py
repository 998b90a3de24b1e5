"""One step of autograd from the parameters of a scene to its pictures, by the `scene` module of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from splatlearn.core.errors import BackendError
from splatlearn.rendering.backends.scene_views import (
    CAMERA_SUMS,
    WEIGHTS,
    SceneInputs,
    SceneLens,
    SceneResults,
    SceneView,
)
from splatlearn.rendering.derivatives import FIRST_ONLY, refuse_transforms

GAUSSIANS = 7
"""Tensors of a set, whichever of them are None; those of cameras follow."""


@dataclass(eq=False)
class SceneInfo:
    """Quantities of the N pairs of a view and a Gaussian that it sees, ordered by view and then by Gaussian.

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
    - `not_finite`: the number of Gaussians, over all views, that were dropped since they are not finite; 0 from gsplat,
      which does not count them.
    - `intersections`: the number of pairs of a Gaussian and a block of 64 × 64 pixels; of 16 × 16 on a GPU.
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


class Seen(NamedTuple):
    """Numbers of Gaussians over all views: dropped since they are not finite, and drawn although they are not valid."""

    not_finite: int
    doubtful: int


class Report:
    """Quantities that a call collects beside its pictures; the backward pass adds to `info`.

    - `scene`: the module of the backend that renders; `wanted`: the names of what costs something, None for no `info`.
    - `stride`: pixels of the whole picture for one of the picture that is rendered; `info` counts in the former.
    - `takes_medians`: whether median depths are taken; `medians` [sets, views, H, W] has them after the forward pass.
    """

    def __init__(
        self, scene: ModuleType, wanted: Sequence[str] | None, stride: int = 1, takes_medians: bool = False
    ) -> None:
        self.scene, self.stride, self.takes_medians = scene, stride, takes_medians
        self.medians: Tensor | None = None
        self.wanted = wanted
        self.info: SceneInfo | None = None
        self.seen = Seen(0, 0)
        self.counts: list[int] = []

    def wants(self, name: str) -> bool:
        """Return whether `info` was requested with this name."""
        return self.wanted is not None and name in self.wanted

    def places(self) -> tuple[Tensor, ...]:
        """The ids of the Gaussians that each view sees; nothing without `info`."""
        return () if self.info is None else self.info.ids.split(self.counts)

    def collect(self, states: list[Any], like: Tensor) -> None:
        """Take over what the views saw; `like` is a tensor with the device of the set."""
        self.seen = Seen(*(sum(getattr(state, name) for state in states) for name in Seen._fields))
        if self.wanted is None:
            return
        ids, radii, weights = [], [], []
        for state in states:
            here, extents, of_weights = self.scene.visible(state, self.wants("weights"))
            ids.append(here)
            radii.append(extents if self.stride == 1 else extents * self.stride)
            if of_weights is not None:
                weights.append(of_weights)
        self.counts = [len(each) for each in ids]
        none = like.new_empty(0, dtype=torch.int64)
        wants_weights = self.wants("weights")
        self.info = SceneInfo(
            _joined(ids, none),
            _joined([torch.full_like(each, view) for view, each in enumerate(ids)], none),
            _joined(radii, like.new_empty(0)),
            *(_joined(weights, like.new_empty(WEIGHTS, 0), 1) if wants_weights else (None,) * WEIGHTS),
            not_finite=self.seen.not_finite,
            intersections=sum(state.intersections for state in states),
        )


class RenderScene(torch.autograd.Function):
    """Not a registered operation: it keeps a state from the forward to the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        scales: Tensor,
        quaternions: Tensor,
        opacities: Tensor,
        colors: Tensor | None,
        sh: Tensor | None,
        shapes: Tensor | None,
        views: Tensor,
        origins: Tensor,
        background: Tensor,
        size: tuple[int, int],
        lenses: list[SceneLens],
        depth_channels: int,
        report: Report,
    ) -> tuple[Tensor, Tensor]:
        tensors = [_contiguous(each) for each in (means, scales, quaternions, opacities, colors, sh, shapes)]
        views, origins, background = (each.detach().contiguous() for each in (views, origins, background))
        sets, count = background.shape[:2]
        color = means.new_empty(sets, count, background.shape[-1], *size)
        transmittance = means.new_empty(sets, count, *size)
        states = []
        for one, view in _pairs(sets, count):
            states.append(
                report.scene.forward(
                    _one_of(tensors, one),
                    SceneView(
                        views[one, view],
                        origins[one, view],
                        lenses[one * count + view],
                        background[one, view],
                        depth_channels,
                    ),
                    (color[one, view], transmittance[one, view]),
                    report.wants("weights"),
                )
            )
        report.collect(states, means)
        if report.takes_medians:
            report.medians = means.new_empty(sets, count, *size)
            for state, median in zip(states, report.medians.flatten(0, 1), strict=True):
                report.scene.median(state, median)
        ctx.save_for_backward(*tensors, views, origins, background, color, transmittance)
        ctx.states, ctx.lenses, ctx.depth_channels, ctx.report = states, lenses, depth_channels, report
        return color, transmittance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        refuse_transforms("render", True, *gradients)
        saved = [*ctx.saved_tensors]
        results = _RenderSceneBackward.apply(ctx, saved[:GAUSSIANS], saved[GAUSSIANS:], *gradients)
        return *results, None, None, None, None


class _RenderSceneBackward(torch.autograd.Function):
    """The backward pass as a node of its own, whose derivative is refused: autograd would take it for a constant."""

    @staticmethod
    def forward(
        outer: Any, tensors: list[Tensor | None], others: list[Tensor], by_color: Tensor, by_transmittance: Tensor
    ) -> tuple[Tensor | None, ...]:
        views, origins, background, color, transmittance = others
        by_color, by_transmittance = by_color.contiguous(), by_transmittance.contiguous()
        report: Report = outer.report
        sets, count = background.shape[:2]
        # The first view of a set fills them; without views nothing would.
        fresh = report.scene.empty_like if count else torch.zeros_like
        results = [None if each is None else fresh(each) for each in tensors]
        by_background = torch.empty_like(background)
        of_camera = any(outer.needs_input_grad[GAUSSIANS : GAUSSIANS + 2])
        by_camera = views.new_empty(sets, count, CAMERA_SUMS, dtype=torch.float64) if of_camera else None
        means2d: tuple[list[Tensor], list[Tensor]] = [], []
        places = iter(report.places())
        for one, view in _pairs(sets, count):
            index = one * count + view
            asked = (report.info is not None, report.wants("absgrad"))
            seen = next(places, None)
            rows = 0 if seen is None else len(seen)
            filled = [views.new_empty(rows, 2) if wanted else None for wanted in asked]
            report.scene.backward(
                outer.states[index],
                _one_of(tensors, one),
                SceneView(
                    views[one, view],
                    origins[one, view],
                    outer.lenses[index],
                    background[one, view],
                    outer.depth_channels,
                ),
                (color[one, view], transmittance[one, view]),
                (by_color[one, view], by_transmittance[one, view]),
                SceneResults(
                    _one_of(results, one),
                    by_background[one, view],
                    None if by_camera is None else by_camera[one, view],
                    seen,
                    *filled,
                ),
                is_first_view=view == 0,
            )
            for of_views, each in zip(means2d, filled, strict=True):
                if each is not None:
                    of_views.append(each)
        if report.info is not None:
            # Exact for the strides that are powers of 2, and for a stride of 1.
            signed, absolute = (_joined(each, views.new_empty(0, 2)) for each in means2d)
            if report.stride != 1:
                signed, absolute = signed / report.stride, absolute / report.stride
            report.info.means2d_grad = signed
            report.info.means2d_absgrad = absolute if report.wants("absgrad") else None
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
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise BackendError(f"render: the compiled renderer cannot be used here: {FIRST_ONLY}")


def _pairs(sets: int, count: int) -> list[tuple[int, int]]:
    return [(one, view) for one in range(sets) for view in range(count)]


def _joined(of_views: list[Tensor], none: Tensor, dim: int = 0) -> Tensor:
    """Join what views have; `none` is what no views have. Of one view it is not copied."""
    return of_views[0] if len(of_views) == 1 else torch.cat([none, *of_views], dim)


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().contiguous()


def _one_of(tensors: Sequence[Tensor | None], index: int) -> SceneInputs:
    return SceneInputs(*(None if each is None else each[index] for each in tensors))  # pyright: ignore[reportArgumentType]
