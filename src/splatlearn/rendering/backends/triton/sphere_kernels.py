"""Blending of a panorama on a GPU: as for scenes, one program paints one tile from the list of the Gaussians there.

A Gaussian is evaluated in its own tangent plane at the directions of the pixels, of which `columns` [W, 2] and `rows`
[H, 2] have the sines and cosines of longitudes and latitudes. Seam and poles are directions like all others.
`curving` is 1/f² of the tangent planes.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.rendering import formula
from splatlearn.rendering.backends.triton.blend_kernels import (
    ALPHA_MAX,
    HALF_LOG2_E,
    LANES,
    drawn_alpha,
    next_place,
)
from splatlearn.rendering.backends.triton.scene_blend_kernels import OF_A_VIEW, SIZES, eight
from splatlearn.rendering.backends.triton.scene_project_kernels import MOMENTS, SPHERE_FRAME, SPHERE_RECORD

FACING = tl.constexpr(formula.FACING)
NUMBERS = [*SIZES, "curving"]


@triton.jit
@no_type_check
def _directions_of(tile, columns, rows, tiles_across, height, width, TILE: tl.constexpr):
    """The pixels of a tile: addresses and whether they are inside [TILE, TILE]; then sines and cosines [TILE].

    They are those of longitudes, then those of latitudes.
    """
    row, column = (
        tile // tiles_across * TILE + tl.arange(0, TILE),
        tile % tiles_across * TILE + tl.arange(0, TILE),
    )
    pixels = row[:, None].to(tl.int64) * width + column[None, :]
    inside = (row[:, None] < height) & (column[None, :] < width)
    east = tl.load(columns + 2 * column, mask=column < width, other=0.0)
    ahead = tl.load(columns + 2 * column + 1, mask=column < width, other=1.0)
    down = tl.load(rows + 2 * row, mask=row < height, other=0.0)
    level = tl.load(rows + 2 * row + 1, mask=row < height, other=1.0)
    return pixels, inside, east, ahead, down, level


@triton.jit
@no_type_check
def _along(record, offset, east, ahead, down, level):
    """The products of a row of a Gaussian's frame with the directions of a tile's pixels [TILE, TILE]."""
    across = tl.load(record + offset) * east + tl.load(record + offset + 2) * ahead
    return level[:, None] * across[None, :] + (down * tl.load(record + offset + 1))[:, None]


@triton.jit
@no_type_check
def _falloff(record, east, ahead, down, level):
    """exp(−power) at pixels, their places x and y in the tangent plane, y + (b/c)·x, and the exponent of 2."""
    facing = _along(record, SPHERE_FRAME + 6, east, ahead, down, level)
    faces = facing > FACING
    inverse = tl.where(faces, 1.0 / tl.where(faces, facing, 1.0), 0.0)
    x = _along(record, SPHERE_FRAME, east, ahead, down, level) * inverse
    y = _along(record, SPHERE_FRAME + 3, east, ahead, down, level) * inverse
    t = y + tl.load(record + 2) * x
    exponent = tl.load(record + 3) * t * t + tl.load(record + 4) * x * x
    return tl.where(faces, tl.exp2(exponent), 0.0), x, y, t, exponent


@triton.jit(do_not_specialize=NUMBERS, do_not_specialize_on_alignment=OF_A_VIEW)
@no_type_check
def sphere_forward(
    records, shown, columns, rows_of_picture, curving, background, lists, offsets, rows, color, transmittance, weights,
    height, width, tiles_across, all_channels, first_channel,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One tile: colour [all_channels, H, W], transmittance [H, W], and weights [pairs, WEIGHTS], or None."""
    tile = tl.program_id(0)
    pixels, inside, east, ahead, down, level = _directions_of(
        tile, columns, rows_of_picture, tiles_across, height, width, TILE
    )
    channel = tl.arange(0, PADDED)
    is_channel = channel < CHANNELS

    before = tl.where(inside, 1.0, 0.0)
    painted = tl.zeros([PADDED, TILE, TILE], tl.float32)
    first = tl.load(offsets + tile)
    end = tl.load(offsets + tile + 1)
    while first < end:
        for entry in range(first, tl.minimum(first + LANES, end)):
            place = tl.load(lists + entry).to(tl.int64)
            record = records + place * SPHERE_RECORD
            falloff, _, _, _, _ = _falloff(record, east, ahead, down, level)
            alpha, is_drawn = drawn_alpha(tl.load(record + 5) * falloff, before)
            value = tl.load(shown + place * all_channels + first_channel + channel, mask=is_channel, other=0.0)
            weight = before * alpha
            painted += value[:, None, None] * weight[None, :, :]
            before *= 1.0 - alpha
            if weights is not None:
                row = weights + tl.load(rows + entry).to(tl.int64) * 3
                tl.store(row, tl.sum(tl.sum(weight, axis=0), axis=0))
                tl.store(row + 1, tl.max(tl.max(weight, axis=0), axis=0))
                tl.store(row + 2, tl.sum(tl.sum(tl.where(is_drawn, 1.0, 0.0), axis=0), axis=0))
        first = next_place(first, end, before)

    behind = tl.load(background + first_channel + channel, mask=is_channel, other=0.0)
    painted += behind[:, None, None] * before[None, :, :]
    planes = (first_channel + channel).to(tl.int64)[:, None, None] * height * width
    tl.store(color + planes + pixels[None, :, :], painted, mask=is_channel[:, None, None] & inside[None, :, :])
    tl.store(transmittance + pixels, before, mask=inside)


@triton.jit(do_not_specialize=NUMBERS, do_not_specialize_on_alignment=OF_A_VIEW)
@no_type_check
def sphere_backward(
    records, shown, columns, rows_of_picture, curving, lists, offsets, rows, color, transmittance, by_color,
    by_transmittance, sums, of_background, height, width, tiles_across, all_channels, first_channel,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, TILE: tl.constexpr, FIRST: tl.constexpr, ABSOLUTE: tl.constexpr,
):  # fmt: skip
    """One tile: rows of `sums` [pairs, MOMENTS + CHANNELS], which start at 0, and of_background [tiles, PADDED].

    In place of the first moments stands the gradient of the centre in its tangent plane: if the centre moves by s, the
    plane turns with it, so that a pixel's place d moves by −(s + d (d·s) / f²).
    """
    tile = tl.program_id(0)
    pixels, inside, east, ahead, down, level = _directions_of(
        tile, columns, rows_of_picture, tiles_across, height, width, TILE
    )
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
        for entry in range(first, tl.minimum(first + LANES, end)):
            place = tl.load(lists + entry).to(tl.int64)
            record = records + place * SPHERE_RECORD
            falloff, x, y, t, exponent = _falloff(record, east, ahead, down, level)
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
            # The record has the power's factors times −½·log₂e.
            steep = tl.load(record + 3) * t * (1.0 / HALF_LOG2_E)
            turned = exponent * (curving / HALF_LOG2_E)
            by_x = u * (steep * tl.load(record + 2) + tl.load(record + 4) * x * (1.0 / HALF_LOG2_E) + x * turned)
            by_y = u * (steep + y * turned)
            absolute_x, absolute_y = 0.0, 0.0
            if ABSOLUTE:
                absolute_x = opacity * tl.sum(tl.sum(tl.abs(by_x), axis=0), axis=0)
                absolute_y = opacity * tl.sum(tl.sum(tl.abs(by_y), axis=0), axis=0)
            moments = eight(
                tl.sum(tl.sum(u, axis=0), axis=0),
                tl.sum(tl.sum(by_x, axis=0), axis=0),
                tl.sum(tl.sum(by_y, axis=0), axis=0),
                tl.sum(tl.sum(u * x * x, axis=0), axis=0),
                tl.sum(tl.sum(u * x * y, axis=0), axis=0),
                tl.sum(tl.sum(u * y * y, axis=0), axis=0),
                absolute_x,
                absolute_y,
            )
            row = sums + tl.load(rows + entry).to(tl.int64) * (MOMENTS + CHANNELS)
            tl.store(row + tl.arange(0, MOMENTS), moments)
            tl.store(row + MOMENTS + channel, of_colors, mask=is_channel)
        first = next_place(first, end, before)
