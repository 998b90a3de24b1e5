"""The ends of the way for scenes on a GPU: from parameters to records of what a view sees, and from sums to gradients.

One thread takes one Gaussian, culls it or writes its record, and recomputes what it needs on the way back. A record
has the numbers that a pixel needs, with the power of the formula as a sum of squares, which nothing cancels in:

    power = ½·c·(dy + (b/c)·dx)² + ½·dx²/xx        for the covariance [[xx, xy], [xy, yy]] on the image

in which b/c = −xy/xx. They are x, y, b/c, −½·log₂e·c, −½·log₂e/xx, the opacity, xy/yy, which is where the power is
least along a row, and log₂(opacity / ALPHA_MIN), the exponent beyond which the Gaussian colours nothing.

The record of a panorama has the same numbers of the power from its third on, in pixels of the Gaussian's own tangent
plane, and then the rows of the frame: east and down times the focal length, and the direction. Its boxes are found by
`scene`, for they need inverse trigonometric functions.
"""

from __future__ import annotations

import math
from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.rendering.backends.triton.blend_kernels import ALPHA_MIN, HALF_LOG2_E
from splatlearn.rendering.backends.triton.gaussian_kernels import (
    EPS2D,
    compensation,
    conic,
    dot,
    load_vector,
    placed,
    placed_backward,
    plus,
    pose,
    rotation,
    rotation_backward,
    row_times,
    scaled,
    store_vector,
    turned_back,
)
from splatlearn.rendering.backends.triton.harmonics_kernels import (
    colors_of_harmonics,
    colors_of_harmonics_backward,
    put,
    unit_of,
)

RECORD = tl.constexpr(8)
"""Numbers of a record."""
SPHERE_RECORD = tl.constexpr(16)
"""Numbers of a panorama's record, and where its frame begins."""
SPHERE_FRAME = tl.constexpr(6)
MOMENTS = tl.constexpr(8)
"""Places of sums before the colours': six moments, and the two sums of absolute gradients."""
COUNTS = tl.constexpr(2)
"""Counts of a program: Gaussians that are not finite, and those that are not valid."""
SLACK = tl.constexpr(1e-3)
"""Margin of the largest power at which a Gaussian is looked for, against rounding."""
LOG2_ALPHA_MIN = tl.constexpr(math.log2(ALPHA_MIN.value))
TWO_LN_2 = tl.constexpr(2.0 * math.log(2.0))

# What differs from call to call, and for which a kernel need not be compiled again: numbers, and whether an address
# divides by 16, which that of a set or view within a batch may not.
NUMBERS = ["count", "height", "width", "tiles_across", "fx", "fy", "cx", "cy", "near", "far", "limit_x", "limit_y"]
SOURCES = ["means", "scales", "quaternions", "opacities", "seen_as"]
GRADIENTS = ["of_means", "of_scales", "of_quaternions", "of_opacities", "of_seen", "of_means2d", "of_absolute"]
OF_A_SET = [*SOURCES, *GRADIENTS, "view", "origin"]


@triton.jit
@no_type_check
def _is_finite(value):
    return value * 0.0 == 0.0


@triton.jit
@no_type_check
def _direction(mean, origin, PARALLEL: tl.constexpr):
    """Where a Gaussian is seen from; the one direction of all where they are parallel."""
    start = load_vector(origin, 0, True)
    if PARALLEL:
        still = tl.zeros_like(mean[0])
        return still + start[0], still + start[1], still + start[2]
    return mean[0] - start[0], mean[1] - start[1], mean[2] - start[2]


@triton.jit
@no_type_check
def _pixels(center, extent, size):
    """The first and last pixel of an axis whose centre is within `extent`; the last is less where there is none."""
    slack = 0.001 + 1e-6 * extent
    limit = size.to(tl.float32)
    # Truncation after clamping at 0; just under 1 more makes it round up.
    first = tl.minimum(tl.maximum(center - extent - slack + 0.499, 0.0), limit).to(tl.int32)
    last = tl.minimum(tl.maximum(center + extent + slack + 0.5, 0.0), limit).to(tl.int32) - 1
    return first, last


@triton.jit(do_not_specialize=NUMBERS, do_not_specialize_on_alignment=OF_A_SET)
@no_type_check
def project_scene(
    means, scales, quaternions, opacities, seen_as, view, origin,
    records, shown, boxes, tile_counts, depths, radii, counts,
    count, height, width, tiles_across, fx, fy, cx, cy, near, far, limit_x, limit_y,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, DEGREE: tl.constexpr, PARALLEL: tl.constexpr,
    HAS_DEPTH: tl.constexpr, MODEL: tl.constexpr, COMPENSATES: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Records [K, RECORD] and colours [K, C] of the Gaussians that a view sees, and what bins them.

    - `seen_as`: colours [K, CHANNELS] where DEGREE is −1, else harmonics of that degree.
    - `boxes` [K, 2]: the first tile that a Gaussian's box meets, and the box's columns of tiles; `tile_counts` [K]: the
      tiles that it meets, 0 for what is not seen; `depths` [K]: infinite for what is not seen; `radii` [K].
    - `counts` [programs, COUNTS].
    """
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    mean = load_vector(means, 3 * place, there)
    opacity = tl.load(opacities + place, mask=there, other=0.0)
    turn, shift = pose(view, 0, 0)
    point = plus((dot(turn[0], mean), dot(turn[1], mean), dot(turn[2], mean)), shift)
    depth = point[2]
    if MODEL == "panorama":
        depth = tl.sqrt(dot(point, point))
    finite = _is_finite(point[0] + point[1] + depth + opacity)
    not_finite = there & (finite == 0)
    not_valid = there & (opacity < 0.0)
    seen = there & finite & (depth >= near) & (depth <= far) & (opacity >= ALPHA_MIN)

    _, _, _, tangents, _, scale, _, _, _, _, first, second, frame = placed(
        means, scales, quaternions, view, 0, place, seen, 0, fx, fy, near, limit_x, limit_y, MODEL
    )
    if MODEL == "pinhole":
        x, y = fx * tangents[0] + cx, fy * tangents[1] + cy
    else:
        x, y = fx * point[0] + cx, fy * point[1] + cy
    _, _, c, determinant, normal = conic(first, second)
    is_odd = opacity > 1.0
    if COMPENSATES:
        opacity = opacity * compensation(determinant, normal)
        seen = seen & ((opacity < ALPHA_MIN) == 0)
    xx, yy, xy = dot(first, first) + EPS2D, dot(second, second) + EPS2D, dot(first, second)
    reach = tl.log2(tl.where(seen, opacity, 1.0)) - LOG2_ALPHA_MIN
    # Twice the natural logarithm of opacity / ALPHA_MIN, in variances.
    largest = (reach + SLACK) * TWO_LN_2
    if MODEL == "panorama":
        apart = 0.5 * (xx - yy)
        wide = tl.sqrt(largest * (0.5 * (xx + yy) + tl.sqrt(apart * apart + xy * xy)))
        high = wide
    else:
        wide, high = tl.sqrt(largest * xx), tl.sqrt(largest * yy)
    shear, slope = -xy / xx, xy / yy
    finite = _is_finite(x + y + shear + slope + c + wide + high + determinant)
    not_finite = not_finite | (seen & (finite == 0))
    seen = seen & finite
    w = tl.load(quaternions + 4 * place, mask=seen, other=1.0)
    axis = load_vector(quaternions, 4 * place + 1, seen)
    is_odd = is_odd | (tl.minimum(tl.minimum(scale[0], scale[1]), scale[2]) < 0.0)
    is_odd = is_odd | (w * w + dot(axis, axis) == 0.0)
    not_valid = not_valid | (seen & is_odd)

    if MODEL != "panorama":
        left, right = _pixels(tl.where(seen, x, 0.0), tl.where(seen, wide, 0.0), width)
        top, bottom = _pixels(tl.where(seen, y, 0.0), tl.where(seen, high, 0.0), height)
        seen = seen & (left <= right) & (top <= bottom)
    channels = CHANNELS + 1 if HAS_DEPTH else CHANNELS
    if DEGREE >= 0:
        unit, _ = unit_of(_direction(mean, origin, PARALLEL))
        color = colors_of_harmonics(seen_as, place, seen, unit, DEGREE)
        store_vector(shown, place * channels, color, seen)
        finite = _is_finite(color[0] + color[1] + color[2])
    else:
        channel = tl.arange(0, PADDED)[None, :]
        both = seen[:, None] & (channel < CHANNELS)
        value = tl.load(seen_as + place[:, None] * CHANNELS + channel, mask=both, other=0.0)
        tl.store(shown + place[:, None] * channels + channel, value, mask=both)
        finite = tl.sum(value * 0.0, axis=1) == 0.0
    if HAS_DEPTH:
        tl.store(shown + place * channels + CHANNELS, depth, mask=seen)
    not_finite = not_finite | (seen & (finite == 0))
    seen = seen & finite

    record = records + place * (SPHERE_RECORD if MODEL == "panorama" else RECORD)
    tl.store(record, x, mask=seen)
    tl.store(record + 1, y, mask=seen)
    tl.store(record + 2, shear, mask=seen)
    tl.store(record + 3, c * HALF_LOG2_E, mask=seen)
    tl.store(record + 4, (1.0 / xx) * HALF_LOG2_E, mask=seen)
    tl.store(record + 5, opacity, mask=seen)
    tl.store(radii + place, tl.maximum(wide, high), mask=seen)
    if MODEL == "panorama":
        store_vector(record, SPHERE_FRAME, scaled(fx, frame[0]), seen)
        store_vector(record, SPHERE_FRAME + 3, scaled(fy, frame[1]), seen)
        store_vector(record, SPHERE_FRAME + 6, frame[2], seen)
        tl.store(tile_counts + place, seen.to(tl.int32), mask=there)
    else:
        tl.store(record + 6, slope, mask=seen)
        tl.store(record + 7, reach, mask=seen)
        left, right, top, bottom = left // TILE, right // TILE, top // TILE, bottom // TILE
        tl.store(boxes + 2 * place, top * tiles_across + left, mask=seen)
        tl.store(boxes + 2 * place + 1, right - left + 1, mask=seen)
        tl.store(tile_counts + place, tl.where(seen, (right - left + 1) * (bottom - top + 1), 0), mask=there)
    tl.store(depths + place, tl.where(seen, depth, float("inf")), mask=there)
    own = counts + tl.program_id(0) * COUNTS
    tl.store(own, tl.sum(not_finite.to(tl.int32), axis=0))
    tl.store(own + 1, tl.sum(not_valid.to(tl.int32), axis=0))


@triton.jit(do_not_specialize=["total", "tiles_across"])
@no_type_check
def tiles_of_pairs(owners, starts, boxes, tiles, total, tiles_across, BLOCK: tl.constexpr):
    """The tile of each of `total` pairs of a Gaussian, `owners`, and a tile; `starts` [K]: the first pair of each.

    The first column of a panorama follows the last.
    """
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = pair < total
    owner = tl.load(owners + pair, mask=there, other=0).to(tl.int64)
    own = (pair - tl.load(starts + owner, mask=there, other=0)).to(tl.int32)
    first = tl.load(boxes + 2 * owner, mask=there, other=0)
    columns = tl.load(boxes + 2 * owner + 1, mask=there, other=1)
    column = first % tiles_across + own % columns
    column = tl.where(column < tiles_across, column, column - tiles_across)
    tl.store(tiles + pair, (first // tiles_across + own // columns) * tiles_across + column, mask=there)


@triton.jit(do_not_specialize=NUMBERS, do_not_specialize_on_alignment=OF_A_SET)
@no_type_check
def project_scene_backward(
    means, scales, quaternions, opacities, seen_as, view, origin, shown, tile_counts, sums,
    of_means, of_scales, of_quaternions, of_opacities, of_seen, of_means2d, of_absolute, of_camera,
    count, fx, fy, near, limit_x, limit_y,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, DEGREE: tl.constexpr, PARALLEL: tl.constexpr,
    HAS_DEPTH: tl.constexpr, MODEL: tl.constexpr, COMPENSATES: tl.constexpr, FRESH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of Gaussians from their `sums` [K, MOMENTS + C] over pixels, written if FRESH, else added.

    `of_means2d`, `of_absolute` [K, 2] and `of_camera` [programs, 16] are written, or None.
    """
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    seen = there & (tl.load(tile_counts + place, mask=there, other=0) > 0)
    channels = CHANNELS + 1 if HAS_DEPTH else CHANNELS
    row = sums + place * (MOMENTS + channels)
    opacity = tl.load(opacities + place, mask=seen, other=0.0)
    by_opacity = tl.load(row, mask=seen, other=0.0)
    by_depth = tl.zeros_like(opacity)
    if HAS_DEPTH:
        by_depth = tl.load(row + MOMENTS + CHANNELS, mask=seen, other=0.0)

    _, is_drawn, inverse, tangents, slopes, scale, axes, along, across, down, first, second, frame = placed(
        means, scales, quaternions, view, 0, place, seen, 0, fx, fy, near, limit_x, limit_y, MODEL
    )
    a, b, c, determinant, normal = conic(first, second)
    by_log = None
    if COMPENSATES:
        share = compensation(determinant, normal)
        opacity = opacity * share
        by_log = tl.where(seen, by_opacity * opacity, 0.0)
        by_opacity = by_opacity * share
    moments = scaled(opacity, load_vector(row, 1, seen))
    square = opacity * tl.load(row + 4, mask=seen, other=0.0), opacity * tl.load(row + 5, mask=seen, other=0.0)
    if MODEL == "panorama":
        by_x, by_y = moments[0], moments[1]
    else:
        by_x, by_y = a * moments[0] + b * moments[1], b * moments[0] + c * moments[1]
    by_point, by_scale, by_axes = placed_backward(
        by_x, by_y, (-0.5 * moments[2], -square[0], -0.5 * square[1]), by_depth,
        is_drawn, inverse, tangents, slopes, scale, axes, along, across, down, first, second, frame, fx, fy, MODEL,
        by_log,
    )  # fmt: skip
    turn, _ = pose(view, 0, 0)
    by_mean = row_times(by_point, turn)
    mean = load_vector(means, 3 * place, seen)
    by_direction = scaled(0.0, mean)
    if DEGREE >= 0:
        by_color = (
            _unclamped(row + MOMENTS, shown + place * channels, seen),
            _unclamped(row + MOMENTS + 1, shown + place * channels + 1, seen),
            _unclamped(row + MOMENTS + 2, shown + place * channels + 2, seen),
        )
        unit, shortening = unit_of(_direction(mean, origin, PARALLEL))
        by_unit = colors_of_harmonics_backward(seen_as, of_seen, place, there, seen, unit, by_color, DEGREE, FRESH)
        along_unit = dot(by_unit, unit)
        by_direction = scaled(shortening, plus(by_unit, scaled(-along_unit, unit)))
        if not PARALLEL:
            by_mean = plus(by_mean, by_direction)
    else:
        channel = tl.arange(0, PADDED)[None, :]
        is_channel = channel < CHANNELS
        value = tl.load(row[:, None] + MOMENTS + channel, mask=seen[:, None] & is_channel, other=0.0)
        written, added = there[:, None] & is_channel, seen[:, None] & is_channel
        put(of_seen, place[:, None] * CHANNELS + channel, value, written, added, FRESH)
    for i in tl.static_range(3):
        put(of_means, 3 * place + i, by_mean[i], there, seen, FRESH)
        put(of_scales, 3 * place + i, by_scale[i], there, seen, FRESH)
    by_quaternion = rotation_backward(quaternions, turned_back(turn, by_axes), place, seen)
    for i in tl.static_range(4):
        put(of_quaternions, 4 * place + i, by_quaternion[i], there, seen, FRESH)
    put(of_opacities, place, by_opacity, there, seen, FRESH)
    if of_means2d is not None:
        tl.store(of_means2d + 2 * place, by_x, mask=seen)
        tl.store(of_means2d + 2 * place + 1, by_y, mask=seen)
    if of_absolute is not None:
        tl.store(of_absolute + 2 * place, tl.load(row + 6, mask=seen, other=0.0), mask=seen)
        tl.store(of_absolute + 2 * place + 1, tl.load(row + 7, mask=seen, other=0.0), mask=seen)
    if of_camera is not None:
        _, _, _, matrix, _ = rotation(quaternions, place, seen)
        own = of_camera + tl.program_id(0) * 16
        for i in tl.static_range(3):
            for j in tl.static_range(3):
                tl.store(own + 4 * i + j, _sum_of(by_point[i] * mean[j] + dot(by_axes[i], matrix[j]), seen))
            tl.store(own + 4 * i + 3, _sum_of(by_point[i], seen))
            tl.store(own + 12 + i, _sum_of(by_direction[i] if PARALLEL else -by_direction[i], seen))


@triton.jit
@no_type_check
def _unclamped(sums, colors, seen):
    """The gradient of a channel of colour, 0 where the colour was clamped at 0."""
    is_free = tl.load(colors, mask=seen, other=0.0) > 0.0
    return tl.where(is_free, tl.load(sums, mask=seen, other=0.0), 0.0)


@triton.jit
@no_type_check
def _sum_of(value, seen):
    return tl.sum(tl.where(seen, value, 0.0), axis=0)
