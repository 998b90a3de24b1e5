"""Blending of a scene on a GPU: one program paints one tile from the list of the Gaussians that meet it.

As for few Gaussians (`blend_kernels`), each of 32 threads asks whether one entry of the list can reach the tile, and
the warp then walks through those that can, near to far. The backward pass is one sweep in the same order, by the same
equations. Each pair of a Gaussian and a tile has a row of sums of its own, which one program alone writes; the rows of
a Gaussian lie side by side, and `sum_rows` adds them in order. So there are no atomic additions, and results are the
same bit for bit from run to run.

- `records` [K, RECORD] and `shown` [K, all_channels] are what `scene_project_kernels` made of Gaussians; a pass blends
  the CHANNELS from `first_channel` on.
- `lists` [pairs]: the Gaussians of the tiles, near to far, one tile after the other; `offsets` [tiles + 1]: where the
  list of each begins; `rows` [pairs]: which row belongs to each entry.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.rendering.backends.triton.blend_kernels import (
    ALPHA_MAX,
    HALF_LOG2_E,
    LANES,
    clamp,
    drawn_alpha,
    lowest_bit,
    next_place,
)
from splatlearn.rendering.backends.triton.scene_project_kernels import MOMENTS, RECORD, SLACK

WEIGHTS = tl.constexpr(3)
"""Numbers of a row of weights: their sum and maximum, and the pixels in which the Gaussian is visible."""
SIZES = ["height", "width", "tiles_across", "all_channels", "first_channel"]
OF_A_VIEW = ["background", "color", "transmittance", "by_color", "by_transmittance"]
"""Parts of a batch, whose addresses need not divide by 16."""


@triton.jit
@no_type_check
def _pixels_of(tile, tiles_across, height, width, TILE: tl.constexpr):
    """The pixels of a tile: x and y [TILE] of their centres, addresses and whether they are inside [TILE, TILE].

    Then the left, top, right and bottom of the rectangle that the centres of those inside span.
    """
    top, left = tile // tiles_across * TILE, tile % tiles_across * TILE
    rows, columns = top + tl.arange(0, TILE), left + tl.arange(0, TILE)
    right, bottom = tl.minimum(left + TILE, width) - 0.5, tl.minimum(top + TILE, height) - 0.5
    pixels = rows[:, None].to(tl.int64) * width + columns[None, :]
    inside = (rows[:, None] < height) & (columns[None, :] < width)
    return columns + 0.5, rows + 0.5, pixels, inside, left + 0.5, top + 0.5, right, bottom


@triton.jit
@no_type_check
def _largest_exponent(shear, curve, flat, dx, dy):
    """The exponent of 2 at an offset from the centre, and what rounding may have taken from it."""
    t = tl.maximum(tl.abs(dy + shear * dx) - 1e-6 * (tl.abs(dy) + tl.abs(shear * dx)), 0.0)
    return (curve * t * t + flat * dx * dx) * (1.0 - 1e-5)


@triton.jit
@no_type_check
def _reach(records, lists, first, end, left, top, right, bottom):
    """A bit for each of LANES entries from `first` on whose α may reach the skip threshold within the rectangle.

    The largest exponent over a rectangle lies on the sides that face the centre.
    """
    lane = tl.arange(0, LANES)
    there = first + lane < end
    record = records + tl.load(lists + first + lane, mask=there, other=0).to(tl.int64) * RECORD
    x = tl.load(record, mask=there, other=0.0)
    y = tl.load(record + 1, mask=there, other=0.0)
    shear = tl.load(record + 2, mask=there, other=0.0)
    curve = tl.load(record + 3, mask=there, other=0.0)
    flat = tl.load(record + 4, mask=there, other=0.0)
    slope = tl.load(record + 6, mask=there, other=0.0)
    reach = tl.load(record + 7, mask=there, other=0.0)
    side_x = clamp(x, left, right) - x
    side_y = clamp(y, top, bottom) - y
    along_y = clamp(-shear * side_x, top - y, bottom - y)
    along_x = clamp(slope * side_y, left - x, right - x)
    highest = tl.maximum(
        _largest_exponent(shear, curve, flat, side_x, along_y), _largest_exponent(shear, curve, flat, along_x, side_y)
    )
    hit = there & (highest + reach + SLACK >= 0.0)
    return tl.sum(tl.where(hit, 1 << lane, 0), axis=0)


@triton.jit
@no_type_check
def _falloff(record, xs, ys):
    """exp(−power) at pixels, offsets from the centre, and dy + (b/c)·dx; `xs`, `ys` [TILE]."""
    x = xs - tl.load(record)
    dx, dy = x[None, :], (ys - tl.load(record + 1))[:, None]
    t = dy + tl.load(record + 2) * dx
    exponent = tl.load(record + 3) * t * t + tl.load(record + 4) * dx * dx
    return tl.exp2(exponent), x, dy, t


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=OF_A_VIEW)
@no_type_check
def scene_forward(
    records, shown, background, lists, offsets, rows, color, transmittance, weights,
    height, width, tiles_across, all_channels, first_channel,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One tile: colour [all_channels, H, W], transmittance [H, W], and weights [pairs, WEIGHTS], or None."""
    tile = tl.program_id(0)
    xs, ys, pixels, inside, left, top, right, bottom = _pixels_of(tile, tiles_across, height, width, TILE)
    channel = tl.arange(0, PADDED)
    is_channel = channel < CHANNELS

    before = tl.where(inside, 1.0, 0.0)
    painted = tl.zeros([PADDED, TILE, TILE], tl.float32)
    first = tl.load(offsets + tile)
    end = tl.load(offsets + tile + 1)
    while first < end:
        bits = _reach(records, lists, first, end, left, top, right, bottom)
        while bits != 0:
            entry = first + lowest_bit(bits)
            bits = bits & (bits - 1)
            place = tl.load(lists + entry).to(tl.int64)
            record = records + place * RECORD
            falloff, _, _, _ = _falloff(record, xs, ys)
            alpha, is_drawn = drawn_alpha(tl.load(record + 5) * falloff, before)
            value = tl.load(shown + place * all_channels + first_channel + channel, mask=is_channel, other=0.0)
            weight = before * alpha
            painted += value[:, None, None] * weight[None, :, :]
            before *= 1.0 - alpha
            if weights is not None:
                row = weights + tl.load(rows + entry).to(tl.int64) * WEIGHTS
                tl.store(row, tl.sum(tl.sum(weight, axis=0), axis=0))
                tl.store(row + 1, tl.max(tl.max(weight, axis=0), axis=0))
                tl.store(row + 2, tl.sum(tl.sum(tl.where(is_drawn, 1.0, 0.0), axis=0), axis=0))
        first = next_place(first, end, before)

    behind = tl.load(background + first_channel + channel, mask=is_channel, other=0.0)
    painted += behind[:, None, None] * before[None, :, :]
    planes = (first_channel + channel).to(tl.int64)[:, None, None] * height * width
    tl.store(color + planes + pixels[None, :, :], painted, mask=is_channel[:, None, None] & inside[None, :, :])
    tl.store(transmittance + pixels, before, mask=inside)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=OF_A_VIEW)
@no_type_check
def scene_backward(
    records, shown, lists, offsets, rows, color, transmittance, by_color, by_transmittance, sums, of_background,
    height, width, tiles_across, all_channels, first_channel,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, TILE: tl.constexpr, FIRST: tl.constexpr, ABSOLUTE: tl.constexpr,
):  # fmt: skip
    """One tile: rows of `sums` [pairs, MOMENTS + CHANNELS], which start at 0, and of_background [tiles, PADDED].

    FIRST: whether this pass takes the gradient of the transmittance, as one of them must.
    """
    tile = tl.program_id(0)
    xs, ys, pixels, inside, left, top, right, bottom = _pixels_of(tile, tiles_across, height, width, TILE)
    channel = tl.arange(0, PADDED)
    is_channel = channel < CHANNELS
    planes = (first_channel + channel).to(tl.int64)[:, None, None] * height * width
    full = is_channel[:, None, None] & inside[None, :, :]

    toward_pixels = tl.load(by_color + planes + pixels[None, :, :], mask=full, other=0.0)
    painted = tl.load(color + planes + pixels[None, :, :], mask=full, other=0.0)
    last = tl.load(transmittance + pixels, mask=inside, other=0.0)
    behind = tl.sum(painted * toward_pixels, axis=0)
    if FIRST:
        behind += last * tl.load(by_transmittance + pixels, mask=inside, other=0.0)
    of_channels = tl.sum(tl.sum(toward_pixels * last[None, :, :], axis=1), axis=1)
    tl.store(of_background + tile * PADDED + channel, of_channels)

    before = tl.where(inside, 1.0, 0.0)
    first = tl.load(offsets + tile)
    end = tl.load(offsets + tile + 1)
    while first < end:
        bits = _reach(records, lists, first, end, left, top, right, bottom)
        while bits != 0:
            entry = first + lowest_bit(bits)
            bits = bits & (bits - 1)
            place = tl.load(lists + entry).to(tl.int64)
            record = records + place * RECORD
            falloff, x, dy, t = _falloff(record, xs, ys)
            opacity = tl.load(record + 5)
            raw = opacity * falloff
            alpha, is_drawn = drawn_alpha(raw, before)
            value = tl.load(shown + place * all_channels + first_channel + channel, mask=is_channel, other=0.0)
            toward = tl.sum(value[:, None, None] * toward_pixels, axis=0)
            weight = before * alpha
            behind -= weight * toward
            # 1 / (1 − α), which lies between 1 and 1000, without the scaling of a general division.
            root = tl.rsqrt(1.0 - alpha)
            from_alpha = before * toward - behind * (root * root)
            before *= 1.0 - alpha
            u = tl.where(is_drawn & (raw <= ALPHA_MAX), from_alpha * falloff, 0.0)

            of_colors = tl.sum(tl.sum(weight[None, :, :] * toward_pixels, axis=1), axis=1)
            along_y = u * dy
            u_column, along_y_column = tl.sum(u, axis=0), tl.sum(along_y, axis=0)
            absolute_x, absolute_y = 0.0, 0.0
            if ABSOLUTE:
                # c·t and dx/xx, of which the gradient of the centre consists, times −½·log₂e each.
                steep = tl.load(record + 3) * t
                size = tl.abs(u) * (opacity / -HALF_LOG2_E)
                sideways = tl.abs(steep * tl.load(record + 2) + tl.load(record + 4) * x[None, :])
                absolute_x = tl.sum(tl.sum(size * sideways, axis=0), axis=0)
                absolute_y = tl.sum(tl.sum(size * tl.abs(steep), axis=0), axis=0)
            moments = eight(
                tl.sum(u_column, axis=0),
                tl.sum(u_column * x, axis=0),
                tl.sum(along_y_column, axis=0),
                tl.sum(u_column * x * x, axis=0),
                tl.sum(along_y_column * x, axis=0),
                tl.sum(tl.sum(along_y * dy, axis=0), axis=0),
                absolute_x,
                absolute_y,
            )
            row = sums + tl.load(rows + entry).to(tl.int64) * (MOMENTS + CHANNELS)
            tl.store(row + tl.arange(0, MOMENTS), moments)
            tl.store(row + MOMENTS + channel, of_colors, mask=is_channel)
        first = next_place(first, end, before)


@triton.jit
@no_type_check
def eight(m0, m1, m2, m3, m4, m5, m6, m7):
    """Eight scalars as MOMENTS lanes."""
    lane = tl.arange(0, MOMENTS)
    low = tl.where(lane < 2, tl.where(lane == 0, m0, m1), tl.where(lane == 2, m2, m3))
    high = tl.where(lane < 6, tl.where(lane == 4, m4, m5), tl.where(lane == 6, m6, m7))
    return tl.where(lane < 4, low, high)


@triton.jit(do_not_specialize=["count", "all_columns", "shift"], do_not_specialize_on_alignment=["sums"])
@no_type_check
def sum_rows(
    rows, starts, tile_counts, sums, count, all_columns, shift,
    COLUMNS: tl.constexpr, PADDED: tl.constexpr, MAXIMUM: tl.constexpr, GAUSSIANS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Add the rows [pairs, COLUMNS] of each Gaussian, in order, to its row of `sums` [K, all_columns].

    Columns from MOMENTS on are added `shift` places further right. Of column MAXIMUM the maximum is taken.
    """
    place = tl.program_id(0).to(tl.int64) * GAUSSIANS + tl.arange(0, GAUSSIANS)
    there = place < count
    length = tl.load(tile_counts + place, mask=there, other=0)
    start = tl.load(starts + place, mask=there, other=0)
    column = tl.arange(0, PADDED)
    target = sums + place[:, None] * all_columns + (column + tl.where(column < MOMENTS, 0, shift))[None, :]
    is_column = (column < COLUMNS)[None, :]
    mask = (length > 0)[:, None] & is_column
    total = tl.load(target, mask=mask, other=0.0)
    source = rows + start[:, None] * COLUMNS + column[None, :]
    for first in range(0, tl.max(length, axis=0), ROWS):
        # Loads that do not wait for each other, and no sum that crosses threads.
        for row in tl.static_range(ROWS):
            is_row = (first + row < length)[:, None]
            part = tl.load(source + (first + row) * COLUMNS, mask=is_row & is_column, other=0.0)
            total = tl.where((column == MAXIMUM)[None, :], tl.maximum(total, part), total + part)
    tl.store(target, total, mask=mask)
