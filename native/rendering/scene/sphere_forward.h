// Colours and transmittances of a panorama's block.
#pragma once

#include "forward.h"
#include "sphere.h"

namespace splat {
namespace {

template <int C, bool WEIGHED>
void forward_sphere_column(const ForwardPixels<C>& pixels, const SphereSplat& splat, const Directions& directions, int column,
                           const float* colors, int channels, float* weights) {
    const int own = C ? C : channels;
    const Color<C> color = spread_colors<C>(colors, own, 1);
    const SphereColumn line(splat, directions, column);
    vfloat total = spread(0.0f), most = spread(0.0f);
    vint seen_pixels = {};
    vfloat* at = pixels.row(column, splat.first_row);
    for (int row = splat.first_row; row < splat.last_row; ++row) {
        const vfloat raw = line.at(directions.down[row], directions.level[row]).raw;
        const vfloat t = *at, alpha = seen_alpha<true>(raw, t), weight = t * alpha;
        *at++ = pass_on(t, alpha);
        for (int c = 0; c < own; ++c) *at++ += weight * color.channel[c];
        if constexpr (WEIGHED) {
            total += weight, most = larger(weight, most);
            seen_pixels -= (raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
        }
    }
    if constexpr (WEIGHED) {
        weights[0] += sum(total), weights[1] = std::max(weights[1], most_of(most));
        weights[2] += sum(__builtin_convertvector(seen_pixels, vfloat));
    }
}

template <int C>
void forward_sphere_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                          BlockRows* weights) {
    const ForwardPixels<C> pixels(pass.channels);
    const Directions directions(view.lens, block);
    clear_pixels<C>(pixels, view, block, pass);
    const auto colors_of = [&](int32_t id) { return shown.colors + static_cast<size_t>(id) * shown.channels + pass.first; };
    if (weights) {
        const ChunkRows<WEIGHTS> rows(*weights);
        walk_sphere(shown, view, block, pixels, rows, [&](const SphereSplat& splat, int i, int32_t id, int column) {
            forward_sphere_column<C, true>(pixels, splat, directions, column, colors_of(id), pass.channels, rows.of(i));
        });
    } else {
        walk_sphere(shown, view, block, pixels, NoRows(), [&](const SphereSplat& splat, int, int32_t id, int column) {
            forward_sphere_column<C, false>(pixels, splat, directions, column, colors_of(id), pass.channels, nullptr);
        });
    }
    write_pixels<C>(pixels, view, block, pass, images);
}

void forward_sphere(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                    BlockRows* weights) {
    switch (pass.channels) {
        case 3: return forward_sphere_block<3>(shown, view, block, pass, images, weights);
        case 4: return forward_sphere_block<4>(shown, view, block, pass, images, weights);
        default: return forward_sphere_block<0>(shown, view, block, pass, images, weights);
    }
}

}  // namespace
}  // namespace splat
