// From colours or harmonics to the colours that a view sees, and back.
#pragma once

#include <algorithm>
#include <cstring>

#include "../scene.h"
#include "harmonics.h"
#include "places.h"

namespace splat {
namespace {

inline Direction direction_of(const View& view, Vector<vfloat> mean) {
    if (view.is_parallel) return {spread(view.origin[0]), spread(view.origin[1]), spread(view.origin[2])};
    return {mean.x - view.origin[0], mean.y - view.origin[1], mean.z - view.origin[2]};
}

// 1 / length, of a length that is at least that of torch.nn.functional.normalize.
inline vfloat inverse_length(Direction d) {
    return 1.0f / larger(root(d.x * d.x + d.y * d.y + d.z * d.z), spread(1e-12f));
}

// What the coefficients of one Gaussian and harmonics of one lane sum to, plus ½ and at least 0.
inline void seen_color(const float* sh, int coefficients, const float (*basis)[LANES], int lane, float* color) {
    float r = 0.5f, g = 0.5f, b = 0.5f;
    for (int m = 0; m < coefficients; ++m) {
        const float y = basis[m][lane];
        r += y * sh[3 * m], g += y * sh[3 * m + 1], b += y * sh[3 * m + 2];
    }
    color[0] = std::max(r, 0.0f), color[1] = std::max(g, 0.0f), color[2] = std::max(b, 0.0f);
}

template <int DEGREE>
void seen_colors(const Source& source, const View& view, const Shown& shown, const Places& places, Vector<vfloat> means,
                 unsigned visible) {
    constexpr int COEFFICIENTS = (DEGREE + 1) * (DEGREE + 1);
    Direction d = direction_of(view, means);
    const vfloat inverse = inverse_length(d);
    vfloat values[COEFFICIENTS];
    harmonics<DEGREE>({d.x * inverse, d.y * inverse, d.z * inverse}, values);
    float basis[COEFFICIENTS][LANES];
    std::memcpy(basis, values, sizeof basis);
    for (; visible; visible &= visible - 1) {
        const int lane = __builtin_ctz(visible);
        const size_t id = places.id[lane];
        seen_color(source.sh + 3 * COEFFICIENTS * id, COEFFICIENTS, basis, lane, shown.colors + id * shown.channels);
    }
}

void colors_of(const Source& source, const View& view, const Shown& shown, const Places& places, Vector<vfloat> means,
               unsigned visible) {
    if (source.sh) {
        switch (source.degree) {
            case 0: return seen_colors<0>(source, view, shown, places, means, visible);
            case 1: return seen_colors<1>(source, view, shown, places, means, visible);
            case 2: return seen_colors<2>(source, view, shown, places, means, visible);
            case 3: return seen_colors<3>(source, view, shown, places, means, visible);
            default: return seen_colors<4>(source, view, shown, places, means, visible);
        }
    }
    for (; visible; visible &= visible - 1) {
        const size_t id = places.id[__builtin_ctz(visible)];
        std::copy_n(source.colors + id * source.features, source.features, shown.colors + id * shown.channels);
    }
}

// Gradients of LANES Gaussians' harmonics, and toward their directions.
template <int DEGREE, bool FRESH>
Direction backward_colors(const Source& source, const View& view, const Shown& shown, const Places& places, unsigned real,
                          Vector<vfloat> means, const float* sums, int width, float* out) {
    constexpr int COEFFICIENTS = (DEGREE + 1) * (DEGREE + 1);
    const Direction d = direction_of(view, means);
    const vfloat inverse = inverse_length(d);
    const Direction unit{d.x * inverse, d.y * inverse, d.z * inverse};
    vfloat values[COEFFICIENTS];
    harmonics<DEGREE>(unit, values);
    float basis[COEFFICIENTS][LANES], by_basis[COEFFICIENTS][LANES] = {};
    std::memcpy(basis, values, sizeof basis);
    for (; real; real &= real - 1) {
        const int lane = __builtin_ctz(real);
        const size_t id = places.id[lane];
        const float *color = shown.colors + id * shown.channels, *by_color = sums + id * width + MOMENTS;
        // No gradient where the colour is clamped at 0.
        const float r = color[0] > 0.0f ? by_color[0] : 0.0f, g = color[1] > 0.0f ? by_color[1] : 0.0f,
                    b = color[2] > 0.0f ? by_color[2] : 0.0f;
        const float* sh = source.sh + 3 * COEFFICIENTS * id;
        float* by_sh = out + 3 * COEFFICIENTS * id;
        for (int m = 0; m < COEFFICIENTS; ++m) {
            const float y = basis[m][lane];
            put<FRESH>(by_sh[3 * m], y * r), put<FRESH>(by_sh[3 * m + 1], y * g), put<FRESH>(by_sh[3 * m + 2], y * b);
            by_basis[m][lane] = sh[3 * m] * r + sh[3 * m + 1] * g + sh[3 * m + 2] * b;
        }
    }
    if constexpr (DEGREE == 0) return {spread(0.0f), spread(0.0f), spread(0.0f)};
    std::memcpy(values, by_basis, sizeof by_basis);
    const Direction by = harmonics_backward<DEGREE>(unit, values);
    const vfloat along = by.x * unit.x + by.y * unit.y + by.z * unit.z;
    return {(by.x - along * unit.x) * inverse, (by.y - along * unit.y) * inverse, (by.z - along * unit.z) * inverse};
}

template <bool FRESH>
Direction colors_backward(const Source& source, const View& view, const Shown& shown, const Places& places, unsigned real,
                          Vector<vfloat> means, const float* sums, int width, const SourceGradients& out) {
    if (source.sh) {
        switch (source.degree) {
            case 0: return backward_colors<0, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            case 1: return backward_colors<1, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            case 2: return backward_colors<2, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            case 3: return backward_colors<3, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
            default: return backward_colors<4, FRESH>(source, view, shown, places, real, means, sums, width, out.sh);
        }
    }
    for (; real; real &= real - 1) {
        const size_t id = places.id[__builtin_ctz(real)];
        for (int c = 0; c < source.features; ++c)
            put<FRESH>(out.colors[id * source.features + c], sums[id * width + MOMENTS + c]);
    }
    return {spread(0.0f), spread(0.0f), spread(0.0f)};
}

}  // namespace
}  // namespace splat
