"""The arithmetic of placing Gaussians before a camera, one in each thread, and its derivatives.

Vectors are tuples of three, matrices tuples of their rows. What is computed is that of `native/rendering/gaussian.h`.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.rendering import formula

EPS2D = tl.constexpr(formula.EPS2D)
COMPENSATION_MIN = tl.constexpr(formula.COMPENSATION_MIN)
LARGEST = tl.constexpr(3.4028234663852886e38)
"""The largest finite float32."""
POLE = tl.constexpr(1e-6)
"""The sine of an angle to the vertical below which a direction has no east."""
TINY = tl.constexpr(1.1754943508222875e-38)
"""The smallest normal float32, below which a squared quaternion is not divided out."""


@triton.jit
@no_type_check
def load_vector(values, place, there):
    """The three numbers from `place` on; 0 where not `there`."""
    return (
        tl.load(values + place, mask=there, other=0.0),
        tl.load(values + place + 1, mask=there, other=0.0),
        tl.load(values + place + 2, mask=there, other=0.0),
    )


@triton.jit
@no_type_check
def store_vector(values, place, vector, there):
    """Write a vector to the three numbers from `place` on, where `there`."""
    tl.store(values + place, vector[0], mask=there)
    tl.store(values + place + 1, vector[1], mask=there)
    tl.store(values + place + 2, vector[2], mask=there)


@triton.jit
@no_type_check
def dot(one, other):
    """The scalar product of two vectors."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


@triton.jit
@no_type_check
def times(one, other):
    """The products of the components of two vectors."""
    return one[0] * other[0], one[1] * other[1], one[2] * other[2]


@triton.jit
@no_type_check
def scaled(factor, vector):
    """A vector times a number."""
    return factor * vector[0], factor * vector[1], factor * vector[2]


@triton.jit
@no_type_check
def plus(one, other):
    """The sum of two vectors."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


@triton.jit
@no_type_check
def cross(one, other):
    """The vector product, `one` × `other`."""
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


@triton.jit
@no_type_check
def row_times(row, matrix):
    """Row times matrix: the sum of its rows, weighted."""
    return plus(plus(scaled(row[0], matrix[0]), scaled(row[1], matrix[1])), scaled(row[2], matrix[2]))


@triton.jit
@no_type_check
def pose(views, image, view_stride):
    """The rows of the rotation from world to camera, and the shift."""
    view = views + image * view_stride
    turn = (load_vector(view, 0, True), load_vector(view, 4, True), load_vector(view, 8, True))
    return turn, (tl.load(view + 3), tl.load(view + 7), tl.load(view + 11))


@triton.jit
@no_type_check
def within(value, limit):
    """NaN stays NaN."""
    return tl.where(value < -limit, -limit, tl.where(value > limit, limit, value))


@triton.jit
@no_type_check
def rotation(quaternions, place, there):
    """The quaternion, its factor 2/|q|², whether that was divided, the matrix, and that less its diagonal's start.

    A quaternion of any length is divided out; a zero one gives the zero matrix.
    """
    w = tl.load(quaternions + 4 * place, mask=there, other=0.0)
    x, y, z = load_vector(quaternions, 4 * place + 1, there)
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
def tangent_frame(direction):
    """Rows for a direction before a panorama: east and down in the tangent plane, and the direction."""
    level = tl.sqrt(direction[0] * direction[0] + direction[2] * direction[2])
    is_pole = level < POLE
    inverse = 1.0 / tl.where(is_pole, 1.0, level)
    east = (
        tl.where(is_pole, 1.0, direction[2] * inverse),
        tl.zeros_like(level),
        tl.where(is_pole, 0.0, -direction[0] * inverse),
    )
    return east, cross(direction, east), direction


@triton.jit
@no_type_check
def placed(means, scales, quaternions, views, image, place, there, view_stride, fx, fy, near, limit_x, limit_y,
            MODEL: tl.constexpr):  # fmt: skip
    """A Gaussian before the camera, and the rows of J W R S.

    Returns the point; whether it is drawn; 1/z, tangents and slopes (tangents after the clamp); scales and axes; the
    rows of W R S along, across and down, the latter two less slope times along; the rows of J W R S. Before a panorama,
    all is in the frame of the Gaussian's own direction (the last result), in which the camera is a pinhole of focal
    length `fx` = `fy` that looks straight at it; before any other camera, the frame is that of the camera.
    """
    turn, shift = pose(views, image, view_stride)
    mean = load_vector(means, 3 * place, there)
    point = plus((dot(turn[0], mean), dot(turn[1], mean), dot(turn[2], mean)), shift)
    frame = turn
    if MODEL == "panorama":
        distance = tl.sqrt(dot(point, point))
        frame = tangent_frame(scaled(1.0 / tl.where(distance >= near, distance, near), point))
        none = tl.zeros_like(distance)
        point = (none, none, distance)
    is_drawn = point[2] >= near
    z = tl.where(is_drawn, point[2], near)
    inverse = 1.0 / z
    tangents = (point[0] / z, point[1] / z)
    slopes = (within(tangents[0], limit_x), within(tangents[1], limit_y))
    scale = load_vector(scales, 3 * place, there)
    _, _, _, matrix, _ = rotation(quaternions, place, there)
    axes = (row_times(turn[0], matrix), row_times(turn[1], matrix), row_times(turn[2], matrix))
    if MODEL == "panorama":
        axes = (row_times(frame[0], axes), row_times(frame[1], axes), row_times(frame[2], axes))
    along, across, down = times(axes[2], scale), times(axes[0], scale), times(axes[1], scale)
    if MODEL == "orthographic":
        first, second = scaled(fx, across), scaled(fy, down)
    else:
        across = plus(across, scaled(-slopes[0], along))
        down = plus(down, scaled(-slopes[1], along))
        first, second = scaled(fx * inverse, across), scaled(fy * inverse, down)
    return point, is_drawn, inverse, tangents, slopes, scale, axes, along, across, down, first, second, frame


@triton.jit
@no_type_check
def conic(first, second):
    """Inverse of M Mᵀ + EPS2D·I, the determinant as a sum of positive terms; and m₁ × m₂."""
    normal = cross(first, second)
    xx, yy, xy = dot(first, first), dot(second, second), dot(first, second)
    determinant = dot(normal, normal) + EPS2D * (xx + yy) + EPS2D * EPS2D
    return (yy + EPS2D) / determinant, -xy / determinant, (xx + EPS2D) / determinant, determinant, normal


@triton.jit
@no_type_check
def compensation(determinant, normal):
    """The area of the ellipse before the filter over that after it, by which the filter "mip" multiplies opacities."""
    ratio = tl.where(determinant <= LARGEST, dot(normal, normal) / determinant, 1.0)
    return tl.sqrt(tl.where(ratio < COMPENSATION_MIN, COMPENSATION_MIN, ratio))


@triton.jit
@no_type_check
def placed_backward(by_x, by_y, by_conic, by_z, is_drawn, inverse, tangents, slopes, scale, axes, along, across, down,
                     first, second, frame, fx, fy, MODEL: tl.constexpr, by_log=None):  # fmt: skip
    """Gradients of the point before the camera, of scales and of axes, from those of means2d, conic and depth.

    `by_log`: the gradient of the logarithm of `compensation`, or None.
    """
    by_first, by_second = conic_backward(by_conic, by_log, first, second)
    by_x, by_y = fx * by_x, fy * by_y
    if MODEL == "orthographic":
        by_across, by_down = scaled(fx, by_first), scaled(fy, by_second)
        by_along = scaled(0.0, along)
    else:
        by_across, by_down = scaled(fx * inverse, by_first), scaled(fy * inverse, by_second)
        by_along = plus(scaled(-slopes[0], by_across), scaled(-slopes[1], by_down))
        by_tangent_x = tl.where(slopes[0] == tangents[0], -dot(by_across, along), 0.0)
        by_tangent_y = tl.where(slopes[1] == tangents[1], -dot(by_down, along), 0.0)
        by_inverse_z = -inverse * (dot(by_across, across) + dot(by_down, down))
        if MODEL == "pinhole" or MODEL == "panorama":
            by_tangent_x += by_x
            by_tangent_y += by_y
            by_x, by_y = by_tangent_x * inverse, by_tangent_y * inverse
        else:
            by_x += by_tangent_x * inverse
            by_y += by_tangent_y * inverse
        by_inverse_z -= (by_tangent_x * tangents[0] + by_tangent_y * tangents[1]) * inverse
        by_z += tl.where(is_drawn, by_inverse_z, 0.0)
    by_scale = plus(plus(times(by_across, axes[0]), times(by_down, axes[1])), times(by_along, axes[2]))
    by_point, by_axes = (by_x, by_y, by_z), (times(by_across, scale), times(by_down, scale), times(by_along, scale))
    if MODEL == "panorama":
        by_point, by_axes = row_times(by_point, frame), turned_back(frame, by_axes)
    return by_point, by_scale, by_axes


@triton.jit
@no_type_check
def turned_back(turn, matrix):
    """The transpose of a rotation times a matrix."""
    return (
        row_times((turn[0][0], turn[1][0], turn[2][0]), matrix),
        row_times((turn[0][1], turn[1][1], turn[2][1]), matrix),
        row_times((turn[0][2], turn[1][2], turn[2][2]), matrix),
    )


@triton.jit
@no_type_check
def conic_backward(gradient, by_log, first, second):
    """Gradients of the rows of J W R S."""
    a, b, c, determinant, normal = conic(first, second)
    by_a, by_b, by_c = gradient[0] / determinant, gradient[1] / determinant, gradient[2] / determinant
    by_determinant = -(by_a * a + by_b * b + by_c * c)
    by_area = tl.zeros_like(by_determinant)
    if by_log is not None:
        squared = dot(normal, normal)
        # Also where both overflow.
        is_clamped = (squared / determinant >= COMPENSATION_MIN) == 0
        by_determinant -= tl.where(is_clamped, 0.0, 0.5 * by_log / determinant)
        by_area = tl.where(is_clamped, 0.0, 0.5 * by_log / squared)
    by_xx, by_yy = by_c + EPS2D * by_determinant, by_a + EPS2D * by_determinant
    by_normal = scaled(2.0 * (by_determinant + by_area), normal)
    by_first = plus(plus(scaled(2.0 * by_xx, first), scaled(-by_b, second)), cross(second, by_normal))
    by_second = plus(plus(scaled(2.0 * by_yy, second), scaled(-by_b, first)), cross(by_normal, first))
    return by_first, by_second


@triton.jit
@no_type_check
def rotation_backward(quaternions, gradient, place, there):
    """The gradient of a quaternion (w, x, y, z) from that of its matrix."""
    quaternion, s, is_divided, _, products = rotation(quaternions, place, there)
    a, b, c = gradient[0], gradient[1], gradient[2]
    # s·q first: s² alone would overflow for short quaternions.
    sw, sx, sy, sz = s * quaternion[0], s * quaternion[1], s * quaternion[2], s * quaternion[3]
    through = dot(a, products[0]) + dot(b, products[1]) + dot(c, products[2])
    by_s = tl.where(is_divided, through, 0.0)
    w = sz * (b[0] - a[1]) + sy * (a[2] - c[0]) + sx * (c[1] - b[2]) - sw * by_s
    x = sy * (a[1] + b[0]) + sz * (a[2] + c[0]) + sw * (c[1] - b[2]) - 2.0 * sx * (b[1] + c[2]) - sx * by_s
    y = sx * (a[1] + b[0]) + sz * (b[2] + c[1]) + sw * (a[2] - c[0]) - 2.0 * sy * (a[0] + c[2]) - sy * by_s
    z = sx * (a[2] + c[0]) + sy * (b[2] + c[1]) + sw * (b[0] - a[1]) - 2.0 * sz * (a[0] + b[1]) - sz * by_s
    return w, x, y, z
