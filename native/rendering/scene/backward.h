// Gradients of a block, as sums of each splat of its list.
#pragma once

#include <type_traits>

#include "../kernel/backward.h"
#include "analytic.h"
#include "formulas.h"
#include "pixels.h"
#include "sums.h"

namespace splat {
namespace {

// Planes: those of `BackwardTile`, the gradient once for each channel.
template <int C>
using BackwardPixels = Pixels<C, 2>;

// Numbers of a row of sums, at most if the channels are not known.
template <int C, bool ABSOLUTE, int NUMBERS>
constexpr int SCENE_SUMS = MOMENTS + (C ? C : MAX_CHANNELS) + NUMBERS + (ABSOLUTE ? ABSOLUTES : 0);

template <int C, bool ABSOLUTE, int NUMBERS>
using SumRows = ChunkRows<C ? SCENE_SUMS<C, ABSOLUTE, NUMBERS> : 0>;

// `unblend` for planes that lie side by side: T, S and the gradients.
template <int C, bool CLAMPED>
inline vfloat unblend_planes(vfloat* planes, int channels, vfloat raw, const Color<C>& color, vfloat* by_color) {
    const vfloat *gradients = planes + 2, t = planes[0];
    const vfloat alpha = seen_alpha<CLAMPED>(raw, t), weight = t * alpha;
    vfloat toward = gradients[0] * color.channel[0];
    by_color[0] += gradients[0] * weight;
    for (int c = 1; c < (C ? C : channels); ++c) {
        toward += gradients[c] * color.channel[c];
        by_color[c] += gradients[c] * weight;
    }
    const vfloat contribution = weight * toward, behind = planes[1] - contribution;
    planes[0] = pass_on(t, alpha), planes[1] = behind;
    const vfloat v = contribution - alpha / (1.0f - alpha) * behind;
    return CLAMPED ? only(raw <= ALPHA_MAX, v) : v;
}

// Adds to the sums of the strip's splat, over the rows of the strip and then over its columns: moments about the splat's centre, 1,
// x, y, xx, xy, yy, of v = α ∂L/∂α; the colours' gradients; those of the formula's own numbers; and, if ABSOLUTE, the absolute
// gradients of the centre. All moments but the first are of v times the slope of the power that the formula takes. Not inlined, like
// `forward_strip`.
template <int C, bool CLAMPED, bool ABSOLUTE, typename Alpha>
[[gnu::noinline]] void backward_strip(const Nearby& nearby, int n, vfloat* at, float left, float top, int channels, float* out) {
    const Strip& strip = nearby.strips[n];
    const Prepared& splats = nearby.splats;
    const int i = strip.splat, own = C ? C : channels;
    const Color<C> color = spread_colors<C>(nearby.colors.get() + i, own, CHUNK);
    const float first_dy = top - splats.y[i] + strip.first;
    const vfloat dx = lane_distances(splats, i, left), zero = spread(0.0f);
    vfloat by_color[C ? C : MAX_CHANNELS];
    for (int c = 0; c < own; ++c) by_color[c] = zero;
    // Sums of v, of these sums, and of those: additions alone, where moments about the centre would take products in each row.
    vfloat one = zero, sums_once = zero, sums_twice = zero;
    // The gradient of the centre is v·(u·t, v·t + w·dy) / HALF, with t = u·dx + v·dy.
    const vfloat u = spread(splats.u[i]), slant = spread(splats.v[i]), down = slant * slant + splats.w[i];
    vfloat absolute_x = zero, absolute_y = zero, toward_x = u * dx + slant * first_dy, toward_y = slant * (u * dx) + down * first_dy;
    vfloat plain = zero, number = zero;
    Alpha alphas(splats, i, nearby.columns[n], dx, first_dy, strip.last - strip.first);
    for (int rows = strip.last - strip.first; rows; --rows, at += 2 + own) {
        vfloat v = unblend_planes<C, CLAMPED>(at, own, alphas.here(), color, by_color);
        if constexpr (Alpha::NUMBERS != 0) {
            plain += v, number += v * alphas.number();
            v *= alphas.factor();
        }
        one += v, sums_once += one, sums_twice += sums_once;
        if constexpr (ABSOLUTE) {
            const vfloat size = magnitude(v);
            absolute_x += size * magnitude(toward_x), absolute_y += size * magnitude(toward_y);
            toward_x += slant, toward_y += down;
        }
        alphas.go_down();
    }
    // In sums_once each v counts as often as its row is above the end, m; in sums_twice m·(m + 1) / 2 times.
    const float end_dy = top - splats.y[i] + strip.last;
    vfloat y = end_dy * one - sums_once, yy = end_dy * (y - sums_once) + (2.0f * sums_twice - sums_once);
    constexpr int NUMBERS = Alpha::NUMBERS, COUNT = SCENE_SUMS<C, ABSOLUTE, NUMBERS>;
    if constexpr (NUMBERS != 0) {
        const float slope = alphas.slope();
        one *= slope, y *= slope, yy *= slope, absolute_x *= slope, absolute_y *= slope, number *= alphas.per_number();
    }
    vfloat sums[COUNT];
    const vfloat x = dx * one;
    sums[0] = NUMBERS ? plain : one, sums[1] = x, sums[2] = y, sums[3] = dx * x, sums[4] = dx * y, sums[5] = yy;
    for (int c = 0; c < own; ++c) sums[MOMENTS + c] = by_color[c];
    if constexpr (NUMBERS != 0) sums[MOMENTS + own] = number;
    if constexpr (ABSOLUTE) {
        sums[MOMENTS + own + NUMBERS] = absolute_x * (u / HALF);
        sums[MOMENTS + own + NUMBERS + 1] = absolute_y / HALF;
    }
    if constexpr (C != 0) {
        add_sums<COUNT>(sums, out);
    } else {
        for (int k = 0; k < MOMENTS + own + NUMBERS + (ABSOLUTE ? ABSOLUTES : 0); ++k) out[k] += sum(sums[k]);
    }
}

// The same for the filter "analytic". The moments are of v, and of v times the derivatives of α's logarithm with respect to the place
// along both axes, the logarithms of both deviations, and the angle of the axes.
template <int C, bool ABSOLUTE>
[[gnu::noinline]] void backward_analytic(const Nearby& nearby, int n, vfloat* at, float left, float top, int channels, float* out) {
    const Strip& strip = nearby.strips[n];
    const Prepared& splats = nearby.splats;
    const int i = strip.splat, own = C ? C : channels, rows = strip.last - strip.first;
    const Color<C> color = spread_colors<C>(nearby.colors.get() + i, own, CHUNK);
    constexpr int COUNT = SCENE_SUMS<C, ABSOLUTE, 0>;
    vfloat sums[COUNT];
    for (int k = 0; k < MOMENTS + own + (ABSOLUTE ? ABSOLUTES : 0); ++k) sums[k] = spread(0.0f);
    const float cos = splats.u[i], sin = splats.v[i];
    const Analytic<true> alphas(splats, i, nearby.columns[n], lane_distances(splats, i, left), top - splats.y[i] + strip.first, rows);
    for (int k = 0; k < rows; ++k, at += 2 + own) {
        const vfloat v = unblend_planes<C, true>(at, own, alphas.raws[k], color, sums + MOMENTS);
        const vfloat by_u = v * alphas.by_u[k], by_v = v * alphas.by_v[k];
        sums[0] += v, sums[1] += by_u, sums[2] += by_v;
        sums[3] += v * alphas.by_first[k], sums[4] += v * alphas.by_second[k], sums[5] += v * alphas.by_angle[k];
        if constexpr (ABSOLUTE) {
            sums[MOMENTS + own] += magnitude(cos * by_u - sin * by_v);
            sums[MOMENTS + own + 1] += magnitude(sin * by_u + cos * by_v);
        }
    }
    if constexpr (C != 0) {
        add_sums<COUNT>(sums, out);
    } else {
        for (int k = 0; k < MOMENTS + own + (ABSOLUTE ? ABSOLUTES : 0); ++k) out[k] += sum(sums[k]);
    }
}

template <int C, bool ABSOLUTE, typename Drawn>
inline void backward_column(const BackwardPixels<C>& pixels, const Nearby& nearby, int column, int n, float left, float top,
                            int channels, const SumRows<C, ABSOLUTE, Drawn::NUMBERS>& rows) {
    const Strip& strip = nearby.strips[n];
    vfloat* at = pixels.row(column, strip.first);
    float* out = rows.of(strip.splat);
    left += column * LANES;
    if constexpr (std::is_same_v<Drawn, Analytic<true>>) {
        backward_analytic<C, ABSOLUTE>(nearby, n, at, left, top, channels, out);
    } else if constexpr (!Drawn::RECURS) {
        backward_strip<C, true, ABSOLUTE, Drawn>(nearby, n, at, left, top, channels, out);
    } else if (nearby.splats.path[strip.splat] != RECURRENCE) {
        backward_strip<C, true, ABSOLUTE, DirectAlpha>(nearby, n, at, left, top, channels, out);
    } else if (nearby.splats.level[strip.splat] > CLAMP_LEVEL) {
        backward_strip<C, true, ABSOLUTE, RecurrentAlpha>(nearby, n, at, left, top, channels, out);
    } else {
        backward_strip<C, false, ABSOLUTE, RecurrentAlpha>(nearby, n, at, left, top, channels, out);
    }
}

// Transmittances, what is left of the picture, and gradients before the first splat; the background's gradient is written.
template <int C>
void begin_backward(const BackwardPixels<C>& pixels, const View& view, const Block& block, const Pass& pass,
                    const ImageGradients& images, float* background_gradient) {
    const size_t size = static_cast<size_t>(view.height) * view.width;
    vfloat background[C ? C : MAX_CHANNELS] = {};
    each_vector(view, block, [&](int column, int row, int lanes, size_t place) {
        // Lanes outside the image have gradient 0, and so is all that follows from it.
        vfloat* at = pixels.row(column, row);
        const vfloat last = load_first(images.transmittance + place, lanes);
        at[0] = clear_lanes(lanes);
        vfloat behind = load_first(images.by_transmittance + place, lanes) * last;
        for (int c = 0; c < (C ? C : pass.channels); ++c) {
            const vfloat gradient = load_first(images.by_color + c * size + place, lanes);
            at[2 + c] = gradient;
            behind += gradient * load_first(images.color + c * size + place, lanes);
            background[c] += gradient * last;
        }
        at[1] = behind;
    });
    for (int c = 0; c < pass.channels; ++c) background_gradient[c] = sum(background[c]);
}

template <int C, bool ABSOLUTE, typename Drawn>
void walk_backward(const Shown& shown, const Block& block, const Pass& pass, const BackwardPixels<C>& pixels, BlockRows& moments) {
    Nearby nearby;
    const SumRows<C, ABSOLUTE, Drawn::NUMBERS> rows(moments);
    const float left = block.left + 0.5f, top = block.top + 0.5f;
    walk_list<C, Drawn::RECURS>(shown, block, pass, pixels, nearby, rows, [&](int column, int n) {
        backward_column<C, ABSOLUTE, Drawn>(pixels, nearby, column, n, left, top, pass.channels, rows);
    });
}

template <int C, typename Drawn>
void backward_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, BlockRows& moments, float* background_gradient) {
    const BackwardPixels<C> pixels(pass.channels);
    begin_backward<C>(pixels, view, block, pass, images, background_gradient);
    (absolute ? walk_backward<C, true, Drawn> : walk_backward<C, false, Drawn>)(shown, block, pass, pixels, moments);
}

template <typename Drawn>
void backward_drawn(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, BlockRows& moments, float* background_gradient) {
    switch (pass.channels) {
        case 3: return backward_block<3, Drawn>(shown, view, block, pass, images, absolute, moments, background_gradient);
        case 4: return backward_block<4, Drawn>(shown, view, block, pass, images, absolute, moments, background_gradient);
        default: return backward_block<0, Drawn>(shown, view, block, pass, images, absolute, moments, background_gradient);
    }
}

void backward_plane(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, BlockRows& moments, float* background_gradient) {
    const auto run = view.formula == Formula::EXPONENTIAL ? backward_drawn<Exponential<true>>
                     : view.formula == Formula::ANALYTIC  ? backward_drawn<Analytic<true>>
                                                          : backward_drawn<Gaussian>;
    run(shown, view, block, pass, images, absolute, moments, background_gradient);
}

}  // namespace
}  // namespace splat
