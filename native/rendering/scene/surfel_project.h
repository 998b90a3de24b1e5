// From a vector of surfels to records, and from sums of blocks to gradients: splatlearn/rendering/backends/torch/surfel.py, fused.
#pragma once

#include "gradients.h"
#include "surfel.h"

namespace splat {
namespace {

constexpr float NOWHERE = 1e15f;  // per pixel: of a disc that is not drawn, every pixel but the centre's lies far outside

// Surfels before a pinhole camera. a and b are the disc's axes of length 1, n = a × b its normal, c its centre.
struct PlacedSurfel {
    Vector<vfloat> c, a, b, n;
    vfloat inverse;          // 1 / z
    vfloat facing;           // n·c / z
    vint is_drawn;           // false where the floor alone is
    vfloat x, y;             // of the centre's picture
    vfloat across_x, across_y, down_x, down_y, lean_x, lean_y;
    Vector<vfloat> scales;
    Rotation<vfloat> rotation;

    PlacedSurfel(Vector<vfloat> point, Vector<vfloat> scales, Quaternion<vfloat> q, const Pose& pose, const Lens& lens)
        : c(point), scales(scales), rotation(q) {
        const Matrix<vfloat> axes = pose.turned(rotation.matrix);
        a = {axes.rows[0].x, axes.rows[1].x, axes.rows[2].x};
        b = {axes.rows[0].y, axes.rows[1].y, axes.rows[2].y};
        n = {axes.rows[0].z, axes.rows[1].z, axes.rows[2].z};
        inverse = 1.0f / c.z, facing = dot(n, c) * inverse;
        x = lens.fx * c.x * inverse + lens.cx, y = lens.fy * c.y * inverse + lens.cy;
        const vfloat least = spread(THINNEST / lens.fx) * c.z, zero = spread(0.0f), far = spread(NOWHERE);
        is_drawn = (magnitude(facing) > EDGE_ON) & (scales.x > least) & (scales.y > least);
        const Vector<vfloat> e = cross(b, c), f = cross(c, a);
        const vfloat of_x = 1.0f / (lens.fx * facing), of_y = 1.0f / (lens.fy * facing);
        across_x = select(is_drawn, e.x * of_x / scales.x, far), across_y = select(is_drawn, e.y * of_y / scales.x, zero);
        down_x = select(is_drawn, f.x * of_x / scales.y, zero), down_y = select(is_drawn, f.y * of_y / scales.y, far);
        lean_x = only(is_drawn, n.x * of_x), lean_y = only(is_drawn, n.y * of_y);
    }
};

// The ellipse of the pixels whose rays meet a disc within `reach` of its quadratic form: its middle from the centre's picture, half the
// sides of its box, and the slope of the line on which columns have their middles. Where it is open, the box is everywhere.
struct DiscEllipse {
    vfloat middle_x, middle_y, wide, high, slope;

    DiscEllipse(const PlacedSurfel& p, vfloat reach) {
        const auto across = [](vfloat ax, vfloat ay, vfloat bx, vfloat by) { return ax * by - ay * bx; };
        const vfloat area = across(p.across_x, p.across_y, p.down_x, p.down_y);
        const vfloat first = across(p.across_x, p.across_y, p.lean_x, p.lean_y);
        const vfloat second = across(p.down_x, p.down_y, p.lean_x, p.lean_y);
        // Of the matrix Q = A Aᵀ + B Bᵀ − reach · n nᵀ. The determinant is a sum of squares, as A and B alone have it.
        const vfloat determinant = area * area - reach * (first * first + second * second);
        const vfloat xx = p.across_x * p.across_x + p.down_x * p.down_x - reach * p.lean_x * p.lean_x;
        const vfloat xy = p.across_x * p.across_y + p.down_x * p.down_y - reach * p.lean_x * p.lean_y;
        const vfloat yy = p.across_y * p.across_y + p.down_y * p.down_y - reach * p.lean_y * p.lean_y;
        const vfloat inverse = 1.0f / determinant;
        middle_x = reach * (yy * p.lean_x - xy * p.lean_y) * inverse, middle_y = reach * (xx * p.lean_y - xy * p.lean_x) * inverse;
        const vfloat size = reach * (1.0f + p.lean_x * middle_x + p.lean_y * middle_y) * inverse;
        wide = root(size * yy), high = root(size * xx), slope = -xy / yy;
        const vfloat zero = spread(0.0f), everywhere = spread(1e6f);
        const vint is_closed = (determinant > 1e-4f * area * area) & ((wide + high + slope + middle_x + middle_y) * 0.0f == 0.0f);
        // Without a disc there is nothing but the floor.
        wide = only(p.is_drawn, select(is_closed, wide, everywhere)), high = only(p.is_drawn, select(is_closed, high, everywhere));
        slope = only(p.is_drawn & is_closed, slope);
        middle_x = only(p.is_drawn & is_closed, middle_x), middle_y = only(p.is_drawn & is_closed, middle_y);
        wide = smaller(larger(wide, zero), everywhere), high = smaller(larger(high, zero), everywhere);
    }
};

// The pixels of the floor and of the ellipse along one axis.
inline Span span_of(vfloat center, vfloat radius, vfloat middle, vfloat extent, int size) {
    const vfloat low = smaller(center - radius, middle - extent), high = larger(center + radius, middle + extent);
    return Span(0.5f * (low + high), 0.5f * (high - low), size);
}

void project_surfels(const Source& source, const View& view, const Shown& shown, int first, int last, Visible& out) {
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
        const vint odd = (smaller(smaller(scales.x, scales.y), scales.z) < 0.0f) | (opacity > 1.0f) |
                         (q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z == 0.0f);
        const PlacedSurfel placed(point, scales, q, pose, view.lens);
        const vfloat level = log2_of(opacity);
        const vfloat reach = (level - static_cast<float>(std::log2(ALPHA_MIN)) + CULL_SLACK) / HALF;
        const DiscEllipse ellipse(placed, reach);
        const vfloat radius = root(reach * view.lens.eps2d);
        const vint finite = (placed.x + placed.y + placed.across_x + placed.across_y + placed.down_x + placed.down_y +
                             placed.lean_x + placed.lean_y + placed.facing + radius + scales.x + scales.y + scales.z) * 0.0f == 0.0f;
        const unsigned known = lane_bits(finite);
        not_finite += __builtin_popcount(visible & ~known);
        doubtful += __builtin_popcount(visible & known & lane_bits(odd));
        const vfloat middle_x = placed.x + ellipse.middle_x, middle_y = placed.y + ellipse.middle_y;
        const Span across = span_of(placed.x, radius, middle_x, ellipse.wide, view.width);
        const Span down = span_of(placed.y, radius, middle_y, ellipse.high, view.height);
        visible &= known & lane_bits((across.first <= across.last) & (down.first <= down.last));
        if (!visible) continue;
        vfloat fields[RECORD];
        fields[DISC_X] = placed.x, fields[DISC_Y] = placed.y;
        fields[ACROSS] = placed.across_x, fields[ACROSS + 1] = placed.across_y;
        fields[DOWNWARD] = placed.down_x, fields[DOWNWARD + 1] = placed.down_y;
        fields[LEAN] = placed.lean_x, fields[LEAN + 1] = placed.lean_y, fields[DISC_LEVEL] = level;
        fields[MIDDLE_X] = middle_x, fields[MIDDLE_Y] = middle_y, fields[WIDE] = ellipse.wide, fields[HIGH] = ellipse.high;
        fields[SLOPE] = ellipse.slope, fields[DEPTH] = point.z, fields[RADIUS] = larger(larger(ellipse.wide, ellipse.high), radius);
        write_record(shown, places, visible, fields);
        write_colors(source, view, shown, places, mean, visible);
        write_ranges(shown, places, visible, across, down);
        count = add_visible(view, shown, places, point.z, visible, out.keys, count, not_finite);
    }
    out.count = count;
    out.not_finite = not_finite;
    out.doubtful = doubtful;
}

// From the sums of surfels to the gradients of their places, scales and axes before the camera.
inline PlacedGradients<vfloat> backward_of(const PlacedSurfel& p, const Lens& lens, const vfloat (&sums)[SURFEL_MOMENTS]) {
    const vfloat zero = spread(0.0f), one = spread(1.0f);
    const auto of_disc = [&](int i) { return only(p.is_drawn, sums[i]); };
    const vfloat across_x = of_disc(3), across_y = of_disc(4), down_x = of_disc(5), down_y = of_disc(6), lean_x = of_disc(7),
                 lean_y = of_disc(8);
    const vfloat inverse_facing = 1.0f / select(p.is_drawn, p.facing, one);
    const vfloat of_x = inverse_facing / lens.fx, of_y = inverse_facing / lens.fy;
    const vfloat of_a = 1.0f / select(p.is_drawn, p.scales.x, one), of_b = 1.0f / select(p.is_drawn, p.scales.y, one);
    const vfloat by_first = across_x * p.across_x + across_y * p.across_y, by_second = down_x * p.down_x + down_y * p.down_y;
    const vfloat by_facing = -(by_first + by_second + lean_x * p.lean_x + lean_y * p.lean_y) * inverse_facing;
    const Vector<vfloat> by_e{across_x * of_x * of_a, across_y * of_y * of_a, zero};
    const Vector<vfloat> by_f{down_x * of_x * of_b, down_y * of_y * of_b, zero};
    const Vector<vfloat> by_n = Vector<vfloat>{lean_x * of_x, lean_y * of_y, zero} + (by_facing * p.inverse) * p.c;
    const Vector<vfloat> by_a = cross(by_f, p.c), by_b = cross(p.c, by_e);
    Vector<vfloat> by_c = cross(by_e, p.b) + cross(p.a, by_f) + (by_facing * p.inverse) * p.n;
    const vfloat by_x = lens.fx * p.inverse * sums[1], by_y = lens.fy * p.inverse * sums[2];
    by_c.x += by_x, by_c.y += by_y;
    by_c.z += sums[9] - (by_x * p.c.x + by_y * p.c.y + by_facing * p.facing) * p.inverse;
    return {by_c, {-by_first * of_a, -by_second * of_b, zero},
            {{{by_a.x, by_b.x, by_n.x}, {by_a.y, by_b.y, by_n.y}, {by_a.z, by_b.z, by_n.z}}}};
}

// The way back of `project_surfels`; see `GaussianWay`.
struct SurfelWay {
    static constexpr int SUMS = SURFEL_MOMENTS;
    PlacedSurfel placed;
    PlacedGradients<vfloat> by;
    vfloat by_x, by_y, by_opacity;

    SurfelWay(const Source& source, const View& view, const Shown&, const Places& places, Vector<vfloat> mean, const Pose& pose,
              const float* sums, int width)
        : placed(pose.apply(mean), places.vector(source.scales), places.quaternion(source.quaternions), pose, view.lens) {
        vfloat moments[SURFEL_MOMENTS];
        for (int j = 0; j < SURFEL_MOMENTS; ++j) moments[j] = places.load(sums, width, j);
        by = backward_of(placed, view.lens, moments);
        by_x = moments[1], by_y = moments[2];
        by_opacity = select(moments[0] == 0.0f, spread(0.0f), moments[0] / places.load(source.opacities, 1, 0));
    }
};

}  // namespace
}  // namespace splat
