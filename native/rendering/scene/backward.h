// Gradients of a block, as sums of each splat of its list.
#pragma once

#include "../kernel/backward.h"
#include "formulas.h"
#include "pixels.h"

namespace splat {
namespace {

// Planes: those of `BackwardTile`, the gradient once for each channel.
template <int C>
using BackwardPixels = Pixels<C, 2>;

template <int C, bool ABSOLUTE, int NUMBERS>
constexpr int SCENE_SUMS = MOMENTS + (C ? C : MAX_CHANNELS) + NUMBERS + (ABSOLUTE ? ABSOLUTES : 0);

// `sums_of`: the same additions, in fewer instructions.
#if defined(__AVX2__) && LANES == 8
static inline vfloat pairs_of(vfloat a, vfloat b) {
    const __m256 even = _mm256_shuffle_ps((__m256)a, (__m256)b, 0x88), odd = _mm256_shuffle_ps((__m256)a, (__m256)b, 0xdd);
    return (vfloat)_mm256_add_ps(even, odd);
}

static inline vfloat quick_sums_of(vfloat* values) {
    const vfloat a = pairs_of(pairs_of(values[0], values[1]), pairs_of(values[2], values[3]));
    const vfloat b = pairs_of(pairs_of(values[4], values[5]), pairs_of(values[6], values[7]));
    return (vfloat)_mm256_permute2f128_ps((__m256)a, (__m256)b, 0x20) + (vfloat)_mm256_permute2f128_ps((__m256)a, (__m256)b, 0x31);
}
#else
static inline vfloat quick_sums_of(vfloat* values) { return sums_of(values); }
#endif

// Adds the sums over lanes; `values` is overwritten.
template <int N>
inline void add_sums(vfloat* values, float* out) {
    int i = 0;
    for (; i + LANES <= N; i += LANES) store(out + i, load(out + i) + quick_sums_of(values + i));
    if (2 * (N - i) > LANES) {
        vfloat rest[LANES] = {};
        std::copy(values + i, values + N, rest);
        const vfloat sums = quick_sums_of(rest);
        for (int k = 0; i < N; ++i, ++k) out[i] += sums[k];
    }
    for (; i < N; ++i) out[i] += sum(values[i]);
}

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
    const Color<C> color = spread_colors<C>(nearby.colors.get() + i * own, own);
    const float first_dy = top - splats.y[i] + strip.first;
    const vfloat dx = lane_distances(splats, i, left), zero = spread(0.0f);
    vfloat by_color[C ? C : MAX_CHANNELS];
    for (int c = 0; c < own; ++c) by_color[c] = zero;
    vfloat plain = zero, number = zero;
    vfloat one = zero, y = zero, yy = zero, absolute_x = zero, absolute_y = zero, dy = spread(first_dy);
    // The gradient of the centre is v·(u·t, v·t + w·dy) / HALF, with t = u·dx + v·dy.
    const vfloat u = spread(splats.u[i]), slant = spread(splats.v[i]);
    const vfloat across = u * dx, slanted = slant * across, down = slant * slant + splats.w[i];
    Alpha alphas(splats, i, nearby.columns[n], dx, first_dy, strip.last - strip.first);
    for (int rows = strip.last - strip.first; rows; --rows, at += 2 + own) {
        vfloat v = unblend_planes<C, CLAMPED>(at, own, alphas.here(), color, by_color);
        if constexpr (Alpha::NUMBERS != 0) {
            plain += v, number += v * alphas.number();
            v *= alphas.factor();
        }
        const vfloat v_y = v * dy;
        one += v, y += v_y, yy += v_y * dy;
        if constexpr (ABSOLUTE) {
            const vfloat size = magnitude(v);
            absolute_x += size * magnitude(across + slant * dy);
            absolute_y += size * magnitude(slanted + down * dy);
        }
        dy += 1.0f;
        alphas.go_down();
    }
    constexpr int COUNT = SCENE_SUMS<C, ABSOLUTE, Alpha::NUMBERS>;
    if constexpr (Alpha::NUMBERS != 0) {
        const float slope = alphas.slope();
        one *= slope, y *= slope, yy *= slope, absolute_x *= slope, absolute_y *= slope, number *= alphas.per_number();
    }
    vfloat sums[COUNT];
    const vfloat x = dx * one;
    sums[0] = Alpha::NUMBERS ? plain : one, sums[1] = x, sums[2] = y, sums[3] = dx * x, sums[4] = dx * y, sums[5] = yy;
    for (int c = 0; c < own; ++c) sums[MOMENTS + c] = by_color[c];
    if constexpr (Alpha::NUMBERS != 0) sums[MOMENTS + own] = number;
    constexpr int NUMBERS = Alpha::NUMBERS;
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

template <int C, bool ABSOLUTE, typename Drawn>
inline void backward_column(const BackwardPixels<C>& pixels, const Nearby& nearby, int column, int n, float left, float top,
                            int channels, float* moments) {
    const Strip& strip = nearby.strips[n];
    vfloat* at = pixels.row(column, strip.first);
    const int width = MOMENTS + (C ? C : channels) + Drawn::NUMBERS + (ABSOLUTE ? ABSOLUTES : 0);
    float* out = moments + static_cast<size_t>(strip.splat) * width;
    left += column * LANES;
    if constexpr (!Drawn::RECURS) {
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

template <int C, typename Drawn>
void backward_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, float* moments, float* background_gradient) {
    Nearby nearby;
    const BackwardPixels<C> pixels(pass.channels);
    const int width = MOMENTS + pass.channels + Drawn::NUMBERS + (absolute ? ABSOLUTES : 0);
    const float left = block.left + 0.5f, top = block.top + 0.5f;
    std::fill_n(moments, block.length * width, 0.0f);
    begin_backward<C>(pixels, view, block, pass, images, background_gradient);
    if (absolute) {
        walk_list<C, Drawn::RECURS>(shown, block, pass, pixels, nearby, [&](int column, size_t from, int n) {
            backward_column<C, true, Drawn>(pixels, nearby, column, n, left, top, pass.channels, moments + from * width);
        });
    } else {
        walk_list<C, Drawn::RECURS>(shown, block, pass, pixels, nearby, [&](int column, size_t from, int n) {
            backward_column<C, false, Drawn>(pixels, nearby, column, n, left, top, pass.channels, moments + from * width);
        });
    }
}

template <typename Drawn>
void backward_drawn(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, float* moments, float* background_gradient) {
    switch (pass.channels) {
        case 3: return backward_block<3, Drawn>(shown, view, block, pass, images, absolute, moments, background_gradient);
        case 4: return backward_block<4, Drawn>(shown, view, block, pass, images, absolute, moments, background_gradient);
        default: return backward_block<0, Drawn>(shown, view, block, pass, images, absolute, moments, background_gradient);
    }
}

void backward_plane(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, float* moments, float* background_gradient) {
    const bool is_gaussian = view.formula == Formula::GAUSSIAN;
    (is_gaussian ? backward_drawn<Gaussian> : backward_drawn<Exponential<true>>)(shown, view, block, pass, images, absolute,
                                                                                 moments, background_gradient);
}

}  // namespace
}  // namespace splat
