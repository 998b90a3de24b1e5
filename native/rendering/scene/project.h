// From a vector of Gaussians to records; `gradients.h` is the way back.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../kernel/paths.h"
#include "../scene.h"
#include "analytic.h"
#include "colors.h"

namespace splat {
namespace {

static_assert(RECORD % LANES == 0, "a record is whole vectors");

constexpr float TWO_PI = 6.28318530717958648f;
constexpr float LARGEST_REACH = 60.0f;  // log₂ of the largest square of a distance, in standard deviations, at which a splat is seen

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
        vfloat xx = conic.xx + conic.eps2d, yy = conic.yy + conic.eps2d, xy = conic.xy;
        vfloat u = root(HALF * conic.a), v = HALF * conic.b / u, curvature = HALF * conic.c;
        vfloat seen = opacity;
        if (view.lens.compensates) {
            seen = opacity * conic.compensation();
            visible &= lane_bits(!(seen < ALPHA_MIN));
            if (!visible) continue;
        }
        vfloat level = log2_of(seen), other = spread(0.0f);
        vfloat reach = level - static_cast<float>(std::log2(ALPHA_MIN)) + CULL_SLACK, bend = spread(0.0f);
        if (view.formula == Formula::EXPONENTIAL) {
            const vfloat exponent = places.load(source.shapes, 1, 0);
            bend = 0.5f * exponent - 1.0f;
            odd |= !(exponent > 0.0f);
            reach = HALF * exp2_in_range(smaller(larger(2.0f / exponent * log2_of(reach / HALF), spread(-126.0f)),
                                                  spread(LARGEST_REACH)));
        }
        if (view.formula == Formula::ANALYTIC) {
            // Strips are those of the ellipse around all places at which the splat is seen. The power at its edge is free to choose: it
            // is the amplitude.
            const Axes axes(conic);
            const Reached reached(axes, (reach + WINDOW_SLACK) / HALF);
            const vfloat first = root(axes.first), second = root(axes.second);
            u = axes.cos, v = axes.sin, level = 1.0f / first, other = 1.0f / second;
            reach = seen * (TWO_PI * first * second);
            const vfloat share = HALF / reach;
            xx = share * reached.xx, yy = share * reached.yy, xy = share * reached.xy;
            curvature = reach * (reached.xx / reached.determinant);
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
        fields[LEVEL] = level, fields[REACH] = reach;
        fields[SLOPE_X] = xy / xx, fields[PEAK] = xy / yy * extent_y;
        fields[STEP] = exp2_less_1_in_range(larger(-2.0f * curvature, spread(-126.0f)));
        if (view.formula == Formula::EXPONENTIAL) fields[BEND] = bend;
        if (view.formula == Formula::ANALYTIC) fields[INVERSE_SECOND] = other;
        fields[NARROWING] = HALF / xx, fields[FLATNESS] = 1.0f / curvature;
        const Colors colors = write_colors(source, view, shown, places, mean, visible);
        fields[RED] = colors.part[0], fields[GREEN] = colors.part[1], fields[BLUE] = colors.part[2], fields[DEPTH] = point.z;
        write_record(shown, places, visible, fields);
        write_ranges(shown, places, visible, across, down);
        count = add_visible(view, shown, places, point.z, visible, out.keys, count, not_finite);
    }
    out.count = count;
    out.not_finite = not_finite;
    out.doubtful = doubtful;
}

}  // namespace
}  // namespace splat
