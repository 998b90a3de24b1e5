// Gradients of a panorama's block, as sums of each splat of its list.
#pragma once

#include "backward.h"
#include "sphere.h"

namespace splat {
namespace {

// Adds to the sums of a splat: of v = α ∂L/∂α, the gradient of the centre in its tangent plane, x and y, and the second moments. If the
// centre moves by s in the plane, the plane turns with it, so that a pixel's place d moves by −(s + d (d·s) / f²).
template <int C, bool ABSOLUTE>
void backward_sphere_column(const BackwardPixels<C>& pixels, const SphereSplat& splat, const Directions& directions, int column,
                            const float* colors, int channels, float focal, float* out) {
    const int own = C ? C : channels;
    const Color<C> color = spread_colors<C>(colors, own, 1);
    const SphereColumn line(splat, directions, column);
    const float curving = 1.0f / (focal * focal);
    vfloat by_color[C ? C : MAX_CHANNELS];
    const vfloat zero = spread(0.0f);
    for (int c = 0; c < own; ++c) by_color[c] = zero;
    vfloat one = zero, by_x = zero, by_y = zero, xx = zero, xy = zero, yy = zero, absolute_x = zero, absolute_y = zero;
    vfloat* at = pixels.row(column, splat.first_row);
    for (int row = splat.first_row; row < splat.last_row; ++row, at += 2 + own) {
        const SphereColumn::Here here = line.at(directions.down[row], directions.level[row]);
        const vfloat v = unblend_planes<C, true>(at, own, here.raw, color, by_color);
        const vfloat lean = splat.w * here.y;
        const vfloat turned = (here.slanted * here.slanted + lean * here.y) * curving;
        const vfloat toward_x = v * (splat.u * here.slanted + here.x * turned);
        const vfloat toward_y = v * (splat.v * here.slanted + lean + here.y * turned);
        const vfloat x = v * here.x, y = v * here.y;
        one += v, by_x += toward_x, by_y += toward_y;
        xx += x * here.x, xy += x * here.y, yy += y * here.y;
        if constexpr (ABSOLUTE) absolute_x += magnitude(toward_x), absolute_y += magnitude(toward_y);
    }
    const vfloat sums[MOMENTS] = {one, by_x * (1.0f / HALF), by_y * (1.0f / HALF), xx, xy, yy};
    for (int i = 0; i < MOMENTS; ++i) out[i] += sum(sums[i]);
    for (int c = 0; c < own; ++c) out[MOMENTS + c] += sum(by_color[c]);
    if constexpr (ABSOLUTE) out[MOMENTS + own] += sum(absolute_x) / HALF, out[MOMENTS + own + 1] += sum(absolute_y) / HALF;
}

template <int C, bool ABSOLUTE>
void walk_sphere_backward(const Shown& shown, const View& view, const Block& block, const Pass& pass,
                          const BackwardPixels<C>& pixels, BlockRows& moments) {
    const Directions directions(view.lens, block);
    const SumRows<C, ABSOLUTE, 0> rows(moments);
    walk_sphere(shown, view, block, pixels, rows, [&](const SphereSplat& splat, int i, int32_t id, int column) {
        const float* colors = shown.colors + static_cast<size_t>(id) * shown.channels + pass.first;
        backward_sphere_column<C, ABSOLUTE>(pixels, splat, directions, column, colors, pass.channels, view.lens.fx, rows.of(i));
    });
}

template <int C>
void backward_sphere_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                           bool absolute, BlockRows& moments, float* background_gradient) {
    const BackwardPixels<C> pixels(pass.channels);
    begin_backward<C>(pixels, view, block, pass, images, background_gradient);
    (absolute ? walk_sphere_backward<C, true> : walk_sphere_backward<C, false>)(shown, view, block, pass, pixels, moments);
}

void backward_sphere(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                     bool absolute, BlockRows& moments, float* background_gradient) {
    switch (pass.channels) {
        case 3: return backward_sphere_block<3>(shown, view, block, pass, images, absolute, moments, background_gradient);
        case 4: return backward_sphere_block<4>(shown, view, block, pass, images, absolute, moments, background_gradient);
        default: return backward_sphere_block<0>(shown, view, block, pass, images, absolute, moments, background_gradient);
    }
}

}  // namespace
}  // namespace splat
