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

// Harmonics are stored with red, green and blue side by side, so that three vectors hold LANES coefficients of one Gaussian: lane i
// of vector V has coefficient (V·LANES + i) / 3 in channel (V·LANES + i) % 3.
constexpr int RGB = 3;

template <int V>
struct CoefficientOf {
    static constexpr int of(int i) { return (V * LANES + i) / RGB; }
};

template <int V>
struct ChannelOf {
    static constexpr int of(int i) { return (V * LANES + i) % RGB; }
};

struct Triple {
    vfloat part[RGB];
};

// Three vectors in the order of stored harmonics, from what each coefficient or channel has in common.
template <template <int> class Which>
inline Triple triple_of(vfloat values) {
    return {{shuffled<Which<0>>(values, values), shuffled<Which<1>>(values, values), shuffled<Which<2>>(values, values)}};
}

// Red, green and blue of LANES Gaussians.
using Colors = Triple;

// What each of LANES Gaussians has in the order of stored harmonics, a Gaussian at a time and then turned.
struct Turning {
    vfloat rows[RGB][LANES];

    void clear(int lane) {
        for (auto& part : rows) part[lane] = spread(0.0f);
    }
    void turn_rows() {
        for (vfloat* part : rows) turn(part);
    }
    // Of all Gaussians, after turning.
    vfloat of(int coefficient, int channel) const {
        const int place = coefficient * RGB + channel;
        return rows[place / LANES][place % LANES];
    }
};

// Harmonics as vectors of Gaussians, and of the first whole vectors of coefficients also as vectors of coefficients.
template <int DEGREE>
struct Basis {
    static constexpr int COEFFICIENTS = (DEGREE + 1) * (DEGREE + 1), GROUPS = COEFFICIENTS / LANES;
    static constexpr int NUMBERS = RGB * COEFFICIENTS;  // of a Gaussian
    vfloat values[COEFFICIENTS], turned[COEFFICIENTS];  // turned[g·LANES + lane]: coefficients from g·LANES on

    explicit Basis(Direction unit) {
        harmonics<DEGREE>(unit, values);
        for (int group = 0; group < GROUPS; ++group) turn(values + group * LANES, turned + group * LANES);
    }
};

// Σ sh · harmonics + ½, at least 0. What is not visible is not read where it is left out easily.
template <int DEGREE>
Colors seen_colors(const Source& source, const View& view, const Places& places, Vector<vfloat> means, unsigned visible) {
    using Harmonics = Basis<DEGREE>;
    const Direction d = direction_of(view, means);
    const vfloat inverse = inverse_length(d);
    const Harmonics basis({d.x * inverse, d.y * inverse, d.z * inverse});
    Turning products;
    Colors color{{spread(0.5f), spread(0.5f), spread(0.5f)}};
    if (Harmonics::GROUPS) {
        for (int lane = 0; lane < LANES; ++lane) {
            products.clear(lane);
            if (!(visible >> lane & 1)) continue;
            const float* sh = source.sh + static_cast<size_t>(Harmonics::NUMBERS) * places.id[lane];
            for (int group = 0; group < Harmonics::GROUPS; ++group) {
                const Triple spread_basis = triple_of<CoefficientOf>(basis.turned[group * LANES + lane]);
                for (int part = 0; part < RGB; ++part)
                    products.rows[part][lane] += load(sh + (group * RGB + part) * LANES) * spread_basis.part[part];
            }
        }
        products.turn_rows();
        for (int m = 0; m < LANES; ++m)
            for (int c = 0; c < RGB; ++c) color.part[c] += products.of(m, c);
    }
    for (int m = Harmonics::GROUPS * LANES; m < Harmonics::COEFFICIENTS; ++m)
        for (int c = 0; c < RGB; ++c) color.part[c] += basis.values[m] * places.load(source.sh, Harmonics::NUMBERS, m * RGB + c);
    // What is NaN stays so.
    for (vfloat& each : color.part) each = larger(spread(0.0f), each);
    return color;
}

Colors seen_colors(const Source& source, const View& view, const Places& places, Vector<vfloat> means, unsigned visible) {
    switch (source.degree) {
        case 0: return seen_colors<0>(source, view, places, means, visible);
        case 1: return seen_colors<1>(source, view, places, means, visible);
        case 2: return seen_colors<2>(source, view, places, means, visible);
        case 3: return seen_colors<3>(source, view, places, means, visible);
        default: return seen_colors<4>(source, view, places, means, visible);
    }
}

// Writes the colours of the visible; returns them if they are three.
Colors write_colors(const Source& source, const View& view, const Shown& shown, const Places& places, Vector<vfloat> means,
                    unsigned visible) {
    Colors colors{{spread(0.0f), spread(0.0f), spread(0.0f)}};
    if (source.sh) {
        colors = seen_colors(source, view, places, means, visible);
    } else if (source.features == RGB) {
        for (int c = 0; c < RGB; ++c) colors.part[c] = places.load(source.colors, RGB, c);
    }
    for (; visible; visible &= visible - 1) {
        const int lane = __builtin_ctz(visible);
        const size_t id = places.id[lane];
        float* to = shown.colors + id * shown.channels;
        if (source.sh || source.features == RGB) {
            for (int c = 0; c < RGB; ++c) to[c] = colors.part[c][lane];
        } else {
            std::copy_n(source.colors + id * source.features, source.features, to);
        }
    }
    return colors;
}

// How a vector of gradients is written: for the first time, so too but past the caches, or added.
enum class Put { FRESH, STREAMED, ADDED };

template <Put HOW>
inline void put(float* to, vfloat value) {
    if constexpr (HOW == Put::STREAMED) {
        stream(to, value);
    } else {
        store(to, HOW == Put::FRESH ? value : load(to) + value);
    }
}

constexpr size_t MANY_BYTES = 16u << 20;  // of gradients that caches would not keep for whom comes next

// Whether gradients of harmonics are whole vectors that can be written past the caches, and are worth it.
template <int NUMBERS>
inline bool is_streamed(const Source& source, const float* out) {
    const size_t bytes = static_cast<size_t>(source.count) * NUMBERS * sizeof(float);
    return NUMBERS % LANES == 0 && reinterpret_cast<uintptr_t>(out) % (LANES * sizeof(float)) == 0 && bytes >= MANY_BYTES;
}

// Gradients of LANES Gaussians' harmonics, and toward their directions.
template <int DEGREE, bool FRESH, Put HOW = FRESH ? Put::FRESH : Put::ADDED>
Direction backward_colors(const Source& source, const View& view, const Shown& shown, const Places& places, unsigned real,
                          Vector<vfloat> means, const float* sums, int width, float* out) {
    using Harmonics = Basis<DEGREE>;
    if constexpr (HOW == Put::FRESH && Harmonics::NUMBERS % LANES == 0) {
        if (is_streamed<Harmonics::NUMBERS>(source, out))
            return backward_colors<DEGREE, FRESH, Put::STREAMED>(source, view, shown, places, real, means, sums, width, out);
    }
    const Direction d = direction_of(view, means);
    const vfloat inverse = inverse_length(d), zero = spread(0.0f);
    const Direction unit{d.x * inverse, d.y * inverse, d.z * inverse};
    const Harmonics basis(unit);
    vfloat by_color[LANES];
    // No gradient where the colour is clamped at 0.
    for (int c = 0; c < RGB; ++c)
        by_color[c] = only(places.load(shown.colors, shown.channels, c) > 0.0f, places.load(sums, width, MOMENTS + c));
    for (int c = RGB; c < LANES; ++c) by_color[c] = zero;
    vfloat by_basis[Harmonics::COEFFICIENTS];
    if (Harmonics::GROUPS) {
        vfloat colors_turned[LANES];
        turn(by_color, colors_turned);
        Turning products[std::max(Harmonics::GROUPS, 1)];
        for (int lane = 0; lane < LANES; ++lane) {
            for (Turning& each : products) each.clear(lane);
            if (!(real >> lane & 1)) continue;
            const size_t place = static_cast<size_t>(Harmonics::NUMBERS) * places.id[lane];
            const Triple gradient = triple_of<ChannelOf>(colors_turned[lane]);
            for (int group = 0; group < Harmonics::GROUPS; ++group) {
                const Triple spread_basis = triple_of<CoefficientOf>(basis.turned[group * LANES + lane]);
                for (int part = 0; part < RGB; ++part) {
                    const size_t at = place + (group * RGB + part) * LANES;
                    products[group].rows[part][lane] = load(source.sh + at) * gradient.part[part];
                    put<HOW>(out + at, spread_basis.part[part] * gradient.part[part]);
                }
            }
        }
        for (int group = 0; group < Harmonics::GROUPS; ++group) {
            products[group].turn_rows();
            for (int m = 0; m < LANES; ++m)
                by_basis[group * LANES + m] = products[group].of(m, 0) + products[group].of(m, 1) + products[group].of(m, 2);
        }
    }
    for (int m = Harmonics::GROUPS * LANES; m < Harmonics::COEFFICIENTS; ++m) {
        by_basis[m] = zero;
        for (int c = 0; c < RGB; ++c) {
            by_basis[m] += by_color[c] * places.load(source.sh, Harmonics::NUMBERS, m * RGB + c);
            const vfloat gradient = basis.values[m] * by_color[c];
            for (unsigned rest = real; rest; rest &= rest - 1) {
                const int lane = __builtin_ctz(rest);
                put<FRESH>(out[static_cast<size_t>(Harmonics::NUMBERS) * places.id[lane] + m * RGB + c], gradient[lane]);
            }
        }
    }
    if constexpr (DEGREE == 0) return {zero, zero, zero};
    const Direction by = harmonics_backward<DEGREE>(unit, by_basis);
    const vfloat along = by.x * unit.x + by.y * unit.y + by.z * unit.z;
    return {(by.x - along * unit.x) * inverse, (by.y - along * unit.y) * inverse, (by.z - along * unit.z) * inverse};
}

// Brings harmonics to the cache.
inline void prefetch_harmonics(const Source& source, size_t id) {
    constexpr size_t LINE = 64 / sizeof(float);
    const size_t numbers = RGB * static_cast<size_t>(source.degree + 1) * (source.degree + 1), first = id * numbers;
    for (size_t at = first; at < first + numbers; at += LINE) {
        __builtin_prefetch(source.sh + at);
    }
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
