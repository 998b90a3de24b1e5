"""Projection on a GPU in Triton: one thread for a Gaussian, as `projection.py` does it, backward by recomputation.

Vectors are tuples of three, matrices tuples of their rows. Depths come first, PyTorch sorts them (stably, NaN last),
then each thread places the Gaussian that belongs to its splat.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.rendering import formula

EPS2D = tl.constexpr(formula.EPS2D)
TINY = tl.constexpr(1.1754943508222875e-38)
"""The smallest normal float32, below which a squared quaternion is not divided out."""


@triton.jit
@no_type_check
def _vector(values, place, there):
    return (
        tl.load(values + place, mask=there, other=0.0),
        tl.load(values + place + 1, mask=there, other=0.0),
        tl.load(values + place + 2, mask=there, other=0.0),
    )


@triton.jit
@no_type_check
def _store(values, place, vector, there):
    tl.store(values + place, vector[0], mask=there)
    tl.store(values + place + 1, vector[1], mask=there)
    tl.store(values + place + 2, vector[2], mask=there)


@triton.jit
@no_type_check
def _dot(one, other):
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


@triton.jit
@no_type_check
def _times(one, other):
    return one[0] * other[0], one[1] * other[1], one[2] * other[2]


@triton.jit
@no_type_check
def _scaled(factor, vector):
    return factor * vector[0], factor * vector[1], factor * vector[2]


@triton.jit
@no_type_check
def _sum(one, other):
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


@triton.jit
@no_type_check
def _cross(one, other):
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


@triton.jit
@no_type_check
def _row_times(row, matrix):
    """Row times matrix: the sum of its rows, weighted."""
    return _sum(_sum(_scaled(row[0], matrix[0]), _scaled(row[1], matrix[1])), _scaled(row[2], matrix[2]))


@triton.jit
@no_type_check
def _pose(views, image, view_stride):
    """The rows of the rotation from world to camera, and the shift."""
    view = views + image * view_stride
    turn = (_vector(view, 0, True), _vector(view, 4, True), _vector(view, 8, True))
    return turn, (tl.load(view + 3), tl.load(view + 7), tl.load(view + 11))


@triton.jit
@no_type_check
def _clamp(value, limit):
    """NaN stays NaN."""
    return tl.where(value < -limit, -limit, tl.where(value > limit, limit, value))


@triton.jit
@no_type_check
def _rotation(quaternions, place, there):
    """The quaternion, its factor 2/|q|², whether that was divided, the matrix, and that less its diagonal's start.

    A quaternion of any length is divided out; a zero one gives the zero matrix.
    """
    w = tl.load(quaternions + 4 * place, mask=there, other=0.0)
    x, y, z = _vector(quaternions, 4 * place + 1, there)
    squared = w * w + x * x + y * y + z * z
    is_divided = (squared < TINY) == 0
    s = 2.0 / tl.where(is_divided, squared, TINY)
    products = (
        (-(s * (y * y + z * z)), s * (x * y - w * z), s * (x * z + w * y)),
        (s * (x * y + w * z), -(s * (x * x + z * z)), s * (y * z - w * x)),
        (s * (x * z - w * y), s * (y * z + w * x), -(s * (x * x + y * y))),
    )
    one = tl.where(squared > 0.0, 1.0, 0.0)
    matrix = (
        (products[0][0] + one, products[0][1], products[0][2]),
        (products[1][0], products[1][1] + one, products[1][2]),
        (products[2][0], products[2][1], products[2][2] + one),
    )
    return (w, x, y, z), s, is_divided, matrix, products


@triton.jit
@no_type_check
def _placed(means, scales, quaternions, views, image, place, there, view_stride, fx, fy, near, limit_x, limit_y,
            MODEL: tl.constexpr):  # fmt: skip
    """A Gaussian before the camera, and the rows of J W R S.

    Returns the point; whether it is drawn; 1/z, tangents and slopes (tangents after the clamp); scales and axes; the
    rows of W R S along, across and down, the latter two less slope times along; the rows of J W R S.
    """
    turn, shift = _pose(views, image, view_stride)
    mean = _vector(means, 3 * place, there)
    point = _sum((_dot(turn[0], mean), _dot(turn[1], mean), _dot(turn[2], mean)), shift)
    is_drawn = point[2] >= near
    z = tl.where(is_drawn, point[2], near)
    inverse = 1.0 / z
    tangents = (point[0] / z, point[1] / z)
    slopes = (_clamp(tangents[0], limit_x), _clamp(tangents[1], limit_y))
    scale = _vector(scales, 3 * place, there)
    _, _, _, matrix, _ = _rotation(quaternions, place, there)
    axes = (_row_times(turn[0], matrix), _row_times(turn[1], matrix), _row_times(turn[2], matrix))
    along, across, down = _times(axes[2], scale), _times(axes[0], scale), _times(axes[1], scale)
    if MODEL == "orthographic":
        first, second = _scaled(fx, across), _scaled(fy, down)
    else:
        across = _sum(across, _scaled(-slopes[0], along))
        down = _sum(down, _scaled(-slopes[1], along))
        first, second = _scaled(fx * inverse, across), _scaled(fy * inverse, down)
    return point, is_drawn, inverse, tangents, slopes, scale, axes, along, across, down, first, second


@triton.jit
@no_type_check
def _conic(first, second):
    """Inverse of M Mᵀ + EPS2D·I, the determinant as a sum of positive terms; and m₁ × m₂."""
    normal = _cross(first, second)
    xx, yy, xy = _dot(first, first), _dot(second, second), _dot(first, second)
    determinant = _dot(normal, normal) + EPS2D * (xx + yy) + EPS2D * EPS2D
    return (yy + EPS2D) / determinant, -xy / determinant, (xx + EPS2D) / determinant, determinant, normal


@triton.jit
@no_type_check
def write_view(view, a, b, c, d, e, f, g, h, i, j, k, m):
    """The upper three rows of a matrix, from numbers that the host holds."""
    _store(view, 0, (a, b, c), True)
    tl.store(view + 3, d)
    _store(view, 4, (e, f, g), True)
    tl.store(view + 7, h)
    _store(view, 8, (i, j, k), True)
    tl.store(view + 11, m)


@triton.jit(do_not_specialize=["count"])
@no_type_check
def depths_of(means, views, depths, count, view_stride, BLOCK: tl.constexpr):
    """Depths of Gaussians in the order in which they came."""
    image = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    turn, shift = _pose(views, image, view_stride)
    mean = _vector(means, 3 * (image * count + place), there)
    tl.store(depths + image * count + place, _dot(turn[2], mean) + shift[2], mask=there)


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
    point, is_drawn, _, tangents, _, _, _, _, _, _, first, second = _placed(
        means, scales, quaternions, views, image, place, there, view_stride, fx, fy, near, limit_x, limit_y, MODEL
    )
    if MODEL == "pinhole":
        x, y = tangents[0], tangents[1]
    else:
        x, y = point[0], point[1]
    tl.store(means2d + 2 * splat, fx * x + cx, mask=there)
    tl.store(means2d + 2 * splat + 1, fy * y + cy, mask=there)
    a, b, c, _, _ = _conic(first, second)
    _store(conics, 3 * splat, (a, b, c), there)
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
    _, is_drawn, inverse, tangents, slopes, scale, axes, along, across, down, first, second = _placed(
        means, scales, quaternions, views, image, place, there, view_stride, fx, fy, near, limit_x, limit_y, MODEL
    )
    by_conic = _vector(by_conics, 3 * splat, there)
    by_first, by_second = _conic_backward(by_conic, first, second)

    by_x = fx * tl.load(by_means2d + 2 * splat, mask=there, other=0.0)
    by_y = fy * tl.load(by_means2d + 2 * splat + 1, mask=there, other=0.0)
    by_z = tl.load(by_depths + splat, mask=there, other=0.0)
    if MODEL == "orthographic":
        by_across, by_down = _scaled(fx, by_first), _scaled(fy, by_second)
        by_along = _scaled(0.0, along)
    else:
        by_across, by_down = _scaled(fx * inverse, by_first), _scaled(fy * inverse, by_second)
        by_along = _sum(_scaled(-slopes[0], by_across), _scaled(-slopes[1], by_down))
        by_tangent_x = tl.where(slopes[0] == tangents[0], -_dot(by_across, along), 0.0)
        by_tangent_y = tl.where(slopes[1] == tangents[1], -_dot(by_down, along), 0.0)
        by_inverse_z = -inverse * (_dot(by_across, across) + _dot(by_down, down))
        if MODEL == "pinhole":
            by_tangent_x += by_x
            by_tangent_y += by_y
            by_x, by_y = by_tangent_x * inverse, by_tangent_y * inverse
        else:
            by_x += by_tangent_x * inverse
            by_y += by_tangent_y * inverse
        by_inverse_z -= (by_tangent_x * tangents[0] + by_tangent_y * tangents[1]) * inverse
        by_z += tl.where(is_drawn, by_inverse_z, 0.0)

    turn, _ = _pose(views, image, view_stride)
    _store(of_means, 3 * place, _row_times((by_x, by_y, by_z), turn), there)
    by_scale = _sum(_sum(_times(by_across, axes[0]), _times(by_down, axes[1])), _times(by_along, axes[2]))
    _store(of_scales, 3 * place, by_scale, there)
    by_axes = (_times(by_across, scale), _times(by_down, scale), _times(by_along, scale))
    by_matrix = (
        _row_times((turn[0][0], turn[1][0], turn[2][0]), by_axes),
        _row_times((turn[0][1], turn[1][1], turn[2][1]), by_axes),
        _row_times((turn[0][2], turn[1][2], turn[2][2]), by_axes),
    )
    _rotation_backward(quaternions, of_quaternions, by_matrix, place, there)
    by_opacity = tl.load(by_opacities + splat, mask=there, other=0.0)
    tl.store(of_opacities + place, tl.where(is_drawn, by_opacity, 0.0), mask=there)
    channel = tl.arange(0, PADDED)[None, :]
    both = there[:, None] & (channel < CHANNELS)
    value = tl.load(by_colors + splat[:, None] * CHANNELS + channel, mask=both, other=0.0)
    tl.store(of_colors + place[:, None] * CHANNELS + channel, value, mask=both)


@triton.jit
@no_type_check
def _conic_backward(gradient, first, second):
    """Gradients of the rows of J W R S."""
    a, b, c, determinant, normal = _conic(first, second)
    by_a, by_b, by_c = gradient[0] / determinant, gradient[1] / determinant, gradient[2] / determinant
    by_determinant = -(by_a * a + by_b * b + by_c * c)
    by_xx, by_yy = by_c + EPS2D * by_determinant, by_a + EPS2D * by_determinant
    by_normal = _scaled(2.0 * by_determinant, normal)
    by_first = _sum(_sum(_scaled(2.0 * by_xx, first), _scaled(-by_b, second)), _cross(second, by_normal))
    by_second = _sum(_sum(_scaled(2.0 * by_yy, second), _scaled(-by_b, first)), _cross(by_normal, first))
    return by_first, by_second


@triton.jit
@no_type_check
def _rotation_backward(quaternions, results, gradient, place, there):
    quaternion, s, is_divided, _, products = _rotation(quaternions, place, there)
    a, b, c = gradient[0], gradient[1], gradient[2]
    # s·q first: s² alone would overflow for short quaternions.
    sw, sx, sy, sz = s * quaternion[0], s * quaternion[1], s * quaternion[2], s * quaternion[3]
    through = _dot(a, products[0]) + _dot(b, products[1]) + _dot(c, products[2])
    by_s = tl.where(is_divided, through, 0.0)
    w = sz * (b[0] - a[1]) + sy * (a[2] - c[0]) + sx * (c[1] - b[2]) - sw * by_s
    x = sy * (a[1] + b[0]) + sz * (a[2] + c[0]) + sw * (c[1] - b[2]) - 2.0 * sx * (b[1] + c[2]) - sx * by_s
    y = sx * (a[1] + b[0]) + sz * (b[2] + c[1]) + sw * (a[2] - c[0]) - 2.0 * sy * (a[0] + c[2]) - sy * by_s
    z = sx * (a[2] + c[0]) + sy * (b[2] + c[1]) + sw * (b[0] - a[1]) - 2.0 * sz * (a[0] + b[1]) - sz * by_s
    tl.store(results + 4 * place, w, mask=there)
    _store(results, 4 * place + 1, (x, y, z), there)
