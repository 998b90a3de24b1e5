"""Compositing on a GPU in Triton, for many small scenes: one warp paints one tile of one image by itself.

A tile is as wide as a warp, so that a thread holds a column of pixels in its registers. Splats are looked at 32 at a
time: each thread asks whether one of them can reach the tile, and the answers make a word of bits that the warp then
walks through, near to far. No list is stored, nothing is shared between warps and no thread ever waits at a barrier.

The backward pass is one sweep in the same order. With S = Σ_{j>k} T_j α_j (g·color_j) + T_end (g·background + g_T),
carried from splat to splat, and u = ∂L/∂α · falloff, the gradients of a splat are the moments {1, x, y, xx, xy, yy} of
u about its centre. A band of tiles belongs to one program, which adds to sums of its own; `gradients_of_sums` adds the
bands in order. So results are the same bit for bit from run to run.

`no_type_check` keeps import hooks for run-time shape checks from wrapping functions whose source Triton reads.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.rendering import formula

ALPHA_MAX = tl.constexpr(formula.ALPHA_MAX)
ALPHA_MIN = tl.constexpr(formula.ALPHA_MIN)
TRANSMITTANCE_MIN = tl.constexpr(formula.TRANSMITTANCE_MIN)
LARGEST = tl.constexpr(3.4028234663852886e38)
HALF_LOG2_E = tl.constexpr(-0.5 * 1.4426950408889634)
"""What makes twice a power the exponent of 2."""

LANES = tl.constexpr(32)
"""Splats looked at together, one for each thread of a warp and each bit of a word."""
MOMENTS = tl.constexpr(8)
"""Places of a splat's row of sums before the colours': six moments, and two that keep the colours aligned."""

# Numbers of which a kernel need not know whether they divide by 16: it would load several pixels of a row into one
# thread, which then had no column of its own, and be compiled again for other images.
SIZES = ["count", "height", "width", "tiles_across", "tiles", "bands"]


@triton.jit
@no_type_check
def clamp(value, low, high):
    """The nearest value from `low` to `high`."""
    return tl.minimum(tl.maximum(value, low), high)


@triton.jit
@no_type_check
def _reach(means2d, conics, opacities, first, count, left, top, right, bottom):
    """A bit for each splat from `first` on whose α may reach the skip threshold at a pixel centre of the rectangle.

    The least power over a rectangle lies on the sides that face the centre, if the conic is an ellipse's; any other
    conic, and one too thin to tell, counts as reaching everywhere.
    """
    lane = tl.arange(0, LANES)
    index = first + lane
    there = index < count
    x = tl.load(means2d + 2 * index, mask=there, other=0.0)
    y = tl.load(means2d + 2 * index + 1, mask=there, other=0.0)
    a = tl.load(conics + 3 * index, mask=there, other=1.0)
    b = tl.load(conics + 3 * index + 1, mask=there, other=0.0)
    c = tl.load(conics + 3 * index + 2, mask=there, other=1.0)
    opacity = tl.load(opacities + index, mask=there, other=0.0)

    side_x = clamp(x, left, right) - x
    side_y = clamp(y, top, bottom) - y
    along_y = clamp(-b * side_x / c, top - y, bottom - y)
    along_x = clamp(-b * side_y / a, left - x, right - x)
    lowest = tl.minimum(_power_at_least(a, b, c, side_x, along_y), _power_at_least(a, b, c, along_x, side_y))
    is_ellipse = (a > 0) & (c > 0) & (a * c - b * b > 1e-5 * a * c)
    too_far = is_ellipse & (lowest > tl.log(opacity / ALPHA_MIN) + 1e-3)
    hit = there & (opacity >= ALPHA_MIN) & (too_far == 0)
    return tl.sum(tl.where(hit, 1 << lane, 0), axis=0)


@triton.jit
@no_type_check
def _power_at_least(a, b, c, x, y):
    """The power at an offset from the centre, less what rounding may have added."""
    squares = a * x * x + c * y * y
    return 0.5 * squares + b * x * y - 1e-5 * squares


@triton.jit
@no_type_check
def lowest_bit(bits):
    """The place of the lowest bit that is set, as the exponent of its float."""
    lowest = (bits & -bits).to(tl.float32).to(tl.int32, bitcast=True)
    return ((lowest >> 23) & 255) - 127


@triton.jit
@no_type_check
def _upper_half(value):
    """A float with the upper twelve bits of its fraction: the product of two such is exact."""
    return (value.to(tl.int32, bitcast=True) & -4096).to(tl.float32, bitcast=True)


@triton.jit
@no_type_check
def _determinant(a, b, c):
    """ac − b² with the roundings of both products, of which nothing else would be left for thin splats."""
    a1, b1, c1 = _upper_half(a), _upper_half(b), _upper_half(c)
    a2, b2, c2 = a - a1, b - b1, c - c1
    return (a1 * c1 - b1 * b1) + ((a1 * c2 + a2 * c1 - 2.0 * b1 * b2) + (a2 * c2 - b2 * b2))


@triton.jit
@no_type_check
def _falloff(means2d, conics, place, xs, ys):
    """exp(−power) of a splat at pixels and whether the power is not negative; offsets from its centre.

    `xs` [1, COLUMNS], `ys` [ROWS, 1]: what is of the column alone is computed once for a thread.
    """
    dx = xs - tl.load(means2d + 2 * place)
    dy = ys - tl.load(means2d + 2 * place + 1)
    a = tl.load(conics + 3 * place)
    b = tl.load(conics + 3 * place + 1)
    c = tl.load(conics + 3 * place + 2)
    determinant = _determinant(a, b, c)
    if (a > 0) & (c > 0) & (determinant > 1e-6 * a * c):
        # A sum of squares: along a thin tilted splat the three terms of the other form cancel.
        across = dy + tl.math.div_rn(b, c) * dx
        exponent = (c * HALF_LOG2_E) * across * across + (tl.math.div_rn(determinant, c) * HALF_LOG2_E) * dx * dx
    else:
        a, b, c = a * HALF_LOG2_E, b * (2 * HALF_LOG2_E), c * HALF_LOG2_E
        exponent = dy * (c * dy + b * dx) + a * dx * dx
    # NaN stays NaN, and fails every comparison: an overflow draws nothing.
    return tl.exp2(tl.minimum(exponent, 0.0, propagate_nan=tl.PropagateNan.ALL)), exponent <= 0, dx, dy


@triton.jit
@no_type_check
def drawn_alpha(raw, before):
    """α after clamp, skip and stop, from opacity · falloff and the transmittance in front; and where it is not 0."""
    is_drawn = (raw >= ALPHA_MIN) & (before >= TRANSMITTANCE_MIN)
    return tl.where(is_drawn, tl.minimum(raw, ALPHA_MAX), 0.0), is_drawn


@triton.jit
@no_type_check
def next_place(first, count, before):
    """Where the next splats to be looked at begin; at the end, once every pixel is opaque."""
    clearest = tl.max(tl.max(before, axis=0), axis=0)
    return tl.where(clearest >= TRANSMITTANCE_MIN, first + LANES, count)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def composite_forward(
    means2d, conics, opacities, colors, background, poison, color, transmittance,
    count, height, width, tiles_across, tiles,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One tile of one image: colour and transmittance. `poison` [B] is 0, or NaN for images that shall be NaN."""
    image = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    top, left = tile // tiles_across * ROWS, tile % tiles_across * COLUMNS
    rows, columns = top + tl.arange(0, ROWS), left + tl.arange(0, COLUMNS)
    xs, ys = columns[None, :] + 0.5, rows[:, None] + 0.5
    right, bottom = tl.minimum(left + COLUMNS, width) - 0.5, tl.minimum(top + ROWS, height) - 0.5
    inside = (rows[:, None] < height) & (columns[None, :] < width)
    channel = tl.arange(0, PADDED)
    is_channel = channel < CHANNELS
    means2d += image * count * 2
    conics += image * count * 3
    opacities += image * count
    colors += image * count * CHANNELS

    before = tl.where(inside, 1.0, 0.0)
    painted = tl.zeros([PADDED, ROWS, COLUMNS], tl.float32)
    first = 0
    while first < count:
        bits = _reach(means2d, conics, opacities, first, count, left + 0.5, top + 0.5, right, bottom)
        while bits != 0:
            place = first + lowest_bit(bits)
            bits = bits & (bits - 1)
            falloff, _, _, _ = _falloff(means2d, conics, place, xs, ys)
            alpha, _ = drawn_alpha(tl.load(opacities + place) * falloff, before)
            value = tl.load(colors + place * CHANNELS + channel, mask=is_channel, other=0.0)
            painted += value[:, None, None] * (before * alpha)[None, :, :]
            before *= 1.0 - alpha
        first = next_place(first, count, before)

    spoilt = tl.load(poison + image)
    behind = tl.load(background + image * CHANNELS + channel, mask=is_channel, other=0.0)
    painted += behind[:, None, None] * before[None, :, :] + spoilt
    pixels = rows[:, None].to(tl.int64) * width + columns[None, :]
    area = height.to(tl.int64) * width
    planes = (image * CHANNELS + channel)[:, None, None] * area
    tl.store(color + planes + pixels[None, :, :], painted, mask=is_channel[:, None, None] & inside[None, :, :])
    tl.store(transmittance + image * area + pixels, before + spoilt, mask=inside)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def composite_backward(
    means2d, conics, opacities, colors, color, transmittance, color_gradient, transmittance_gradient,
    sums, background_sums,
    count, height, width, tiles_across, tiles, bands,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One band of tiles of one image, added to `sums` [B, bands, K, MOMENTS + PADDED], which start at 0."""
    program = tl.program_id(0).to(tl.int64)
    image = program // bands
    band = tl.program_id(0) % bands
    channel = tl.arange(0, PADDED)
    is_channel = channel < CHANNELS
    means2d += image * count * 2
    conics += image * count * 3
    opacities += image * count
    colors += image * count * CHANNELS
    sums += program * count * (MOMENTS + PADDED)
    area = height.to(tl.int64) * width
    planes = (image * CHANNELS + channel)[:, None, None] * area

    of_background = tl.zeros([PADDED], tl.float32)
    # Every so many tiles, so that bands are alike in what they have to do.
    for tile in range(band, tiles, bands):
        top, left = tile // tiles_across * ROWS, tile % tiles_across * COLUMNS
        rows, columns = top + tl.arange(0, ROWS), left + tl.arange(0, COLUMNS)
        xs, ys = columns[None, :] + 0.5, rows[:, None] + 0.5
        right, bottom = tl.minimum(left + COLUMNS, width) - 0.5, tl.minimum(top + ROWS, height) - 0.5
        inside = (rows[:, None] < height) & (columns[None, :] < width)
        pixels = rows[:, None].to(tl.int64) * width + columns[None, :]
        full = is_channel[:, None, None] & inside[None, :, :]
        toward_pixels = tl.load(color_gradient + planes + pixels[None, :, :], mask=full, other=0.0)
        last = tl.load(transmittance + image * area + pixels, mask=inside, other=0.0)
        behind = last * tl.load(transmittance_gradient + image * area + pixels, mask=inside, other=0.0)
        painted = tl.load(color + planes + pixels[None, :, :], mask=full, other=0.0)
        behind += tl.sum(painted * toward_pixels, axis=0)
        of_background += tl.sum(tl.sum(toward_pixels * last[None, :, :], axis=1), axis=1)

        before = tl.where(inside, 1.0, 0.0)
        first = 0
        while first < count:
            bits = _reach(means2d, conics, opacities, first, count, left + 0.5, top + 0.5, right, bottom)
            while bits != 0:
                place = first + lowest_bit(bits)
                bits = bits & (bits - 1)
                falloff, moves, dx, dy = _falloff(means2d, conics, place, xs, ys)
                raw = tl.load(opacities + place) * falloff
                alpha, is_drawn = drawn_alpha(raw, before)
                value = tl.load(colors + place * CHANNELS + channel, mask=is_channel, other=0.0)
                toward = tl.sum(value[:, None, None] * toward_pixels, axis=0)
                weight = before * alpha
                behind -= weight * toward
                # 1 / (1 − α), which lies between 1 and 1000, without the scaling of a general division.
                root = tl.rsqrt(1.0 - alpha)
                from_alpha = before * toward - behind * (root * root)
                before *= 1.0 - alpha
                u = tl.where(is_drawn & (raw <= ALPHA_MAX), from_alpha * falloff, 0.0)

                # Down the columns first, which lie in one thread each.
                of_colors = tl.sum(tl.sum(weight[None, :, :] * toward_pixels, axis=1), axis=1)
                opacity_sum = tl.sum(tl.sum(u, axis=0), axis=0)
                u = tl.where(moves, u, 0.0)
                down = u * dy
                u_column = tl.sum(u, axis=0)
                down_column = tl.sum(down, axis=0)
                x = tl.sum(dx, axis=0)
                moments = _six(
                    opacity_sum,
                    tl.sum(u_column * x, axis=0),
                    tl.sum(down_column, axis=0),
                    tl.sum(u_column * x * x, axis=0),
                    tl.sum(down_column * x, axis=0),
                    tl.sum(tl.sum(down * dy, axis=0), axis=0),
                )
                # Nobody else adds to these sums; an atomic is used because nothing waits for its result.
                row = sums + place.to(tl.int64) * (MOMENTS + PADDED)
                moment = tl.arange(0, MOMENTS)
                tl.atomic_add(row + moment, moments, mask=moment < 6, sem="relaxed")
                tl.atomic_add(row + MOMENTS + channel, of_colors, mask=is_channel, sem="relaxed")
            first = next_place(first, count, before)
    tl.store(background_sums + program * PADDED + channel, of_background)


@triton.jit
@no_type_check
def _six(m0, m1, m2, m3, m4, m5):
    """Six scalars as the first of MOMENTS lanes."""
    lane = tl.arange(0, MOMENTS)
    low = tl.where(lane == 0, m0, tl.where(lane == 1, m1, m2))
    high = tl.where(lane == 3, m3, tl.where(lane == 4, m4, m5))
    return tl.where(lane < 3, low, high)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def gradients_of_sums(
    conics, opacities, transmittance, sums, background_sums,
    of_centers, of_conics, of_opacities, of_colors, of_background,
    count, height, width, bands,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the sums of an image's bands in order and turn moments into gradients, for BLOCK splats."""
    image = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    channel = tl.arange(0, PADDED)
    is_channel = channel < CHANNELS
    # The forward pass made an image NaN as a whole, or not at all.
    spoilt = tl.load(transmittance + image * height * width) * 0.0

    row = MOMENTS + PADDED
    u = tl.zeros([BLOCK], tl.float32)
    x, y, xx, xy, yy = u, u, u, u, u
    colored = tl.zeros([BLOCK, PADDED], tl.float32)
    backdrop = tl.zeros([PADDED], tl.float32)
    for band in range(bands):
        program = image * bands + band
        part = sums + (program * count + place) * row
        u += tl.load(part, mask=there, other=0.0)
        x += tl.load(part + 1, mask=there, other=0.0)
        y += tl.load(part + 2, mask=there, other=0.0)
        xx += tl.load(part + 3, mask=there, other=0.0)
        xy += tl.load(part + 4, mask=there, other=0.0)
        yy += tl.load(part + 5, mask=there, other=0.0)
        colored += tl.load(part[:, None] + MOMENTS + channel[None, :], mask=there[:, None], other=0.0)
        backdrop += tl.load(background_sums + program * PADDED + channel)

    index = image * count + place
    a = tl.load(conics + 3 * index, mask=there, other=0.0)
    b = tl.load(conics + 3 * index + 1, mask=there, other=0.0)
    c = tl.load(conics + 3 * index + 2, mask=there, other=0.0)
    opacity = tl.load(opacities + index, mask=there, other=0.0)
    x, y = opacity * x, opacity * y
    tl.store(of_centers + 2 * index, a * x + b * y + spoilt, mask=there)
    tl.store(of_centers + 2 * index + 1, b * x + c * y + spoilt, mask=there)
    tl.store(of_conics + 3 * index, -0.5 * opacity * xx + spoilt, mask=there)
    tl.store(of_conics + 3 * index + 1, -opacity * xy + spoilt, mask=there)
    tl.store(of_conics + 3 * index + 2, -0.5 * opacity * yy + spoilt, mask=there)
    tl.store(of_opacities + index, u + spoilt, mask=there)
    colored_at = of_colors + index[:, None] * CHANNELS + channel[None, :]
    tl.store(colored_at, colored + spoilt, mask=there[:, None] & is_channel[None, :])
    if tl.program_id(1) == 0:
        tl.store(of_background + image * CHANNELS + channel, backdrop + spoilt, mask=is_channel)


@triton.jit
@no_type_check
def _unbounded(values, size, BLOCK: tl.constexpr):
    """How many of `size` numbers are infinite or NaN."""
    found = tl.zeros([BLOCK], tl.int32)
    for start in range(0, size, BLOCK):
        index = start + tl.arange(0, BLOCK)
        value = tl.load(values + index, mask=index < size, other=0.0)
        found += tl.where(tl.abs(value) <= LARGEST, 0, 1)
    return tl.sum(found, axis=0)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def find_poison(
    means2d, conics, opacities, colors, background, poison, count, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):
    """NaN for an image with an input that is not finite, else 0."""
    image = tl.program_id(0).to(tl.int64)
    found = _unbounded(means2d + image * count * 2, count * 2, BLOCK)
    found += _unbounded(conics + image * count * 3, count * 3, BLOCK)
    found += _unbounded(opacities + image * count, count, BLOCK)
    found += _unbounded(colors + image * count * CHANNELS, count * CHANNELS, BLOCK)
    found += _unbounded(background + image * CHANNELS, CHANNELS, BLOCK)
    tl.store(poison + image, tl.where(found > 0, float("nan"), 0.0))
