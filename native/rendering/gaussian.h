// The arithmetic of projecting one Gaussian, or a vector of them: splatlearn/rendering/backends/torch/project.py, fused.
// T is float or vfloat. The backward pass recomputes what it needs.
#pragma once

#include <cmath>
#include <limits>

#include "../common/simd.h"
#include "projection.h"

namespace splat {
namespace {

// One number as a T, and the choice between two: what the arithmetic below needs of both kinds of numbers.
template <typename T>
inline T of(float value);
template <>
inline float of<float>(float value) {
    return value;
}
template <>
inline vfloat of<vfloat>(float value) {
    return spread(value);
}
using ::select;
inline float select(bool where, float yes, float no) { return where ? yes : no; }

template <typename T>
struct Masks;
template <>
struct Masks<float> {
    using type = bool;
};
template <>
struct Masks<vfloat> {
    using type = vint;
};
// The result of comparing two T.
template <typename T>
using Mask = typename Masks<T>::type;

template <typename T>
struct Vector {
    T x, y, z;
};

inline Vector<float> load_vector(const float* p) { return {p[0], p[1], p[2]}; }
inline void store_vector(float* p, Vector<float> v) { p[0] = v.x, p[1] = v.y, p[2] = v.z; }

template <typename T>
inline Vector<T> operator+(Vector<T> a, Vector<T> b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <typename T>
inline Vector<T> operator-(Vector<T> a, Vector<T> b) {
    return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <typename T>
inline Vector<T> operator*(Vector<T> a, Vector<T> b) {
    return {a.x * b.x, a.y * b.y, a.z * b.z};
}
template <typename S, typename T>
inline Vector<T> operator*(S s, Vector<T> a) {
    return {s * a.x, s * a.y, s * a.z};
}
template <typename S, typename T>
inline T dot(Vector<S> a, Vector<T> b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <typename T>
inline Vector<T> cross(Vector<T> a, Vector<T> b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

template <typename T>
struct Matrix {
    Vector<T> rows[3];
};

// Row times matrix: the sum of its rows weighted by v.
template <typename S, typename T>
inline Vector<T> operator*(Vector<S> v, const Matrix<T>& m) {
    return v.x * m.rows[0] + v.y * m.rows[1] + v.z * m.rows[2];
}

// From the world to a camera.
struct Pose {
    Matrix<float> turn;
    Vector<float> shift;

    explicit Pose(const float* view)
        : turn{{load_vector(view), load_vector(view + 4), load_vector(view + 8)}}, shift{view[3], view[7], view[11]} {}
    template <typename T>
    Vector<T> apply(Vector<T> p) const {
        const Vector<T> turned{dot(turn.rows[0], p), dot(turn.rows[1], p), dot(turn.rows[2], p)};
        return {turned.x + shift.x, turned.y + shift.y, turned.z + shift.z};
    }
    template <typename T>
    Matrix<T> turned(const Matrix<T>& m) const {
        return {{turn.rows[0] * m, turn.rows[1] * m, turn.rows[2] * m}};
    }
    template <typename T>
    Vector<T> back(Vector<T> v) const {
        const Vector<float> &a = turn.rows[0], &b = turn.rows[1], &c = turn.rows[2];
        return {v.x * a.x + v.y * b.x + v.z * c.x, v.x * a.y + v.y * b.y + v.z * c.y, v.x * a.z + v.y * b.z + v.z * c.z};
    }
    template <typename T>
    Matrix<T> back(const Matrix<T>& m) const {
        const Vector<float> &a = turn.rows[0], &b = turn.rows[1], &c = turn.rows[2];
        return {{Vector<float>{a.x, b.x, c.x} * m, Vector<float>{a.y, b.y, c.y} * m, Vector<float>{a.z, b.z, c.z} * m}};
    }
};

template <typename T>
struct Quaternion {
    T w, x, y, z;
};

// A quaternion of any length, divided out; a zero one gives the zero matrix.
template <typename T>
struct Rotation {
    T w, x, y, z;
    T s;                         // 2 / |q|²
    Mask<T> is_divided;          // false where |q|² is clamped
    Matrix<T> matrix, products;  // the matrix, and it less what its diagonal starts from

    explicit Rotation(Quaternion<T> q) : w(q.w), x(q.x), y(q.y), z(q.z) {
        constexpr float tiny = std::numeric_limits<float>::min();
        const T squared = w * w + x * x + y * y + z * z;
        is_divided = !(squared < tiny);
        s = 2.0f / select(is_divided, squared, of<T>(tiny));
        products = {{{-(s * (y * y + z * z)), s * (x * y - w * z), s * (x * z + w * y)},
                     {s * (x * y + w * z), -(s * (x * x + z * z)), s * (y * z - w * x)},
                     {s * (x * z - w * y), s * (y * z + w * x), -(s * (x * x + y * y))}}};
        const T one = select(squared > 0.0f, of<T>(1.0f), of<T>(0.0f));
        matrix = products;
        matrix.rows[0].x += one, matrix.rows[1].y += one, matrix.rows[2].z += one;
    }

    Quaternion<T> backward(const Matrix<T>& gradient) const {
        const Vector<T> &a = gradient.rows[0], &b = gradient.rows[1], &c = gradient.rows[2];
        // s·q first: s² alone would overflow for short quaternions.
        const T sw = s * w, sx = s * x, sy = s * y, sz = s * z;
        const T by_s = select(is_divided, dot(a, products.rows[0]) + dot(b, products.rows[1]) + dot(c, products.rows[2]),
                              of<T>(0.0f));
        return {sz * (b.x - a.y) + sy * (a.z - c.x) + sx * (c.y - b.z) - sw * by_s,
                sy * (a.y + b.x) + sz * (a.z + c.x) + sw * (c.y - b.z) - 2.0f * sx * (b.y + c.z) - sx * by_s,
                sx * (a.y + b.x) + sz * (b.z + c.y) + sw * (a.z - c.x) - 2.0f * sy * (a.x + c.z) - sy * by_s,
                sx * (a.z + c.x) + sy * (b.z + c.y) + sw * (b.x - a.y) - 2.0f * sz * (a.x + b.y) - sz * by_s};
    }
};

// NaN stays NaN.
template <typename T>
inline T clamp(T value, float limit) {
    return select(value < -limit, of<T>(-limit), select(value > limit, of<T>(limit), value));
}

using ::root;
inline float root(float value) { return std::sqrt(value); }

// Opacities are compensated by no less than the root of this, which makes all of them invisible: formula.py has the same.
constexpr float COMPENSATION_MIN = 1e-12f;

constexpr float POLE = 1e-6f;  // the sine of an angle to the vertical below which a direction has no east

// Rows for a direction before a panorama: east and down in the plane that touches the unit sphere there, and the direction.
template <typename T>
inline Matrix<T> tangent_frame(Vector<T> direction) {
    const T level = root(direction.x * direction.x + direction.z * direction.z), zero = of<T>(0.0f), one = of<T>(1.0f);
    const Mask<T> is_pole = level < POLE;
    const T inverse = 1.0f / select(is_pole, one, level);
    const Vector<T> east{select(is_pole, one, direction.z * inverse), zero, select(is_pole, zero, -(direction.x * inverse))};
    return {{east, cross(direction, east), direction}};
}

// A Gaussian before the camera, and the rows m1, m2 of J W R S. Before a panorama, all is in the frame of the Gaussian's own
// direction, in which the camera is a pinhole that looks straight at it.
template <typename T>
struct Placed {
    Vector<T> point;
    Matrix<T> frame;  // of a panorama
    Mask<T> drawn;
    T inverse, tangent_x, tangent_y, slope_x, slope_y;  // 1/z, x/z, y/z; slopes are tangents after the clamp
    Rotation<T> rotation;
    Vector<T> scales;
    Matrix<T> axes;
    Vector<T> along, across, down;  // rows of W R S: along the camera's axis; to the right and down, less slope times along
    Vector<T> m1, m2;

    Placed(Vector<T> point, Vector<T> scales, Quaternion<T> quaternion, const Pose& pose, const Lens& lens)
        : point(point), drawn(point.z >= lens.near), rotation(quaternion), scales(scales), axes(pose.turned(rotation.matrix)) {
        if (lens.model == Model::PANORAMA) face(lens);
        const T z = select(drawn, this->point.z, of<T>(lens.near));
        inverse = 1.0f / z, tangent_x = this->point.x / z, tangent_y = this->point.y / z;
        slope_x = clamp(tangent_x, lens.limit_x), slope_y = clamp(tangent_y, lens.limit_y);
        along = axes.rows[2] * scales;
        across = axes.rows[0] * scales, down = axes.rows[1] * scales;
        if (lens.model == Model::ORTHOGRAPHIC) {
            m1 = lens.fx * across, m2 = lens.fy * down;
        } else {
            across = across - slope_x * along, down = down - slope_y * along;
            m1 = lens.fx * inverse * across, m2 = lens.fy * inverse * down;
        }
    }

    T mean_x(const Lens& lens) const { return lens.fx * (lens.centers_shrink() ? tangent_x : point.x) + lens.cx; }
    T mean_y(const Lens& lens) const { return lens.fy * (lens.centers_shrink() ? tangent_y : point.y) + lens.cy; }

  private:
    // Turns the camera to the Gaussian.
    void face(const Lens& lens) {
        const T zero = of<T>(0.0f), distance = root(dot(point, point));
        drawn = distance >= lens.near;
        const T inverse = 1.0f / select(drawn, distance, of<T>(lens.near));
        frame = tangent_frame(inverse * point);
        point = {zero, zero, distance};
        axes = {{frame.rows[0] * axes, frame.rows[1] * axes, frame.rows[2] * axes}};
    }
};

// Inverse of M Mᵀ + eps2d·I.
template <typename T>
struct Conic {
    float eps2d;
    Vector<T> normal;  // m1 × m2
    T xx, yy, xy;      // of M Mᵀ
    T a, b, c, determinant;

    Conic(Vector<T> m1, Vector<T> m2, float eps2d)
        : eps2d(eps2d), normal(cross(m1, m2)), xx(dot(m1, m1)), yy(dot(m2, m2)), xy(dot(m1, m2)) {
        // A sum of positive terms: a difference of products would lose thin tilted Gaussians.
        determinant = dot(normal, normal) + eps2d * (xx + yy) + eps2d * eps2d;
        a = (yy + eps2d) / determinant, b = -xy / determinant, c = (xx + eps2d) / determinant;
    }

    // The area of the ellipse before the filter over that after it, by which the filter "mip" multiplies opacities.
    T compensation() const {
        const Mask<T> is_finite = determinant <= std::numeric_limits<float>::max();
        const T ratio = select(is_finite, dot(normal, normal) / determinant, of<T>(1.0f));
        return root(select(ratio < COMPENSATION_MIN, of<T>(COMPENSATION_MIN), ratio));
    }

    // From the gradients of a, b and c, and of the compensation's logarithm if opacities have it, to those of m1 and m2.
    void backward(Vector<T> gradient, const T* by_log, Vector<T> m1, Vector<T> m2, Vector<T>& m1_out, Vector<T>& m2_out) const {
        const T ga = gradient.x / determinant, gb = gradient.y / determinant, gc = gradient.z / determinant;
        T by_determinant = -(ga * a + gb * b + gc * c);
        T by_area = of<T>(0.0f);
        if (by_log) {
            const T squared = dot(normal, normal);
            const Mask<T> is_clamped = !(squared / determinant >= COMPENSATION_MIN);  // also where both overflow
            by_determinant -= select(is_clamped, of<T>(0.0f), 0.5f * *by_log / determinant);
            by_area = select(is_clamped, of<T>(0.0f), 0.5f * *by_log / squared);
        }
        const T by_xx = gc + eps2d * by_determinant, by_yy = ga + eps2d * by_determinant;
        const Vector<T> by_normal = 2.0f * (by_log ? by_determinant + by_area : by_determinant) * normal;
        m1_out = 2.0f * by_xx * m1 - gb * m2 + cross(m2, by_normal);
        m2_out = 2.0f * by_yy * m2 - gb * m1 + cross(by_normal, m1);
    }
};

// Gradients of a Gaussian's place in the camera, its scales and its axes W R there.
template <typename T>
struct PlacedGradients {
    Vector<T> point, scales;
    Matrix<T> axes;
};

// From the gradients of means2d, the rows m1 and m2, and depth; the caller turns those of point and axes back to the world.
template <typename T>
inline PlacedGradients<T> backward_of_rows(const Placed<T>& placed, const Lens& lens, T by_mean_x, T by_mean_y, Vector<T> by_m1,
                                           Vector<T> by_m2, T by_depth) {
    const T shrink = lens.model == Model::ORTHOGRAPHIC ? of<T>(1.0f) : placed.inverse, zero = of<T>(0.0f);
    const Vector<T> by_across = lens.fx * shrink * by_m1;
    const Vector<T> by_down = lens.fy * shrink * by_m2;
    Vector<T> by_along{zero, zero, zero};
    T by_tangent_x = zero, by_tangent_y = zero, by_z = zero;
    if (lens.model != Model::ORTHOGRAPHIC) {
        by_along = by_along - placed.slope_x * by_across - placed.slope_y * by_down;
        by_tangent_x = select(placed.slope_x == placed.tangent_x, -dot(by_across, placed.along), zero);
        by_tangent_y = select(placed.slope_y == placed.tangent_y, -dot(by_down, placed.along), zero);
        by_z = -placed.inverse * (dot(by_across, placed.across) + dot(by_down, placed.down));
    }
    T by_x = lens.fx * by_mean_x, by_y = lens.fy * by_mean_y;
    if (lens.centers_shrink()) {
        by_tangent_x += by_x, by_tangent_y += by_y;
        by_x = by_y = zero;
    }
    by_x += by_tangent_x * placed.inverse, by_y += by_tangent_y * placed.inverse;
    by_z -= (by_tangent_x * placed.tangent_x + by_tangent_y * placed.tangent_y) * placed.inverse;
    by_z = select(placed.drawn, by_z, zero) + by_depth;
    PlacedGradients<T> by{{by_x, by_y, by_z},
                          by_across * placed.axes.rows[0] + by_down * placed.axes.rows[1] + by_along * placed.axes.rows[2],
                          {{by_across * placed.scales, by_down * placed.scales, by_along * placed.scales}}};
    if (lens.model == Model::PANORAMA) {
        const Vector<T> &a = placed.frame.rows[0], &b = placed.frame.rows[1], &c = placed.frame.rows[2];
        by.point = by.point * placed.frame;
        by.axes = {{Vector<T>{a.x, b.x, c.x} * by.axes, Vector<T>{a.y, b.y, c.y} * by.axes, Vector<T>{a.z, b.z, c.z} * by.axes}};
    }
    return by;
}

// The same from the gradients of the conic in place of the rows', and `by_log` of the compensation's logarithm, or null.
template <typename T>
inline PlacedGradients<T> backward_of(const Placed<T>& placed, const Lens& lens, T by_mean_x, T by_mean_y, Vector<T> by_conic,
                                      T by_depth, const T* by_log) {
    Vector<T> by_m1, by_m2;
    Conic<T>(placed.m1, placed.m2, lens.eps2d).backward(by_conic, by_log, placed.m1, placed.m2, by_m1, by_m2);
    return backward_of_rows(placed, lens, by_mean_x, by_mean_y, by_m1, by_m2, by_depth);
}

}  // namespace
}  // namespace splat
