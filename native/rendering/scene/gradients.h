// From sums of blocks to gradients of Gaussians and camera.
#pragma once

#include "analytic.h"
#include "project.h"

namespace splat {
namespace {

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

// The gradient of the depth of Gaussians at z before the camera.
inline vfloat depth_gradient(const View& view, const Shown& shown, const Places& places, const float* sums, int width, vfloat z) {
    if (!view.depth_channels) return spread(0.0f);
    const vfloat last = places.load(sums, width, MOMENTS + shown.channels - 1);
    if (view.depth_channels == 1) return last;
    // Of the inverse depth and its square.
    const vfloat inverse = 1.0f / z, first = places.load(sums, width, MOMENTS + shown.channels - 2);
    return -inverse * inverse * (first + 2.0f * inverse * last);
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
                         depth_gradient(view, shown, places, sums, width, placed.point.z), view.lens.compensates ? &moments[0] : nullptr);
    }
};

// The same from the sums of `backward_analytic`.
struct AnalyticWay {
    static constexpr int SUMS = MOMENTS;
    Placed<vfloat> placed;
    PlacedGradients<vfloat> by;
    vfloat by_x, by_y, by_opacity;

    AnalyticWay(const Source& source, const View& view, const Shown& shown, const Places& places, Vector<vfloat> mean, const Pose& pose,
                const float* sums, int width)
        : placed(pose.apply(mean), places.vector(source.scales), places.quaternion(source.quaternions), pose, view.lens) {
        const Axes axes(Conic<vfloat>(placed.m1, placed.m2, view.lens.eps2d));
        vfloat moments[MOMENTS];
        for (int j = 0; j < MOMENTS; ++j) moments[j] = places.load(sums, width, j);
        const vfloat cos = axes.cos, sin = axes.sin, zero = spread(0.0f);
        by_x = sin * moments[2] - cos * moments[1], by_y = -(sin * moments[1] + cos * moments[2]);
        // Of the variances along both axes, and of the covariance [[a, b], [b, c]].
        const vfloat first = select(axes.first <= VARIANCE_MIN, zero, 0.5f * moments[3] / axes.first);
        const vfloat second = select(axes.second <= VARIANCE_MIN, zero, 0.5f * moments[4] / axes.second);
        const vfloat turn = select(axes.is_round, zero, moments[5] / select(axes.is_round, spread(1.0f), axes.gap));
        const vfloat by_a = cos * cos * first + sin * sin * second - 0.5f * axes.twice * turn;
        const vfloat by_c = sin * sin * first + cos * cos * second + 0.5f * axes.twice * turn;
        const vfloat by_b = 2.0f * cos * sin * (first - second) + axes.difference * turn;
        by = backward_of_rows(placed, view.lens, by_x, by_y, 2.0f * by_a * placed.m1 + by_b * placed.m2,
                              2.0f * by_c * placed.m2 + by_b * placed.m1,
                              depth_gradient(view, shown, places, sums, width, placed.point.z));
        by_opacity = select(moments[0] == 0.0f, zero, moments[0] / places.load(source.opacities, 1, 0));
    }
};

// Gradients of LANES Gaussians' parameters, but for what colours add to that of the means; and what the camera takes of them.
struct ShapeGradients {
    vfloat by_x, by_y, opacity;
    Vector<vfloat> mean, by_mean;
    PlacedGradients<vfloat> placed;
    Matrix<vfloat> turn;
    Quaternion<vfloat> quaternion;
};

// Not inlined, so that the first view and the others round alike.
template <typename Way>
[[gnu::noinline]] void backward_shapes(const Source& source, const View& view, const Shown& shown, const Pose& pose,
                                       const Places& places, const float* sums, int width, ShapeGradients& out) {
    out.mean = places.vector(source.means);
    const Way way(source, view, shown, places, out.mean, pose, sums, width);
    out.by_x = way.by_x, out.by_y = way.by_y, out.opacity = way.by_opacity;
    out.placed = way.by, out.turn = way.placed.rotation.matrix;
    out.by_mean = pose.back(way.by.point);
    out.quaternion = way.placed.rotation.backward(pose.back(way.by.axes));
}

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
        if (source.sh)
            for (int next = i + 2 * LANES; next < std::min(i + 3 * LANES, length); ++next)
                prefetch_harmonics(source, ids[next]);
        const unsigned real = ~0u >> (32 - here);
        ShapeGradients by;
        backward_shapes<Way>(source, view, shown, pose, places, sums, width, by);
        // The colours' sums follow those of the way.
        const float* of_colors = sums + (Way::SUMS - MOMENTS);
        const Direction by_direction = colors_backward<FRESH>(source, view, shown, places, real, by.mean, of_colors, width, out);
        Vector<vfloat> by_mean = by.by_mean;
        if (!view.is_parallel)
            by_mean = by_mean + Vector<vfloat>{by_direction.x, by_direction.y, by_direction.z};
        for (int lane = 0; lane < here; ++lane) {
            const size_t id = places.id[lane];
            float *mean_out = out.means + 3 * id, *scales_out = out.scales + 3 * id, *quaternion_out = out.quaternions + 4 * id;
            put<FRESH>(mean_out[0], by_mean.x[lane]), put<FRESH>(mean_out[1], by_mean.y[lane]);
            put<FRESH>(mean_out[2], by_mean.z[lane]);
            put<FRESH>(scales_out[0], by.placed.scales.x[lane]), put<FRESH>(scales_out[1], by.placed.scales.y[lane]);
            put<FRESH>(scales_out[2], by.placed.scales.z[lane]);
            put<FRESH>(quaternion_out[0], by.quaternion.w[lane]), put<FRESH>(quaternion_out[1], by.quaternion.x[lane]);
            put<FRESH>(quaternion_out[2], by.quaternion.y[lane]), put<FRESH>(quaternion_out[3], by.quaternion.z[lane]);
            put<FRESH>(out.opacities[id], by.opacity[lane]);
            const size_t place = 2 * static_cast<size_t>(i + lane);
            if (out.means2d) out.means2d[place] = by.by_x[lane], out.means2d[place + 1] = by.by_y[lane];
            const float* last = sums + id * width + Way::SUMS + shown.channels;
            for (int number = 0; number < numbers; ++number) put<FRESH>(out.shapes[id * numbers + number], *last++);
            if (absolute) out.absolute[place] = last[0], out.absolute[place + 1] = last[1];
        }
        if (camera) {
            vint lanes;
            for (int lane = 0; lane < LANES; ++lane) lanes[lane] = lane < here ? -1 : 0;
            of_camera.add(by.placed, by.mean, by.turn, by_direction, view.is_parallel ? 1.0f : -1.0f, lanes);
        }
    }
    if (camera) of_camera.store(camera);
    end_of_streams();
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
