// Colours and transmittances of a block of surfels.
#pragma once

#include "forward.h"
#include "surfel.h"

namespace splat {
namespace {

template <int C, int DEPTHS, bool WEIGHED>
[[gnu::noinline]] void forward_surfel_column(const ForwardPixels<C>& pixels, const Surfel& surfel, int column, const float* colors,
                                             int channels, float* weights) {
    const int own = C ? C : channels, first = surfel.first_rows[column];
    Color<C> color = spread_colors<C>(colors, own, 1);
    const SurfelColumn line(surfel, column);
    vfloat total = spread(0.0f), most = spread(0.0f);
    vint seen_pixels = {};
    vfloat* at = pixels.row(column, first);
    float dy = first - surfel.y;
    for (int rows = surfel.last_rows[column] - first; rows; --rows, dy += 1.0f) {
        const SurfelColumn::Here here = line.at(dy);
        set_depths<DEPTHS, C>(color, own, surfel, here);
        const vfloat t = *at, alpha = seen_alpha<true>(here.raw, t), weight = t * alpha;
        *at++ = pass_on(t, alpha);
        for (int c = 0; c < own; ++c) *at++ += weight * color.channel[c];
        if constexpr (WEIGHED) {
            total += weight, most = larger(weight, most);
            seen_pixels -= (here.raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
        }
    }
    if constexpr (WEIGHED) {
        weights[0] += sum(total), weights[1] = std::max(weights[1], most_of(most));
        weights[2] += sum(__builtin_convertvector(seen_pixels, vfloat));
    }
}

template <int C, int DEPTHS>
void forward_surfel_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                          BlockRows* weights) {
    const ForwardPixels<C> pixels(pass.channels);
    clear_pixels<C>(pixels, view, block, pass);
    const auto colors_of = [&](int32_t id) { return shown.colors + static_cast<size_t>(id) * shown.channels + pass.first; };
    if (weights) {
        const ChunkRows<WEIGHTS> rows(*weights);
        walk_surfels(shown, view, block, pixels, rows, [&](const Surfel& surfel, int i, int32_t id, int column) {
            forward_surfel_column<C, DEPTHS, true>(pixels, surfel, column, colors_of(id), pass.channels, rows.of(i));
        });
    } else {
        walk_surfels(shown, view, block, pixels, NoRows(), [&](const Surfel& surfel, int, int32_t id, int column) {
            forward_surfel_column<C, DEPTHS, false>(pixels, surfel, column, colors_of(id), pass.channels, nullptr);
        });
    }
    write_pixels<C>(pixels, view, block, pass, images);
}

void forward_surfels(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                     BlockRows* weights) {
    const int depths = varying_channels(shown, view, pass);
    const auto run = [&](auto function) { function(shown, view, block, pass, images, weights); };
    if (depths == 0) return pass.channels == 3 ? run(forward_surfel_block<3, 0>) : run(forward_surfel_block<0, 0>);
    if (depths == 1) return pass.channels == 4 ? run(forward_surfel_block<4, 1>) : run(forward_surfel_block<0, 1>);
    return pass.channels == 5 ? run(forward_surfel_block<5, 2>) : run(forward_surfel_block<0, 2>);
}

}  // namespace
}  // namespace splat
