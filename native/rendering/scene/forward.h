// Colours and transmittances of a block.
#pragma once

#include "analytic.h"
#include "formulas.h"
#include "pixels.h"
#include "sums.h"

namespace splat {
namespace {

// Planes: transmittance, then colours.
template <int C>
using ForwardPixels = Pixels<C, 1>;

// One strip, whose first pixels are `at`. CLAMPED: whether α can exceed ALPHA_MAX at all. WEIGHED: whether to add to `weights` of
// the splat. Not inlined, because the registers that the loop needs would go to constants of what surrounds it.
template <int C, bool CLAMPED, bool WEIGHED, typename Alpha>
[[gnu::noinline]] void forward_strip(const Nearby& nearby, int n, vfloat* at, float left, float top, int channels, float* weights) {
    const Strip& strip = nearby.strips[n];
    const int own = C ? C : channels;
    const Color<C> color = spread_colors<C>(nearby.colors.get() + strip.splat, own, CHUNK);
    vfloat total = spread(0.0f), most = spread(0.0f);
    vint seen_pixels = {};
    Alpha alphas(nearby.splats, strip.splat, nearby.columns[n], lane_distances(nearby.splats, strip.splat, left),
                 top - nearby.splats.y[strip.splat] + strip.first, strip.last - strip.first);
    for (int rows = strip.last - strip.first; rows; --rows) {
        const vfloat raw = alphas.here(), t = *at, alpha = seen_alpha<CLAMPED>(raw, t), weight = t * alpha;
        *at++ = pass_on(t, alpha);
        for (int c = 0; c < own; ++c) *at++ += weight * color.channel[c];
        if constexpr (WEIGHED) {
            total += weight, most = larger(weight, most);
            seen_pixels = choose((raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN), seen_pixels + 1, seen_pixels);
        }
        alphas.go_down();
    }
    if constexpr (WEIGHED) {
        add_two_sums(total, __builtin_convertvector(seen_pixels, vfloat), weights[0], weights[2]);
        weights[1] = std::max(weights[1], most_of(most));
    }
}

template <int C, bool WEIGHED, typename Drawn>
inline void forward_column(const ForwardPixels<C>& pixels, const Nearby& nearby, int column, int n, float left, float top,
                           int channels, float* weights) {
    const Strip& strip = nearby.strips[n];
    vfloat* at = pixels.row(column, strip.first);
    left += column * LANES;
    if constexpr (!Drawn::RECURS) {
        forward_strip<C, true, WEIGHED, Drawn>(nearby, n, at, left, top, channels, weights);
    } else if (nearby.splats.path[strip.splat] != RECURRENCE) {
        forward_strip<C, true, WEIGHED, DirectAlpha>(nearby, n, at, left, top, channels, weights);
    } else if (nearby.splats.level[strip.splat] > CLAMP_LEVEL) {
        forward_strip<C, true, WEIGHED, RecurrentAlpha>(nearby, n, at, left, top, channels, weights);
    } else {
        forward_strip<C, false, WEIGHED, RecurrentAlpha>(nearby, n, at, left, top, channels, weights);
    }
}

// What is there before the first splat.
template <int C>
void clear_pixels(const ForwardPixels<C>& pixels, const View& view, const Block& block, const Pass& pass) {
    each_vector(view, block, [&](int column, int row, int width, size_t) {
        vfloat* at = pixels.row(column, row);
        *at++ = clear_lanes(width);
        std::fill_n(at, pass.channels, spread(0.0f));
    });
}

// The background shows through, and pixels go to the image.
template <int C>
void write_pixels(const ForwardPixels<C>& pixels, const View& view, const Block& block, const Pass& pass, const Images& images) {
    const size_t size = static_cast<size_t>(view.height) * view.width;
    each_vector(view, block, [&](int column, int row, int width, size_t place) {
        const vfloat* at = pixels.row(column, row);
        const vfloat t = *at++;
        store_first(images.transmittance + place, t, width);
        for (int c = 0; c < (C ? C : pass.channels); ++c)
            store_first(images.color + c * size + place, at[c] + t * pass.background[c], width);
    });
}

template <int C, typename Drawn>
void forward_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                   BlockRows* weights) {
    Nearby nearby;
    const ForwardPixels<C> pixels(pass.channels);
    const float left = block.left + 0.5f, top = block.top + 0.5f;
    clear_pixels<C>(pixels, view, block, pass);
    if (weights) {
        const ChunkRows<WEIGHTS> rows(*weights);
        walk_list<C, Drawn::RECURS>(shown, block, pass, pixels, nearby, rows, [&](int column, int n) {
            forward_column<C, true, Drawn>(pixels, nearby, column, n, left, top, pass.channels, rows.of(nearby.strips[n].splat));
        });
    } else {
        walk_list<C, Drawn::RECURS>(shown, block, pass, pixels, nearby, NoRows(), [&](int column, int n) {
            forward_column<C, false, Drawn>(pixels, nearby, column, n, left, top, pass.channels, nullptr);
        });
    }
    write_pixels<C>(pixels, view, block, pass, images);
}

template <typename Drawn>
void forward_drawn(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                   BlockRows* weights) {
    switch (pass.channels) {
        case 3: return forward_block<3, Drawn>(shown, view, block, pass, images, weights);
        case 4: return forward_block<4, Drawn>(shown, view, block, pass, images, weights);
        default: return forward_block<0, Drawn>(shown, view, block, pass, images, weights);
    }
}

void forward_plane(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                   BlockRows* weights) {
    const auto run = view.formula == Formula::EXPONENTIAL ? forward_drawn<Exponential<false>>
                     : view.formula == Formula::ANALYTIC  ? forward_drawn<Analytic<false>>
                                                          : forward_drawn<Gaussian>;
    run(shown, view, block, pass, images, weights);
}

}  // namespace
}  // namespace splat
