"""The GPU's way for scenes: many Gaussians of one set, from parameters to a picture and back.

Kernels project and cull (`scene_project_kernels`), PyTorch sorts, and kernels blend one tile of 16 × 16 pixels in each
program (`scene_blend_kernels`). What is seen is sorted by depth; pairs of a Gaussian and a tile, which come in that
order, are sorted by tile, stably. The device is waited for once in each view, for the number of pairs.

Memory of a view of C channels, beside inputs, pictures and their gradients: 48 + 4·C bytes a Gaussian and 8 bytes a
pair from the forward to the backward pass, some 40 bytes a pair while pairs are sorted, and 32 + 4·C bytes of each
Gaussian and each pair (of at most 16 channels at a time) in the backward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from splatlearn.core.errors import BackendError
from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.scene_views import (
    CAMERA_SUMS,
    WEIGHTS,
    SceneInputs,
    SceneLens,
    SceneResults,
    SceneView,
)
from splatlearn.rendering.backends.triton import project
from splatlearn.rendering.backends.triton.support import on_device
from splatlearn.rendering.formula import MAX_CHANNELS

MODELS = (*project.MODELS, "panorama")
"""The camera models that the kernels of scenes know, by name."""
DRAWN = {GAUSSIAN: ("point", "mip")}
"""The filters that the kernels of scenes know, by the name of the primitive."""
HAS_MEDIANS = False
"""Whether there is a function `median`, and views with two channels of depths are rendered."""
SPHERE = "panorama"
TILE = 16
"""Pixels of a tile's side."""
GAUSSIANS = 128
"""Gaussians of a program of projection."""
PAIRS = 1024
"""Pairs of a Gaussian and a tile whose tile a program finds."""
SUMMED = (4, 8)
"""Gaussians whose rows of sums a program adds, and rows of each that it takes at a time."""
RECORD, MOMENTS, COUNTS = 8, 8, 2
SPHERE_RECORD, SPHERE_FRAME = 16, 6
"""As in the kernels, which are imported with the first call; a test compares them."""
MOST_PAIRS = 2**31 - 1


@dataclass(frozen=True)
class SceneState:
    """What a view keeps from the forward to the backward pass.

    - `records` [K, RECORD], `shown` [K, C], `tile_counts` [K], `radii` [K]: see `project_scene`.
    - `starts` [K]: where the rows of a Gaussian begin, one for each tile that it meets.
    - `lists`, `rows` [pairs]: the Gaussians of the tiles, near to far, and the row of each pair; `offsets` [tiles + 1]:
      where the list of each tile begins.
    - `weights` [K, WEIGHTS]: the blending weights, or None.
    """

    records: Tensor
    shown: Tensor
    tile_counts: Tensor
    radii: Tensor
    starts: Tensor
    lists: Tensor
    rows: Tensor
    offsets: Tensor
    not_finite: int
    doubtful: int
    weights: Tensor | None = None

    @property
    def intersections(self) -> int:
        """The number of pairs of a Gaussian and a tile."""
        return len(self.lists)


def empty_like(tensor: Tensor) -> Tensor:
    """Return a tensor for gradients that is not filled."""
    return torch.empty_like(tensor)


def visible(state: SceneState, weighs: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the ids [N] of the Gaussians that a view sees, their radii, and their weights [3, N] or None."""
    ids = state.tile_counts.nonzero().squeeze(1)
    weights = None if state.weights is None or not weighs else state.weights[ids].T
    return ids, state.radii[ids], weights


def forward(inputs: SceneInputs, view: SceneView, outputs: tuple[Tensor, Tensor], weighs: bool) -> SceneState:
    """Fill the outputs of a view, and return its state (see `scene_views`)."""
    color, transmittance = outputs
    height, width = int(color.shape[-2]), int(color.shape[-1])
    across = -(-width // TILE)
    with on_device(color):
        state = _bin(inputs, view, (height, width))
        of_pairs = color.new_zeros(len(state.rows), WEIGHTS) if weighs else None
        kernel, *directions = _blending_of(view, (height, width), "forward")
        for first, channels in _passes(color.shape[0]):
            padded = _padded(channels)
            kernel[(len(state.offsets) - 1,)](
                state.records, state.shown, *directions, view.background, state.lists, state.offsets, state.rows,
                color, transmittance, of_pairs if first == 0 else None,
                height, width, across, color.shape[0], first,
                CHANNELS=channels, PADDED=padded, TILE=TILE, num_warps=padded // 4,
            )  # fmt: skip
        if of_pairs is None:
            return state
        weights = color.new_zeros(len(state.records), WEIGHTS)
        _add_rows(of_pairs, state, weights, shift=0, maximum=1)
    return replace(state, weights=weights)


def backward(
    state: SceneState,
    inputs: SceneInputs,
    view: SceneView,
    outputs: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
    results: SceneResults,
    is_first_view: bool,
) -> None:
    """Write the gradients of a view to `results`, from the outputs of `forward` and their gradients."""
    color = outputs[0]
    all_channels, height, width = (int(size) for size in color.shape)
    tiles = len(state.offsets) - 1
    with on_device(color):
        sums = color.new_zeros(len(state.records), MOMENTS + all_channels)
        kernel, *directions = _blending_of(view, (height, width), "backward")
        for first, channels in _passes(all_channels):
            padded = _padded(channels)
            rows = color.new_zeros(len(state.rows), MOMENTS + channels)
            of_background = color.new_empty(tiles, padded)
            kernel[(tiles,)](
                state.records, state.shown, *directions, state.lists, state.offsets, state.rows, *outputs, *gradients,
                rows, of_background, height, width, -(-width // TILE), all_channels, first,
                CHANNELS=channels, PADDED=padded, TILE=TILE, FIRST=first == 0, ABSOLUTE=results.absolute is not None,
                num_warps=padded // 4,
            )  # fmt: skip
            _add_rows(rows, state, sums, shift=first)
            results.background[first : first + channels] = of_background[:, :channels].sum(0)
        _project_backward(state, inputs, view, sums, results, is_first_view, (height, width))


def _bin(inputs: SceneInputs, view: SceneView, size: tuple[int, int]) -> SceneState:
    """Project and cull, sort what is seen by depth, and list the Gaussians of each tile."""
    means, count = inputs.means, inputs.means.shape[0]
    lens, across = view.lens, -(-size[1] // TILE)
    tiles = across * -(-size[0] // TILE)
    programs = -(-count // GAUSSIANS)
    is_sphere = lens.model == SPHERE
    records = means.new_empty(count, SPHERE_RECORD if is_sphere else RECORD)
    shown = means.new_empty(count, view.background.shape[0])
    boxes, tile_counts = (means.new_empty(*shape, dtype=torch.int32) for shape in ((count, 2), (count,)))
    depths, radii = means.new_empty(count), means.new_empty(count)
    counts = means.new_zeros(programs, COUNTS, dtype=torch.int32)
    if count:
        fx, fy, cx, cy, near, limit_x, limit_y = _projected_by(lens)
        _projecting().project_scene[(programs,)](
            *_sources(inputs), view.matrix, view.origin,
            records, shown, boxes, tile_counts, depths, radii, counts,
            count, *size, across, fx, fy, cx, cy, near, lens.far, limit_x, limit_y,
            **_kinds(inputs, view), TILE=TILE, BLOCK=GAUSSIANS,
        )  # fmt: skip
        if is_sphere:
            _sphere_boxes(records, radii, lens, size, boxes, tile_counts)
    totals = torch.cat([counts.sum(0), tile_counts.sum().unsqueeze(0)])
    not_finite, doubtful, pairs = (int(each) for each in totals.tolist())
    if pairs > MOST_PAIRS:
        raise BackendError(
            f"gaussians: expected at most {MOST_PAIRS:,} pairs of a Gaussian and a tile of {TILE} × {TILE} pixels, got "
            f"{pairs:,}; render fewer or smaller Gaussians"
        )
    order = depths.sort(stable=True).indices
    ranked = tile_counts[order]
    starts = torch.empty_like(order)
    starts[order] = ranked.cumsum(0) - ranked
    owners = torch.repeat_interleave(order.to(torch.int32), ranked, output_size=pairs)
    # A radix sort takes half the passes for keys of two bytes.
    of_pairs = means.new_empty(pairs, dtype=torch.int16 if tiles < 2**15 else torch.int32)
    if pairs:
        _projecting().tiles_of_pairs[(-(-pairs // PAIRS),)](owners, starts, boxes, of_pairs, pairs, across, BLOCK=PAIRS)
    of_pairs, rows = of_pairs.sort(stable=True)
    firsts = torch.arange(tiles + 1, device=means.device, dtype=of_pairs.dtype)
    offsets = torch.searchsorted(of_pairs, firsts, out_int32=True)
    return SceneState(
        records,
        shown,
        tile_counts,
        radii,
        starts,
        owners[rows],
        rows.to(torch.int32),
        offsets,
        not_finite,
        doubtful,
    )


def _project_backward(
    state: SceneState,
    inputs: SceneInputs,
    view: SceneView,
    sums: Tensor,
    results: SceneResults,
    is_first_view: bool,
    size: tuple[int, int],
) -> None:
    """Turn the sums of Gaussians into the gradients of their parameters, and of the camera."""
    count = len(sums)
    if results.camera is not None:
        results.camera.zero_()
    if not count:
        return
    fx, fy, _, _, near, limit_x, limit_y = _projected_by(view.lens)
    programs = -(-count // GAUSSIANS)
    of_camera = None if results.camera is None else sums.new_empty(programs, CAMERA_SUMS + 1)
    of_means2d, of_absolute = (
        None if to is None else sums.new_empty(count, 2) for to in (results.means2d, results.absolute)
    )
    _projecting().project_scene_backward[(programs,)](
        *_sources(inputs), view.matrix, view.origin, state.shown, state.tile_counts, sums,
        *_sources(results.gaussians), of_means2d, of_absolute, of_camera,
        count, fx, fy, near, limit_x, limit_y,
        **_kinds(inputs, view), FRESH=is_first_view, BLOCK=GAUSSIANS,
    )  # fmt: skip
    for to, each in ((results.means2d, of_means2d), (results.absolute, of_absolute)):
        if to is not None and each is not None and results.ids is not None:
            torch.index_select(each, 0, results.ids, out=to)
    if results.camera is not None and of_camera is not None:
        results.camera.copy_(of_camera[:, :CAMERA_SUMS].sum(0, dtype=torch.float64))


def _projected_by(lens: SceneLens) -> list[float]:
    """The numbers of a lens for projection, which sees a panorama's Gaussians in tangent planes of one focal length."""
    fx, fy, *others = lens.numbers
    if lens.model != SPHERE:
        return lens.numbers
    focal = math.sqrt(fx * fy)
    return [focal, focal, *others]


def _sphere_boxes(
    records: Tensor, radii: Tensor, lens: SceneLens, size: tuple[int, int], boxes: Tensor, tile_counts: Tensor
) -> None:
    """Fill the boxes of a panorama's Gaussians: all directions within the angle of `radii`, in tiles of the picture."""
    fx, fy, cx, cy = lens.numbers[:4]
    height, width = size
    x, y, z = records[:, SPHERE_FRAME + 6 : SPHERE_FRAME + 9].double().unbind(-1)
    level = torch.hypot(x, z)
    focal = math.sqrt(fx * fy)
    # A thousandth of a pixel, and more, for the rounding of float32.
    angle = (radii.double() / focal).atan() + 1e-3 / focal + 1e-6
    across, down = fx * torch.atan2(x, z) + cx, fy * torch.atan2(y, level) + cy
    sine = angle.sin()
    wide = torch.where(sine < level, fx * (sine / level).clamp_max(1.0).asin(), float(width))
    top, bottom = ((down - fy * angle - 0.5).ceil().clamp_min(0), (down + fy * angle - 0.5).floor())
    bottom = bottom.clamp_max(height - 1)
    left, right = (across - wide - 0.5).ceil(), (across + wide - 0.5).floor()
    everywhere = 2 * wide >= width - 1
    seen = (tile_counts > 0) & (top <= bottom) & ((left <= right) | everywhere)
    tiles = -(-width // TILE)
    first_pixel = left.remainder(width)
    last_pixel = first_pixel + right - left
    first = (first_pixel / TILE).floor()
    last = torch.where(last_pixel < width, (last_pixel / TILE).floor(), tiles + ((last_pixel - width) / TILE).floor())
    everywhere = everywhere | (last - first >= tiles)
    first, columns = torch.where(everywhere, 0.0, first), torch.where(everywhere, float(tiles), last - first + 1)
    first_row, last_row = (top / TILE).floor(), (bottom / TILE).floor()
    for column, values in enumerate((first_row * tiles + first, columns)):
        boxes[:, column] = torch.where(seen, values, 1.0).to(torch.int32)
    tile_counts.copy_(torch.where(seen, columns * (last_row - first_row + 1), 0.0))


def _blending_of(view: SceneView, size: tuple[int, int], name: str) -> list[Any]:
    """The kernel that blends a view, and what it takes of a panorama: sines and cosines of its columns and rows."""
    if view.lens.model != SPHERE:
        return [getattr(_blending(), f"scene_{name}")]
    fx, fy, cx, cy = view.lens.numbers[:4]

    def turns(count: int, center: float, scale: float) -> Tensor:
        angles = (torch.arange(count, device=view.matrix.device, dtype=torch.float64) + 0.5 - center) / scale
        return torch.stack([angles.sin(), angles.cos()], dim=-1).float()

    columns, rows = turns(size[1], cx, fx), turns(size[0], cy, fy)
    return [getattr(_sphere(), f"sphere_{name}"), columns, rows, 1.0 / (fx * fy)]


def _add_rows(rows: Tensor, state: SceneState, sums: Tensor, shift: int, maximum: int = -1) -> None:
    """Add the rows of each Gaussian to its row of `sums`; of column `maximum`, take the maximum."""
    count, columns = len(sums), rows.shape[1]
    if not count:
        return
    gaussians, at_a_time = SUMMED
    _blending().sum_rows[(-(-count // gaussians),)](
        rows, state.starts, state.tile_counts, sums, count, sums.shape[1], shift,
        COLUMNS=columns, PADDED=1 << (columns - 1).bit_length(), MAXIMUM=maximum,
        GAUSSIANS=gaussians, ROWS=at_a_time, num_warps=1,
    )  # fmt: skip


def _passes(channels: int) -> list[tuple[int, int]]:
    """The first channel and the number of channels of each pass."""
    return [(first, min(MAX_CHANNELS, channels - first)) for first in range(0, channels, MAX_CHANNELS)]


def _padded(channels: int) -> int:
    return max(4, 1 << (channels - 1).bit_length())


def _sources(gaussians: SceneInputs) -> list[Tensor | None]:
    """The parameters as the kernels take them: means, scales, quaternions, opacities, and colours or harmonics."""
    *shapes, colors, sh = gaussians.tensors()[:6]
    return [*shapes, colors if sh is None else sh]


def _kinds(inputs: SceneInputs, view: SceneView) -> dict[str, Any]:
    """What the kernels of projection are compiled for."""
    channels = 3 if inputs.colors is None else inputs.colors.shape[-1]
    return {
        "CHANNELS": channels,
        "PADDED": 1 << max(0, channels - 1).bit_length(),
        "DEGREE": -1 if inputs.sh is None else round(inputs.sh.shape[-2] ** 0.5) - 1,
        "PARALLEL": view.lens.is_parallel,
        "HAS_DEPTH": view.depth_channels == 1,
        "MODEL": view.lens.model,
        "COMPENSATES": view.lens.compensates,
    }


def _projecting() -> ModuleType:
    from splatlearn.rendering.backends.triton import scene_project_kernels

    return scene_project_kernels


def _sphere() -> ModuleType:
    from splatlearn.rendering.backends.triton import sphere_kernels

    return sphere_kernels


def _blending() -> ModuleType:
    from splatlearn.rendering.backends.triton import scene_blend_kernels

    return scene_blend_kernels
