"""Projection on a GPU in Triton: one thread for a Gaussian, as `projection.py` does it, backward by recomputation.

Depths come first, PyTorch sorts them (stably, NaN last), then each thread places the Gaussian that belongs to its splat
(`gaussian_kernels`).
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.rendering.backends.triton.gaussian_kernels import (
    conic,
    dot,
    load_vector,
    placed,
    placed_backward,
    pose,
    rotation_backward,
    row_times,
    store_vector,
    turned_back,
)


@triton.jit
@no_type_check
def write_view(view, a, b, c, d, e, f, g, h, i, j, k, m):
    """The upper three rows of a matrix, from numbers that the host holds."""
    store_vector(view, 0, (a, b, c), True)
    tl.store(view + 3, d)
    store_vector(view, 4, (e, f, g), True)
    tl.store(view + 7, h)
    store_vector(view, 8, (i, j, k), True)
    tl.store(view + 11, m)


@triton.jit(do_not_specialize=["count"])
@no_type_check
def depths_of(means, views, depths, count, view_stride, BLOCK: tl.constexpr):
    """Depths of Gaussians in the order in which they came."""
    image = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    turn, shift = pose(views, image, view_stride)
    mean = load_vector(means, 3 * (image * count + place), there)
    tl.store(depths + image * count + place, dot(turn[2], mean) + shift[2], mask=there)


@triton.jit(do_not_specialize=["count", "fx", "fy", "cx", "cy", "near", "limit_x", "limit_y"])
@no_type_check
def project_forward(
    means, scales, quaternions, colors, opacities, views, order,
    means2d, conics, of_colors, of_opacities, order_out,
    count, view_stride, fx, fy, cx, cy, near, limit_x, limit_y,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, MODEL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Splats near to far from Gaussians; `order` [B, K] says which Gaussian each is."""
    image = tl.program_id(0).to(tl.int64)
    rank = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = rank < count
    splat = image * count + rank
    source = tl.load(order + splat, mask=there, other=0)
    place = image * count + source
    point, is_drawn, _, tangents, _, _, _, _, _, _, first, second, _ = placed(
        means, scales, quaternions, views, image, place, there, view_stride, fx, fy, near, limit_x, limit_y, MODEL
    )
    if MODEL == "pinhole":
        x, y = tangents[0], tangents[1]
    else:
        x, y = point[0], point[1]
    tl.store(means2d + 2 * splat, fx * x + cx, mask=there)
    tl.store(means2d + 2 * splat + 1, fy * y + cy, mask=there)
    a, b, c, _, _ = conic(first, second)
    store_vector(conics, 3 * splat, (a, b, c), there)
    opacity = tl.load(opacities + place, mask=there, other=0.0)
    tl.store(of_opacities + splat, tl.where(is_drawn, opacity, 0.0), mask=there)
    channel = tl.arange(0, PADDED)[None, :]
    both = there[:, None] & (channel < CHANNELS)
    value = tl.load(colors + place[:, None] * CHANNELS + channel, mask=both, other=0.0)
    tl.store(of_colors + splat[:, None] * CHANNELS + channel, value, mask=both)
    tl.store(order_out + splat, source.to(tl.int32), mask=there)


@triton.jit(do_not_specialize=["count", "fx", "fy", "near", "limit_x", "limit_y"])
@no_type_check
def project_backward(
    means, scales, quaternions, views, order, by_means2d, by_conics, by_depths, by_colors, by_opacities,
    of_means, of_scales, of_quaternions, of_colors, of_opacities,
    count, view_stride, fx, fy, near, limit_x, limit_y,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, MODEL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of Gaussians from those of their splats: each splat writes to the Gaussian it is."""
    image = tl.program_id(0).to(tl.int64)
    rank = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = rank < count
    splat = image * count + rank
    place = image * count + tl.load(order + splat, mask=there, other=0)
    _, is_drawn, inverse, tangents, slopes, scale, axes, along, across, down, first, second, frame = placed(
        means, scales, quaternions, views, image, place, there, view_stride, fx, fy, near, limit_x, limit_y, MODEL
    )
    by_point, by_scale, by_axes = placed_backward(
        tl.load(by_means2d + 2 * splat, mask=there, other=0.0),
        tl.load(by_means2d + 2 * splat + 1, mask=there, other=0.0),
        load_vector(by_conics, 3 * splat, there),
        tl.load(by_depths + splat, mask=there, other=0.0),
        is_drawn, inverse, tangents, slopes, scale, axes, along, across, down, first, second, frame, fx, fy, MODEL,
    )  # fmt: skip
    turn, _ = pose(views, image, view_stride)
    store_vector(of_means, 3 * place, row_times(by_point, turn), there)
    store_vector(of_scales, 3 * place, by_scale, there)
    by_quaternion = rotation_backward(quaternions, turned_back(turn, by_axes), place, there)
    tl.store(of_quaternions + 4 * place, by_quaternion[0], mask=there)
    store_vector(of_quaternions, 4 * place + 1, (by_quaternion[1], by_quaternion[2], by_quaternion[3]), there)
    by_opacity = tl.load(by_opacities + splat, mask=there, other=0.0)
    tl.store(of_opacities + place, tl.where(is_drawn, by_opacity, 0.0), mask=there)
    channel = tl.arange(0, PADDED)[None, :]
    both = there[:, None] & (channel < CHANNELS)
    value = tl.load(by_colors + splat[:, None] * CHANNELS + channel, mask=both, other=0.0)
    tl.store(of_colors + place[:, None] * CHANNELS + channel, value, mask=both)
