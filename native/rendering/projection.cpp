// One Gaussian at a time, in the arithmetic of the specification (backends/torch/project.py); the backward pass recomputes what it needs.
#include "projection.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace splat {
namespace {

struct Vector {
    float x, y, z;
};

Vector load(const float* p) { return {p[0], p[1], p[2]}; }
void store(float* p, Vector v) { p[0] = v.x, p[1] = v.y, p[2] = v.z; }
Vector operator+(Vector a, Vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
Vector operator-(Vector a, Vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
Vector operator*(Vector a, Vector b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
Vector operator*(float s, Vector a) { return {s * a.x, s * a.y, s * a.z}; }
float dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
Vector cross(Vector a, Vector b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }

struct Matrix {
    Vector rows[3];
};

// Row times matrix: the sum of its rows weighted by v.
Vector operator*(Vector v, const Matrix& m) { return v.x * m.rows[0] + v.y * m.rows[1] + v.z * m.rows[2]; }

struct Pose {
    Matrix turn;
    Vector shift;

    explicit Pose(const float* view)
        : turn{{load(view), load(view + 4), load(view + 8)}}, shift{view[3], view[7], view[11]} {}
    Vector apply(Vector p) const {
        return Vector{dot(turn.rows[0], p), dot(turn.rows[1], p), dot(turn.rows[2], p)} + shift;
    }
    Matrix turned(const Matrix& m) const { return {{turn.rows[0] * m, turn.rows[1] * m, turn.rows[2] * m}}; }
    Vector back(Vector v) const { return v * turn; }
    Matrix back(const Matrix& m) const {
        const Vector &a = turn.rows[0], &b = turn.rows[1], &c = turn.rows[2];
        return {{Vector{a.x, b.x, c.x} * m, Vector{a.y, b.y, c.y} * m, Vector{a.z, b.z, c.z} * m}};
    }
};

// A quaternion of any length, divided out; a zero one gives the zero matrix.
struct Rotation {
    float w, x, y, z;
    float s;            // 2 / |q|²
    bool is_divided;    // false where |q|² is clamped
    Matrix matrix, products;  // the matrix, and it less what its diagonal starts from

    explicit Rotation(const float* q) : w(q[0]), x(q[1]), y(q[2]), z(q[3]) {
        constexpr float tiny = std::numeric_limits<float>::min();
        const float squared = w * w + x * x + y * y + z * z;
        is_divided = !(squared < tiny);
        s = 2.0f / (is_divided ? squared : tiny);
        products = {{{-(s * (y * y + z * z)), s * (x * y - w * z), s * (x * z + w * y)},
                     {s * (x * y + w * z), -(s * (x * x + z * z)), s * (y * z - w * x)},
                     {s * (x * z - w * y), s * (y * z + w * x), -(s * (x * x + y * y))}}};
        const float one = squared > 0.0f ? 1.0f : 0.0f;
        matrix = products;
        matrix.rows[0].x += one, matrix.rows[1].y += one, matrix.rows[2].z += one;
    }

    void backward(const Matrix& gradient, float* out) const {
        const Vector &a = gradient.rows[0], &b = gradient.rows[1], &c = gradient.rows[2];
        // s·q first: s² alone would overflow for short quaternions.
        const float sw = s * w, sx = s * x, sy = s * y, sz = s * z;
        const float by_s =
            is_divided ? dot(a, products.rows[0]) + dot(b, products.rows[1]) + dot(c, products.rows[2]) : 0.0f;
        out[0] = sz * (b.x - a.y) + sy * (a.z - c.x) + sx * (c.y - b.z) - sw * by_s;
        out[1] = sy * (a.y + b.x) + sz * (a.z + c.x) + sw * (c.y - b.z) - 2.0f * sx * (b.y + c.z) - sx * by_s;
        out[2] = sx * (a.y + b.x) + sz * (b.z + c.y) + sw * (a.z - c.x) - 2.0f * sy * (a.x + c.z) - sy * by_s;
        out[3] = sx * (a.z + c.x) + sy * (b.z + c.y) + sw * (b.x - a.y) - 2.0f * sz * (a.x + b.y) - sz * by_s;
    }
};

// NaN stays NaN.
float clamp(float value, float limit) { return value < -limit ? -limit : value > limit ? limit : value; }

// A Gaussian before the camera, and the rows m1, m2 of J W R S.
struct Placed {
    Vector point;
    bool drawn;
    float inverse, tangent_x, tangent_y, slope_x, slope_y;  // 1/z, x/z, y/z; slopes are tangents after the clamp
    Rotation rotation;
    Vector scales;
    Matrix axes;
    Vector along, across, down;  // rows of W R S: along the camera's axis; to the right and down, less slope times along
    Vector m1, m2;

    Placed(const Cloud& cloud, const Pose& pose, const Lens& lens, int i)
        : point(pose.apply(load(cloud.means + 3 * i))),
          drawn(point.z >= lens.near),
          rotation(cloud.quaternions + 4 * i),
          scales(load(cloud.scales + 3 * i)),
          axes(pose.turned(rotation.matrix)) {
        const float z = drawn ? point.z : lens.near;
        inverse = 1.0f / z, tangent_x = point.x / z, tangent_y = point.y / z;
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
};

// Inverse of M Mᵀ + EPS2D·I.
struct Conic {
    Vector normal;  // m1 × m2
    float a, b, c, determinant;

    Conic(Vector m1, Vector m2) : normal(cross(m1, m2)) {
        const float xx = dot(m1, m1), yy = dot(m2, m2), xy = dot(m1, m2);
        // A sum of positive terms: a difference of products would lose thin tilted Gaussians.
        determinant = dot(normal, normal) + EPS2D * (xx + yy) + EPS2D * EPS2D;
        a = (yy + EPS2D) / determinant, b = -xy / determinant, c = (xx + EPS2D) / determinant;
    }

    void backward(const float* gradient, Vector m1, Vector m2, Vector& m1_out, Vector& m2_out) const {
        const float ga = gradient[0] / determinant, gb = gradient[1] / determinant, gc = gradient[2] / determinant;
        const float by_determinant = -(ga * a + gb * b + gc * c);
        const float by_xx = gc + EPS2D * by_determinant, by_yy = ga + EPS2D * by_determinant;
        const Vector by_normal = 2.0f * by_determinant * normal;
        m1_out = 2.0f * by_xx * m1 - gb * m2 + cross(m2, by_normal);
        m2_out = 2.0f * by_yy * m2 - gb * m1 + cross(by_normal, m1);
    }
};

// Near to far, equal depths in the order they came, NaN last.
void sort_by_depth(const Cloud& cloud, const Pose& pose, int32_t* order) {
    std::vector<uint64_t> keys(cloud.count);
    for (int i = 0; i < cloud.count; ++i) {
        const float depth = pose.apply(load(cloud.means + 3 * i)).z + 0.0f;  // -0 becomes 0
        uint32_t bits;
        std::memcpy(&bits, &depth, sizeof bits);
        // Unsigned integers in the order of the floats; the place behind them keeps ties apart.
        bits = std::isnan(depth) ? ~0u : bits >> 31 ? ~bits : bits | 0x80000000u;
        keys[i] = static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(i);
    }
    std::sort(keys.begin(), keys.end());
    for (int k = 0; k < cloud.count; ++k) order[k] = static_cast<int32_t>(keys[k] & 0xffffffffu);
}

}  // namespace

void project(const Cloud& cloud, const Lens& lens, const Sorted& out) {
    const Pose pose(cloud.view);
    sort_by_depth(cloud, pose, out.order);
    for (int k = 0; k < cloud.count; ++k) {
        const int i = out.order[k];
        const Placed placed(cloud, pose, lens, i);
        const bool perspective = lens.model == Model::PINHOLE;
        out.means2d[2 * k] = lens.fx * (perspective ? placed.tangent_x : placed.point.x) + lens.cx;
        out.means2d[2 * k + 1] = lens.fy * (perspective ? placed.tangent_y : placed.point.y) + lens.cy;
        const Conic conic(placed.m1, placed.m2);
        store(out.conics + 3 * k, {conic.a, conic.b, conic.c});
        out.depths[k] = placed.point.z;
        out.opacities[k] = placed.drawn ? cloud.opacities[i] : 0.0f;
        std::copy_n(cloud.colors + static_cast<size_t>(i) * cloud.channels, cloud.channels,
                    out.colors + static_cast<size_t>(k) * cloud.channels);
    }
}

void project_backward(const Cloud& cloud, const Lens& lens, const SortedGradients& in, const CloudGradients& out) {
    const Pose pose(cloud.view);
    for (int k = 0; k < cloud.count; ++k) {
        const int i = in.order[k];
        const Placed placed(cloud, pose, lens, i);
        Vector by_m1, by_m2;
        Conic(placed.m1, placed.m2).backward(in.conics + 3 * k, placed.m1, placed.m2, by_m1, by_m2);

        const Vector by_across = lens.fx * (lens.model == Model::ORTHOGRAPHIC ? 1.0f : placed.inverse) * by_m1;
        const Vector by_down = lens.fy * (lens.model == Model::ORTHOGRAPHIC ? 1.0f : placed.inverse) * by_m2;
        Vector by_along{0.0f, 0.0f, 0.0f};
        float by_tangent_x = 0.0f, by_tangent_y = 0.0f, by_z = 0.0f;
        if (lens.model != Model::ORTHOGRAPHIC) {
            by_along = by_along - placed.slope_x * by_across - placed.slope_y * by_down;
            if (placed.slope_x == placed.tangent_x) by_tangent_x = -dot(by_across, placed.along);
            if (placed.slope_y == placed.tangent_y) by_tangent_y = -dot(by_down, placed.along);
            by_z = -placed.inverse * (dot(by_across, placed.across) + dot(by_down, placed.down));
        }
        float by_x = lens.fx * in.means2d[2 * k], by_y = lens.fy * in.means2d[2 * k + 1];
        if (lens.model == Model::PINHOLE) {
            by_tangent_x += by_x, by_tangent_y += by_y;
            by_x = by_y = 0.0f;
        }
        by_x += by_tangent_x * placed.inverse, by_y += by_tangent_y * placed.inverse;
        by_z -= (by_tangent_x * placed.tangent_x + by_tangent_y * placed.tangent_y) * placed.inverse;
        by_z = (placed.drawn ? by_z : 0.0f) + in.depths[k];

        store(out.means + 3 * i, pose.back(Vector{by_x, by_y, by_z}));
        store(out.scales + 3 * i,
              by_across * placed.axes.rows[0] + by_down * placed.axes.rows[1] + by_along * placed.axes.rows[2]);
        const Matrix by_axes{{by_across * placed.scales, by_down * placed.scales, by_along * placed.scales}};
        placed.rotation.backward(pose.back(by_axes), out.quaternions + 4 * i);
        out.opacities[i] = placed.drawn ? in.opacities[k] : 0.0f;
        std::copy_n(in.colors + static_cast<size_t>(k) * cloud.channels, cloud.channels,
                    out.colors + static_cast<size_t>(i) * cloud.channels);
    }
}

}  // namespace splat
