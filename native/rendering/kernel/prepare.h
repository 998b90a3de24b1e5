// From an image's splats to what culling and evaluation need of those that can colour a pixel at all.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "paths.h"

namespace splat {
namespace {


bool all_finite(const float* values, size_t length) {
    // x·0 is 0 for finite x and NaN otherwise, and sums of it keep the NaN.
    vfloat totals = spread(0.0f);
    for (; length >= LANES; length -= LANES, values += LANES) totals += load(values) * 0.0f;
    totals += load_first(values, static_cast<int>(length)) * 0.0f;
    return sum(totals) == 0.0f;
}

// Copies the splats that can colour a pixel at all; their conics take the places of u, v and w, opacities that of the level.
void gather(const Scene& scene, Prepared& out) {
    int n = 0;
    for (int k = 0; k < scene.count; ++k) {
        out.index[n] = k;
        out.x[n] = scene.means2d[2 * k];
        out.y[n] = scene.means2d[2 * k + 1];
        out.u[n] = scene.conics[3 * k];
        out.v[n] = scene.conics[3 * k + 1];
        out.w[n] = scene.conics[3 * k + 2];
        out.level[n] = scene.opacities[k];
        n += scene.opacities[k] >= ALPHA_MIN;
    }
    out.count = n;
    // A last vector is read as a whole: what is not a splat there must be harmless to compute with.
    for (; n < out.count + LANES; ++n) {
        for (float* array : out.arrays()) array[n] = 0.0f;
        out.u[n] = out.w[n] = out.level[n] = 1.0f;
        out.index[n] = out.path[n] = out.block[n] = 0;
    }
}

// Derives what culling and evaluation need from LANES conics and opacities.
void derive(Prepared& out, int i) {
    const vfloat a = load(out.u + i), b = load(out.v + i), c = load(out.w + i), level = log2_of(load(out.level + i));
    const vfloat reach = level - static_cast<float>(std::log2(ALPHA_MIN)) + CULL_SLACK;
    // In double, because the determinant of a thin ellipse cancels.
    const vdouble wide_a = widen(a), wide_b = widen(b), wide_c = widen(c);
    const vdouble determinant = wide_a * wide_c - wide_b * wide_b, inverse = 1.0 / determinant;
    const vfloat u = root(HALF * larger(a, spread(0.0f))), v = HALF * b / u;
    const vfloat w = narrow(0.5 * LOG2_E * determinant / wide_a), curvature = HALF * c;
    const vfloat narrowing = narrow(0.5 * LOG2_E * determinant / wide_c), flatness = 1.0f / curvature;
    const vfloat extent_x = root(reach / HALF * narrow(wide_c * inverse)), extent_y = root(reach / HALF * narrow(wide_a * inverse));
    const vfloat slope = -b / c, peak = -b / a * extent_y;
    const vfloat checked = (u + v + w + slope + peak + flatness) * 0.0f;
    const vint ellipse = (a > 0.0f) & (c > 0.0f) & narrow_mask(determinant > 0.0) & (checked == 0.0f);
    // What is not an ellipse, or one beyond float32, is kept everywhere and evaluated as it stands.
    const vfloat zero = spread(0.0f), everywhere = spread(std::numeric_limits<float>::max());
    store(out.u + i, select(ellipse, u, HALF * a));
    store(out.v + i, select(ellipse, v, 2.0f * HALF * b));
    store(out.w + i, select(ellipse, w, HALF * c));
    store(out.level + i, level);
    store(out.reach + i, select(ellipse, reach, everywhere));
    store(out.extent_x + i, select(ellipse, extent_x, everywhere));
    store(out.extent_y + i, select(ellipse, extent_y, everywhere));
    store(out.slope_x + i, select(ellipse, slope, zero));
    store(out.peak + i, select(ellipse, peak, zero));
    store(out.step + i, exp2_less_1_in_range(larger(-2.0f * curvature, spread(-126.0f))));
    store(out.narrowing + i, select(ellipse, narrowing, zero));
    store(out.flatness + i, select(ellipse, flatness, spread(1.0f)));
    const vint path = choose(ellipse, path_of(curvature), spread_whole(GENERAL)), block = rows_between_restarts(curvature);
    std::memcpy(&out.path[i], &path, sizeof path);
    std::memcpy(&out.block[i], &block, sizeof block);
}

void prepare(const Scene& scene, Prepared& out) {
    const size_t count = scene.count;
    out.finite = all_finite(scene.means2d, 2 * count) && all_finite(scene.conics, 3 * count) &&
                 all_finite(scene.opacities, count) && all_finite(scene.colors, count * scene.channels) &&
                 all_finite(scene.background, scene.channels);
    out.allocate(out.finite ? scene.count : 0);
    if (!out.finite) return;
    gather(scene, out);
    for (int i = 0; i < out.count; i += LANES) derive(out, i);
}

}  // namespace
}  // namespace splat
