// From a vector of Gaussians to records before a panorama. `project_some_backward` is the way back, as for every camera.
#pragma once

#include "project.h"

namespace splat {
namespace {

// The box on a panorama's picture around all directions within an angle of a centre, in pixels. Near a pole it has all columns.
struct SphereBox {
    float x, y, wide, high;

    SphereBox(Vector<float> direction, float tangent, const Lens& lens) {
        const double level = std::hypot(static_cast<double>(direction.x), static_cast<double>(direction.z));
        // A thousandth of a pixel, and more, for the rounding of float32.
        const double angle = std::atan(static_cast<double>(tangent)) + 1e-3 / lens.fx + 1e-6;
        x = static_cast<float>(lens.longitude * std::atan2(direction.x, direction.z) + lens.cx);
        y = static_cast<float>(lens.latitude * std::atan2(static_cast<double>(direction.y), level) + lens.cy);
        high = static_cast<float>(lens.latitude * angle);
        const double sine = std::sin(angle);
        wide = sine < level ? static_cast<float>(lens.longitude * std::asin(sine / level)) : lens.full_turn();
    }

    // False where there is no pixel's centre within.
    bool blocks(const View& view, Range& out) const {
        const int last_column = (view.width - 1) / BLOCK_WIDTH, columns = last_column + 1;
        const float top = std::max(std::ceil(y - high - 0.5f), 0.0f), bottom = std::min(std::floor(y + high - 0.5f), view.height - 1.0f);
        if (!(top <= bottom)) return false;
        out.first_row = static_cast<uint16_t>(top / BLOCK_HEIGHT), out.last_row = static_cast<uint16_t>(bottom / BLOCK_HEIGHT);
        out.first_column = 0, out.last_column = static_cast<uint16_t>(last_column);
        const float turn = view.lens.full_turn();
        if (2.0f * wide >= turn - 1.0f) return true;
        const float center = x - turn * std::floor(x / turn), left = center - wide, right = center + wide;
        const bool wraps = left < 0.0f || right >= turn;
        int first = static_cast<int>(std::ceil((left < 0.0f ? left + turn : left) - 0.5f));
        int last = static_cast<int>(std::floor((right >= turn ? right - turn : right) - 0.5f));
        if (!wraps && (first > last || first >= view.width)) return false;
        first = std::min(first, view.width - 1), last = std::clamp(last, 0, view.width - 1);
        const int first_block = first / BLOCK_WIDTH, last_block = last / BLOCK_WIDTH + (wraps ? columns : 0);
        if (last_block - first_block >= columns) return true;
        out.first_column = static_cast<uint16_t>(first_block), out.last_column = static_cast<uint16_t>(last_block);
        return true;
    }
};

void project_sphere(const Source& source, const View& view, const Shown& shown, int first, int last, Visible& out) {
    const Pose pose(view.matrix);
    const vfloat zero = spread(0.0f);
    const float focal = view.lens.fx;
    int count = 0, not_finite = 0, doubtful = 0;
    for (int i = first; i < last; i += LANES) {
        Places places;
        for (int lane = 0; lane < LANES; ++lane) places.id[lane] = std::min(i + lane, last - 1);
        const unsigned here = last - i < LANES ? (1u << (last - i)) - 1 : ~0u >> (32 - LANES);
        const Vector<vfloat> mean = places.vector(source.means);
        const vfloat opacity = places.load(source.opacities, 1, 0);
        const Vector<vfloat> point = pose.apply(mean);
        const vfloat distance = root(dot(point, point));
        const unsigned finite_here = here & lane_bits((distance + opacity) * 0.0f == 0.0f);
        not_finite += __builtin_popcount(here & ~finite_here);
        doubtful += __builtin_popcount(here & lane_bits(opacity < 0.0f));
        unsigned visible = finite_here & lane_bits((distance >= view.lens.near) & (distance <= view.far) & (opacity >= ALPHA_MIN));
        if (!visible) continue;
        const Vector<vfloat> scales = places.vector(source.scales);
        const Quaternion<vfloat> q = places.quaternion(source.quaternions);
        const vint odd = (smaller(smaller(scales.x, scales.y), scales.z) < 0.0f) | (opacity > 1.0f) |
                         (q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z == 0.0f);
        const Placed<vfloat> placed(point, scales, q, pose, view.lens);
        const Conic<vfloat> conic(placed.m1, placed.m2, view.lens.eps2d);
        const vfloat xx = conic.xx + conic.eps2d, yy = conic.yy + conic.eps2d, xy = conic.xy;
        const vfloat u = root(HALF * conic.a), v = HALF * conic.b / u, w = HALF / yy;
        vfloat seen = opacity;
        if (view.lens.compensates) {
            seen = opacity * conic.compensation();
            visible &= lane_bits(!(seen < ALPHA_MIN));
            if (!visible) continue;
        }
        const vfloat level = log2_of(seen), reach = level - static_cast<float>(std::log2(ALPHA_MIN)) + CULL_SLACK;
        const vfloat apart = 0.5f * (xx - yy), largest = 0.5f * (xx + yy) + root(apart * apart + xy * xy);
        const vfloat extent = root(reach / HALF * largest);
        const vint finite = (u + v + w + extent + conic.determinant) * 0.0f == 0.0f;
        const unsigned known = lane_bits(finite);
        not_finite += __builtin_popcount(visible & ~known);
        doubtful += __builtin_popcount(visible & known & lane_bits(odd));
        visible &= known;
        vfloat box[4] = {zero, zero, zero, zero};
        for (unsigned rest = visible; rest; rest &= rest - 1) {
            const int lane = __builtin_ctz(rest);
            const Vector<vfloat>& direction = placed.frame.rows[2];
            const SphereBox each({direction.x[lane], direction.y[lane], direction.z[lane]}, extent[lane] / focal, view.lens);
            if (!each.blocks(view, shown.ranges[places.id[lane]])) visible &= ~(1u << lane);
            box[0][lane] = each.x, box[1][lane] = each.y, box[2][lane] = each.wide, box[3][lane] = each.high;
        }
        if (!visible) continue;
        vfloat fields[RECORD];
        const Vector<vfloat> east = focal * placed.frame.rows[0], down = focal * placed.frame.rows[1];
        fields[EAST] = east.x, fields[EAST + 1] = east.y, fields[EAST + 2] = east.z;
        fields[DOWN] = down.x, fields[DOWN + 1] = down.y, fields[DOWN + 2] = down.z;
        fields[SPHERE_U] = u, fields[SPHERE_V] = v, fields[SPHERE_W] = w, fields[SPHERE_LEVEL] = level;
        fields[BOX_X] = box[0], fields[BOX_Y] = box[1], fields[BOX_WIDE] = box[2], fields[BOX_HIGH] = box[3];
        fields[DEPTH] = distance, fields[RADIUS] = extent;
        write_record(shown, places, visible, fields);
        write_colors(source, view, shown, places, mean, visible);
        count = add_visible(view, shown, places, distance, visible, out.keys, count, not_finite);
    }
    out.count = count;
    out.not_finite = not_finite;
    out.doubtful = doubtful;
}

}  // namespace
}  // namespace splat
