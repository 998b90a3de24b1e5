// From a vector of Gaussians to records, and from sums of blocks to gradients of Gaussians and camera.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../gaussian.h"
#include "../kernel/paths.h"
#include "../scene.h"
#include "harmonics.h"

namespace splat {
namespace {

static_assert(RECORD % LANES == 0, "a record is whole vectors");

constexpr float LARGEST_REACH = 60.0f;  // log₂ of the largest square of a distance, in standard deviations, at which a splat is seen

// LANES Gaussians by their places in the set.
struct Places {
    int32_t id[LANES];

    vfloat load(const float* from, int stride, int offset) const {
        vfloat value;
        for (int lane = 0; lane < LANES; ++lane) value[lane] = from[static_cast<size_t>(id[lane]) * stride + offset];
        return value;
    }
    Vector<vfloat> vector(const float* from) const { return {load(from, 3, 0), load(from, 3, 1), load(from, 3, 2)}; }
    Quaternion<vfloat> quaternion(const float* from) const {
        return {load(from, 4, 0), load(from, 4, 1), load(from, 4, 2), load(from, 4, 3)};
    }
};

inline Direction direction_of(const View& view, Vector<vfloat> mean) {
    if (view.is_parallel) return {spread(view.origin[0]), spread(view.origin[1]), spread(view.origin[2])};
    return {mean.x - view.origin[0], mean.y - view.origin[1], mean.z - view.origin[2]};
}

// 1 / length, of a length that is at least that of torch.nn.functional.normalize.
inline vfloat inverse_length(Direction d) {
    return 1.0f / larger(root(d.x * d.x + d.y * d.y + d.z * d.z), spread(1e-12f));
}

// What the coefficients of one Gaussian and harmonics of one lane sum to, plus ½ and at least 0.
inline void seen_color(const float* sh, int coefficients, const float (*basis)[LANES], int lane, float* color) {
    float r = 0.5f, g = 0.5f, b = 0.5f;
    for (int m = 0; m < coefficients; ++m) {
        const float y = basis[m][lane];
        r += y * sh[3 * m], g += y * sh[3 * m + 1], b += y * sh[3 * m + 2];
    }
    color[0] = std::max(r, 0.0f), color[1] = std::max(g, 0.0f), color[2] = std::max(b, 0.0f);
}

template <int DEGREE>
void seen_colors(const Source& source, const View& view, const Shown& shown, const Places& places, Vector<vfloat> means,
                 unsigned visible) {
    constexpr int COEFFICIENTS = (DEGREE + 1) * (DEGREE + 1);
    Direction d = direction_of(view, means);
    const vfloat inverse = inverse_length(d);
    vfloat values[COEFFICIENTS];
    harmonics<DEGREE>({d.x * inverse, d.y * inverse, d.z * inverse}, values);
    float basis[COEFFICIENTS][LANES];
    std::memcpy(basis, values, sizeof basis);
    for (; visible; visible &= visible - 1) {
        const int lane = __builtin_ctz(visible);
        const size_t id = places.id[lane];
        seen_color(source.sh + 3 * COEFFICIENTS * id, COEFFICIENTS, basis, lane, shown.colors + id * shown.channels);
    }
}

void colors_of(const Source& source, const View& view, const Shown& shown, const Places& places, Vector<vfloat> means,
               unsigned visible) {
    if (source.sh) {
        switch (source.degree) {
            case 0: return seen_colors<0>(source, view, shown, places, means, visible);
            case 1: return seen_colors<1>(source, view, shown, places, means, visible);
            case 2: return seen_colors<2>(source, view, shown, places, means, visible);
            case 3: return seen_colors<3>(source, view, shown, places, means, visible);
            default: return seen_colors<4>(source, view, shown, places, means, visible);
        }
    }
    for (; visible; visible &= visible - 1) {
        const size_t id = places.id[__builtin_ctz(visible)];
        std::copy_n(source.colors + id * source.features, source.features, shown.colors + id * shown.channels);
    }
}

// The first and last pixel whose centre is within `extent` of `center`, and within an image.
struct Span {
    vint first, last;

    Span(vfloat center, vfloat extent, int size) {
        const vfloat limit = spread(static_cast<float>(size));
        // Truncation after clamping at 0; just under 1 more makes it round up. The slack is that of rounding.
        const vfloat slack = 0.001f + 1e-6f * extent;
        first = whole(smaller(larger(center - extent - slack + 0.499f, spread(0.0f)), limit));
        last = whole(smaller(larger(center + extent + slack + 0.5f, spread(0.0f)), limit)) - 1;
    }
};

// Bits of a depth as an unsigned integer in the order of the floats.
inline uint64_t key_of(float depth, int32_t id) {
    depth += 0.0f;  // -0 becomes 0
    uint32_t bits;
    std::memcpy(&bits, &depth, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(id);
}

void write_record(const Shown& shown, const Places& places, unsigned visible, vfloat (&fields)[RECORD]) {
    for (int part = 0; part < RECORD; part += LANES) turn(fields + part);
    for (; visible; visible &= visible - 1) {
        const int lane = __builtin_ctz(visible);
        float* record = shown.records + static_cast<size_t>(places.id[lane]) * RECORD;
        for (int part = 0; part < RECORD; part += LANES) store(record + part, fields[part + lane]);
    }
}

void write_ranges(const Shown& shown, const Places& places, unsigned visible, const Span& across, const Span& down) {
    for (; visible; visible &= visible - 1) {
        const int lane = __builtin_ctz(visible);
        shown.ranges[places.id[lane]] = {static_cast<uint16_t>(across.first[lane] / BLOCK_WIDTH),
                                         static_cast<uint16_t>(across.last[lane] / BLOCK_WIDTH),
                                         static_cast<uint16_t>(down.first[lane] / BLOCK_HEIGHT),
                                         static_cast<uint16_t>(down.last[lane] / BLOCK_HEIGHT)};
    }
}

// Writes the view's channels of depths, and keys of the visible whose colours are finite; returns the count of keys.
int add_visible(const View& view, const Shown& shown, const Places& places, vfloat depths, unsigned visible, uint64_t* keys,
                int count, int& not_finite) {
    for (; visible; visible &= visible - 1) {
        const int lane = __builtin_ctz(visible);
        float* color = shown.colors + static_cast<size_t>(places.id[lane]) * shown.channels;
        if (view.depth_channels == 1) color[shown.channels - 1] = depths[lane];
        if (view.depth_channels == 2) {
            const float inverse = 1.0f / depths[lane];
            color[shown.channels - 2] = inverse, color[shown.channels - 1] = inverse * inverse;
        }
        float checked = 0.0f;
        for (int c = 0; c < shown.channels; ++c) checked += color[c] * 0.0f;
        if (checked != 0.0f) {
            ++not_finite;
            continue;
        }
        keys[count++] = key_of(depths[lane], places.id[lane]);
    }
    return count;
}

void project_plane(const Source& source, const View& view, const Shown& shown, int first, int last, Visible& out) {
    const Pose pose(view.matrix);
    const vfloat zero = spread(0.0f);
    int count = 0, not_finite = 0, doubtful = 0;
    for (int i = first; i < last; i += LANES) {
        Places places;
        for (int lane = 0; lane < LANES; ++lane) places.id[lane] = std::min(i + lane, last - 1);
        const unsigned here = last - i < LANES ? (1u << (last - i)) - 1 : ~0u >> (32 - LANES);
        const Vector<vfloat> mean = places.vector(source.means);
        const vfloat opacity = places.load(source.opacities, 1, 0);
        const Vector<vfloat> point = pose.apply(mean);
        const unsigned finite_here = here & lane_bits((point.x + point.y + point.z + opacity) * 0.0f == 0.0f);
        not_finite += __builtin_popcount(here & ~finite_here);
        doubtful += __builtin_popcount(here & lane_bits(opacity < 0.0f));
        unsigned visible = finite_here & lane_bits((point.z >= view.lens.near) & (point.z <= view.far) & (opacity >= ALPHA_MIN));
        if (!visible) continue;
        const Vector<vfloat> scales = places.vector(source.scales);
        const Quaternion<vfloat> q = places.quaternion(source.quaternions);
        vint odd = (smaller(smaller(scales.x, scales.y), scales.z) < 0.0f) | (opacity > 1.0f) |
                   (q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z == 0.0f);
        const Placed<vfloat> placed(point, scales, q, pose, view.lens);
        const Conic<vfloat> conic(placed.m1, placed.m2, view.lens.eps2d);
        const vfloat xx = conic.xx + conic.eps2d, yy = conic.yy + conic.eps2d, xy = conic.xy;
        const vfloat u = root(HALF * conic.a), v = HALF * conic.b / u, curvature = HALF * conic.c;
        vfloat seen = opacity;
        if (view.lens.compensates) {
            seen = opacity * conic.compensation();
            visible &= lane_bits(!(seen < ALPHA_MIN));
            if (!visible) continue;
        }
        const vfloat level = log2_of(seen);
        vfloat reach = level - static_cast<float>(std::log2(ALPHA_MIN)) + CULL_SLACK, bend = zero;
        if (view.formula == Formula::EXPONENTIAL) {
            const vfloat exponent = places.load(source.shapes, 1, 0);
            bend = 0.5f * exponent - 1.0f;
            odd |= !(exponent > 0.0f);
            reach = HALF * exp2_in_range(smaller(larger(2.0f / exponent * log2_of(reach / HALF), spread(-126.0f)),
                                                  spread(LARGEST_REACH)));
        }
        const vfloat extent_x = root(reach / HALF * xx), extent_y = root(reach / HALF * yy);
        const vfloat x = placed.mean_x(view.lens), y = placed.mean_y(view.lens);
        const vint finite = (x + y + u + v + curvature + extent_x + extent_y + conic.determinant + bend) * 0.0f == 0.0f;
        const unsigned known = lane_bits(finite);
        not_finite += __builtin_popcount(visible & ~known);
        const Span across(x, extent_x, view.width), down(y, extent_y, view.height);
        doubtful += __builtin_popcount(visible & known & lane_bits(odd));
        visible &= known & lane_bits((across.first <= across.last) & (down.first <= down.last));
        if (!visible) continue;
        vfloat fields[RECORD];
        fields[X] = x, fields[Y] = y, fields[U] = u, fields[V] = v, fields[W] = HALF / yy;
        fields[LEVEL] = level, fields[REACH] = reach, fields[EXTENT_X] = extent_x, fields[EXTENT_Y] = extent_y;
        fields[SLOPE_X] = xy / xx, fields[PEAK] = xy / yy * extent_y;
        fields[STEP] = exp2_less_1_in_range(larger(-2.0f * curvature, spread(-126.0f)));
        if (view.formula == Formula::EXPONENTIAL) fields[BEND] = bend;
        fields[NARROWING] = HALF / xx, fields[FLATNESS] = 1.0f / curvature;
        fields[DEPTH] = point.z, fields[RADIUS] = larger(extent_x, extent_y) + zero;
        write_record(shown, places, visible, fields);
        colors_of(source, view, shown, places, mean, visible);
        write_ranges(shown, places, visible, across, down);
        count = add_visible(view, shown, places, point.z, visible, out.keys, count, not_finite);
    }
    out.count = count;
    out.not_finite = not_finite;
    out.doubtful = doubtful;
}

// Writes the first view's gradient, and adds those of the others.
template <bool FRESH>
inline void put(float& to, float value) {
    to = FRESH ? value : to + value;
}

// Gradients of LANES Gaussians' harmonics, and toward their directions.
template <int DEGREE, bool FRESH>
Direction backward_colors(const Source& source, const View& view, const Shown& shown, const Places& places, unsigned real,
                          Vector<vfloat> means, const float* sums, int width, float* out) {
    constexpr int COEFFICIENTS = (DEGREE + 1) * (DEGREE + 1);
    const Direction d = direction_of(view, means);
    const vfloat inverse = inverse_length(d);
    const Direction unit{d.x * inverse, d.y * inverse, d.z * inverse};
    vfloat values[COEFFICIENTS];
    harmonics<DEGREE>(unit, values);
    float basis[COEFFICIENTS][LANES], by_basis[COEFFICIENTS][LANES] = {};
    std::memcpy(basis, values, sizeof basis);
    for (; real; real &= real - 1) {
        const int lane = __builtin_ctz(real);
        const size_t id = places.id[lane];
        const float *color = shown.colors + id * shown.channels, *by_color = sums + id * width + MOMENTS;
        // No gradient where the colour is clamped at 0.
        const float r = color[0] > 0.0f ? by_color[0] : 0.0f, g = color[1] > 0.0f ? by_color[1] : 0.0f,
                    b = color[2] > 0.0f ? by_color[2] : 0.0f;
        const float* sh = source.sh + 3 * COEFFICIENTS * id;
        float* by_sh = out + 3 * COEFFICIENTS * id;
        for (int m = 0; m < COEFFICIENTS; ++m) {
            const float y = basis[m][lane];
            put<FRESH>(by_sh[3 * m], y * r), put<FRESH>(by_sh[3 * m + 1], y * g), put<FRESH>(by_sh[3 * m + 2], y * b);
            by_basis[m][lane] = sh[3 * m] * r + sh[3 * m + 1] * g + sh[3 * m + 2] * b;
        }
    }
    if constexpr (DEGREE == 0) return {spread(0.0f), spread(0.0f), spread(0.0f)};
    std::memcpy(values, by_basis, sizeof by_basis);
    const Direction by = harmonics_backward<DEGREE>(unit, values);
    const vfloat along = by.x * unit.x + by.y * unit.y + by.z * unit.z;
    return {(by.x - along * unit.x) * inverse, (by.y - along * unit.y) * inverse, (by.z - along * unit.z) * inverse};
}

template <bool FRESH>
Direction colors_backward(const Source& source, const View& view, const Shown& shown, const Places& places, unsigned real,
                          Vector<vfloat> means, const float* sums, int width, const SourceGradients& out) {
    if (source.sh) {
        switch (source.degree) {
            case 0: return backward_colors<0, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            case 1: return backward_colors<1, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            case 2: return backward_colors<2, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            case 3: return backward_colors<3, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            default: return backward_colors<4, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
        }
    }
    for (; real; real &= real - 1) {
        const size_t id = places.id[__builtin_ctz(real)];
        for (int c = 0; c < source.features; ++c)
            put<FRESH>(out.colors[id * source.features + c], sums[id * width + MOMENTS + c]);
    }
    return {spread(0.0f), spread(0.0f), spread(0.0f)};
}

// Sums over a chunk's Gaussians of what they have to say of the camera.
struct CameraSums {
    vfloat rows[3][4], origin[3];

    CameraSums() {
        for (auto& row : rows)
            for (vfloat& each : row) each = spread(0.0f);
        for (vfloat& each : origin) each = spread(0.0f);
    }
    void add(const PlacedGradients<vfloat>& by, Vector<vfloat> mean, const Matrix<vfloat>& turn, Direction by_direction,
             float sign, vint real) {
        const vfloat points[3] = {by.point.x, by.point.y, by.point.z};
        for (int i = 0; i < 3; ++i) {
            const vfloat point = only(real, points[i]);
            const Vector<vfloat>& axis = by.axes.rows[i];
            rows[i][0] += only(real, points[i] * mean.x + dot(axis, turn.rows[0]));
            rows[i][1] += only(real, points[i] * mean.y + dot(axis, turn.rows[1]));
            rows[i][2] += only(real, points[i] * mean.z + dot(axis, turn.rows[2]));
            rows[i][3] += point;
        }
        origin[0] += only(real, sign * by_direction.x);
        origin[1] += only(real, sign * by_direction.y);
        origin[2] += only(real, sign * by_direction.z);
    }
    void store(double* out) const {
        for (const auto& row : rows)
            for (const vfloat& each : row) *out++ = sum(each);
        for (const vfloat& each : origin) *out++ = sum(each);
    }
};

// The gradients of the Gaussians [first, last), which the first view does not see.
void clear_gradients(const Source& source, const SourceGradients& out, size_t numbers, size_t first, size_t last) {
    const auto clear = [&](float* from, size_t width) {
        if (from) std::fill(from + first * width, from + last * width, 0.0f);
    };
    clear(out.means, 3), clear(out.scales, 3), clear(out.quaternions, 4), clear(out.opacities, 1);
    clear(out.shapes, numbers), clear(out.colors, source.features), clear(out.sh, 3 * (source.degree + 1) * (source.degree + 1));
}

// From the sums of Gaussians to their gradients before the camera. `by_x` and `by_y` are those of means2d.
struct GaussianWay {
    static constexpr int SUMS = MOMENTS;
    Placed<vfloat> placed;
    PlacedGradients<vfloat> by;
    vfloat by_x, by_y, by_opacity;

    GaussianWay(const Source& source, const View& view, const Shown& shown, const Places& places, Vector<vfloat> mean, const Pose& pose,
                const float* sums, int width)
        : placed(pose.apply(mean), places.vector(source.scales), places.quaternion(source.quaternions), pose, view.lens) {
        const Conic<vfloat> conic(placed.m1, placed.m2, view.lens.eps2d);
        vfloat moments[MOMENTS];
        for (int j = 0; j < MOMENTS; ++j) moments[j] = places.load(sums, width, j);
        // In the plane of a picture all pixels have the same conic; on a sphere it is in the sums.
        const bool is_sphere = view.lens.model == Model::PANORAMA;
        by_x = is_sphere ? moments[1] : conic.a * moments[1] + conic.b * moments[2];
        by_y = is_sphere ? moments[2] : conic.b * moments[1] + conic.c * moments[2];
        // The sum is that of α's gradient times α, so the gradient of the opacity's logarithm and the compensation's.
        by_opacity = select(moments[0] == 0.0f, spread(0.0f), moments[0] / places.load(source.opacities, 1, 0));
        by = backward_of(placed, view.lens, by_x, by_y, {-0.5f * moments[3], -moments[4], -0.5f * moments[5]},
                         by_depth(view, shown, places, sums, width), view.lens.compensates ? &moments[0] : nullptr);
    }

  private:
    vfloat by_depth(const View& view, const Shown& shown, const Places& places, const float* sums, int width) const {
        if (!view.depth_channels) return spread(0.0f);
        const vfloat last = places.load(sums, width, MOMENTS + shown.channels - 1);
        if (view.depth_channels == 1) return last;
        // Of the inverse depth and its square.
        const vfloat inverse = 1.0f / placed.point.z, first = places.load(sums, width, MOMENTS + shown.channels - 2);
        return -inverse * inverse * (first + 2.0f * inverse * last);
    }
};

template <bool FRESH, typename Way>
void project_some_backward(const Source& source, const View& view, const Shown& shown, const int32_t* ids, int length,
                           const float* sums, int width, bool absolute, const SourceGradients& out, double* camera) {
    const Pose pose(view.matrix);
    const int numbers = numbers_of(view.formula);
    CameraSums of_camera;
    for (int i = 0; i < length; i += LANES) {
        Places places;
        const int here = std::min(LANES, length - i);
        for (int lane = 0; lane < LANES; ++lane) places.id[lane] = ids[i + std::min(lane, here - 1)];
        const unsigned real = ~0u >> (32 - here);
        const Vector<vfloat> mean = places.vector(source.means);
        const Way way(source, view, shown, places, mean, pose, sums, width);
        const PlacedGradients<vfloat>& by = way.by;
        // The colours' sums follow those of the way.
        const float* of_colors = sums + (Way::SUMS - MOMENTS);
        const Direction by_direction = colors_backward<FRESH>(source, view, shown, places, real, mean, of_colors, width, out);
        Vector<vfloat> by_mean = pose.back(by.point);
        if (!view.is_parallel)
            by_mean = by_mean + Vector<vfloat>{by_direction.x, by_direction.y, by_direction.z};
        const Quaternion<vfloat> by_quaternion = way.placed.rotation.backward(pose.back(by.axes));
        for (int lane = 0; lane < here; ++lane) {
            const size_t id = places.id[lane];
            float *mean_out = out.means + 3 * id, *scales_out = out.scales + 3 * id, *quaternion_out = out.quaternions + 4 * id;
            put<FRESH>(mean_out[0], by_mean.x[lane]), put<FRESH>(mean_out[1], by_mean.y[lane]);
            put<FRESH>(mean_out[2], by_mean.z[lane]);
            put<FRESH>(scales_out[0], by.scales.x[lane]), put<FRESH>(scales_out[1], by.scales.y[lane]);
            put<FRESH>(scales_out[2], by.scales.z[lane]);
            put<FRESH>(quaternion_out[0], by_quaternion.w[lane]), put<FRESH>(quaternion_out[1], by_quaternion.x[lane]);
            put<FRESH>(quaternion_out[2], by_quaternion.y[lane]), put<FRESH>(quaternion_out[3], by_quaternion.z[lane]);
            put<FRESH>(out.opacities[id], way.by_opacity[lane]);
            if (out.means2d) out.means2d[2 * id] = way.by_x[lane], out.means2d[2 * id + 1] = way.by_y[lane];
            const float* last = sums + id * width + Way::SUMS + shown.channels;
            for (int number = 0; number < numbers; ++number) put<FRESH>(out.shapes[id * numbers + number], *last++);
            if (absolute) out.absolute[2 * id] = last[0], out.absolute[2 * id + 1] = last[1];
        }
        if (camera) {
            vint lanes;
            for (int lane = 0; lane < LANES; ++lane) lanes[lane] = lane < here ? -1 : 0;
            of_camera.add(by, mean, way.placed.rotation.matrix, by_direction, view.is_parallel ? 1.0f : -1.0f, lanes);
        }
    }
    if (camera) of_camera.store(camera);
}

template <typename Way>
void project_all_backward(const Source& source, const View& view, const Shown& shown, const int32_t* ids, int length,
                          const float* sums, int width, bool absolute, const Unseen& unseen, const SourceGradients& out,
                          double* camera) {
    if (!unseen.is_first_view)
        return project_some_backward<false, Way>(source, view, shown, ids, length, sums, width, absolute, out, camera);
    const size_t numbers = numbers_of(view.formula);
    int32_t next = unseen.first;
    for (int i = 0; i < length; ++i) {
        if (ids[i] > next) clear_gradients(source, out, numbers, next, ids[i]);
        next = ids[i] + 1;
    }
    if (unseen.last > next) clear_gradients(source, out, numbers, next, unseen.last);
    project_some_backward<true, Way>(source, view, shown, ids, length, sums, width, absolute, out, camera);
}

}  // namespace
}  // namespace splat
