// Gradients of a block of surfels, as sums of each surfel of its list.
#pragma once

#include "backward.h"
#include "surfel.h"

namespace splat {
namespace {

// Adds to the sums of a surfel (`SurfelSum`) over the rows of a column, then over its lanes. v = α ∂L/∂α; the disc's power is u² + v²,
// so that v times −u is the gradient of u, and likewise of v.
template <int C, int DEPTHS, bool ABSOLUTE>
[[gnu::noinline]] void backward_surfel_column(const BackwardPixels<C>& pixels, const Surfel& surfel, int column, const float* colors,
                                              int channels, float* out) {
    const int own = C ? C : channels, first = surfel.first_rows[column];
    Color<C> color = spread_colors<C>(colors, own, 1);
    const SurfelColumn line(surfel, column);
    const vfloat zero = spread(0.0f);
    vfloat by_color[C ? C : MAX_CHANNELS];
    for (int c = 0; c < own; ++c) by_color[c] = zero;
    // Of the gradients of A·d, B·d and n·d, and of v where the floor is seen: the sums, and those times dy.
    vfloat one = zero, across = zero, down = zero, lean = zero, floor = zero, across_y = zero, down_y = zero, lean_y = zero,
           floor_y = zero, by_depth = zero, absolute_x = zero, absolute_y = zero;
    vfloat* at = pixels.row(column, first);
    float dy = first - surfel.y;
    const float inverse_depth = 1.0f / surfel.depth;
    for (int rows = surfel.last_rows[column] - first; rows; --rows, at += 2 + own, dy += 1.0f) {
        const SurfelColumn::Here here = line.at(dy);
        set_depths<DEPTHS, C>(color, own, surfel, here);
        const vfloat weight = at[0] * seen_alpha<true>(here.raw, at[0]);
        const vfloat v = unblend_planes<C, true>(at, own, here.raw, color, by_color);
        const vfloat of_disc = only(here.is_disc, v), of_floor = v - of_disc;
        const vfloat scaled = of_disc * here.inverse;
        const vfloat by_across = -scaled * here.u, by_down = -scaled * here.v;
        vfloat by_lean = scaled * here.power;
        if constexpr (DEPTHS == 1) {
            const vfloat gradient = weight * at[2 + own - 1] * here.inverse;
            by_depth += gradient;
            by_lean -= only(here.is_disc, surfel.depth * gradient * here.inverse);
        }
        if constexpr (DEPTHS == 2) {
            const vfloat inverse = color.channel[own - 2];
            const vfloat gradient = weight * (at[2 + own - 2] + 2.0f * inverse * at[2 + own - 1]) * inverse_depth;
            by_depth -= gradient * inverse;
            by_lean += only(here.is_disc, gradient);
        }
        one += v, across += by_across, down += by_down, lean += by_lean, floor += of_floor;
        across_y += by_across * dy, down_y += by_down * dy, lean_y += by_lean * dy, floor_y += of_floor * dy;
        if constexpr (ABSOLUTE) {
            const vfloat pull = surfel.inverse_floor * of_floor;
            absolute_x += magnitude(pull * line.dx - surfel.across_x * by_across - surfel.down_x * by_down - surfel.lean_x * by_lean);
            absolute_y += magnitude(pull * dy - surfel.across_y * by_across - surfel.down_y * by_down - surfel.lean_y * by_lean);
        }
    }
    const float pull = surfel.inverse_floor;
    const vfloat sums[SURFEL_MOMENTS] = {
        one,
        pull * (floor * line.dx) - surfel.across_x * across - surfel.down_x * down - surfel.lean_x * lean,
        pull * floor_y - surfel.across_y * across - surfel.down_y * down - surfel.lean_y * lean,
        across * line.dx, across_y, down * line.dx, down_y, lean * line.dx, lean_y, by_depth};
    for (int i = 0; i < SURFEL_MOMENTS; ++i) out[i] += sum(sums[i]);
    for (int c = 0; c < own - DEPTHS; ++c) out[SURFEL_MOMENTS + c] += sum(by_color[c]);
    if constexpr (ABSOLUTE) out[SURFEL_MOMENTS + own] += sum(absolute_x), out[SURFEL_MOMENTS + own + 1] += sum(absolute_y);
}

template <int C, int DEPTHS, bool ABSOLUTE>
void walk_surfels_backward(const Shown& shown, const View& view, const Block& block, const Pass& pass,
                           const BackwardPixels<C>& pixels, BlockRows& moments) {
    const ChunkRows<C ? SURFEL_MOMENTS + C + (ABSOLUTE ? ABSOLUTES : 0) : 0> rows(moments);
    walk_surfels(shown, view, block, pixels, rows, [&](const Surfel& surfel, int i, int32_t id, int column) {
        const float* colors = shown.colors + static_cast<size_t>(id) * shown.channels + pass.first;
        backward_surfel_column<C, DEPTHS, ABSOLUTE>(pixels, surfel, column, colors, pass.channels, rows.of(i));
    });
}

template <int C, int DEPTHS>
void backward_surfel_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                           bool absolute, BlockRows& moments, float* background_gradient) {
    const BackwardPixels<C> pixels(pass.channels);
    begin_backward<C>(pixels, view, block, pass, images, background_gradient);
    (absolute ? walk_surfels_backward<C, DEPTHS, true> : walk_surfels_backward<C, DEPTHS, false>)(shown, view, block, pass, pixels,
                                                                                                   moments);
}

void backward_surfels(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                      bool absolute, BlockRows& moments, float* background_gradient) {
    const int depths = varying_channels(shown, view, pass);
    const auto run = [&](auto function) { function(shown, view, block, pass, images, absolute, moments, background_gradient); };
    if (depths == 0) return pass.channels == 3 ? run(backward_surfel_block<3, 0>) : run(backward_surfel_block<0, 0>);
    if (depths == 1) return pass.channels == 4 ? run(backward_surfel_block<4, 1>) : run(backward_surfel_block<0, 1>);
    return pass.channels == 5 ? run(backward_surfel_block<5, 2>) : run(backward_surfel_block<0, 2>);
}

}  // namespace
}  // namespace splat
