// Gradients of a band of rows, as moments of each splat.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "blend.h"

namespace splat {
namespace {

// Distances between two rows of a tile, in rows, and their squares: entry TILE is 0.
struct RowDistances {
    float distance[2 * TILE] = {}, square[2 * TILE] = {};
    constexpr RowDistances() {
        for (int i = 0; i < 2 * TILE; ++i) {
            distance[i] = static_cast<float>(i - TILE);
            square[i] = distance[i] * distance[i];
        }
    }
};
constexpr RowDistances ROWS;

// Per pixel: T in front of the splat at hand; S = Σ over the splats from there on of T α (g·color), plus what the background
// and the transmittance's own gradient add; g, the colour's gradient.
template <int C>
struct BackwardTile {
    vfloat transmittance[TILE];
    vfloat behind[TILE];
    vfloat gradient[(C ? C : MAX_CHANNELS) * TILE];
};

template <int C>
constexpr int SUMS = MOMENTS + (C ? C : MAX_CHANNELS);

// Sums over lanes, LANES vectors at a time, and what is left one by one.
template <int N>
inline void sum_each(vfloat* values, float* totals) {
    int i = 0;
    for (; i + LANES <= N; i += LANES) store(totals + i, sums_of(values + i));
    if (2 * (N - i) > LANES) {
        vfloat rest[LANES] = {};
        std::copy(values + i, values + N, rest);
        const vfloat sums = sums_of(rest);
        std::memcpy(totals + i, &sums, sizeof(float) * (N - i));
        return;
    }
    for (; i < N; ++i) totals[i] = sum(values[i]);
}

template <int C>
void read_tile(const Scene& scene, int left, int top, int width, int height, const float* color, const float* transmittance,
               const float* color_gradient, const float* transmittance_gradient, BackwardTile<C>& tile,
               float* background_gradient) {
    const int channels = C ? C : scene.channels;
    const size_t pixels = static_cast<size_t>(scene.height) * scene.width;
    vfloat background[C ? C : MAX_CHANNELS] = {};
    for (int row = 0; row < height; ++row) {
        // Lanes outside the image have gradient 0, and so is all that follows from it.
        const size_t at = static_cast<size_t>(top + row) * scene.width + left;
        const vfloat last = load_first(transmittance + at, width);
        vfloat behind = load_first(transmittance_gradient + at, width) * last;
        for (int c = 0; c < channels; ++c) {
            const vfloat gradient = load_first(color_gradient + c * pixels + at, width);
            tile.gradient[c * TILE + row] = gradient;
            behind += gradient * load_first(color + c * pixels + at, width);
            background[c] += gradient * last;
        }
        tile.behind[row] = behind;
        tile.transmittance[row] = spread(1.0f);
    }
    for (int c = 0; c < channels; ++c) background_gradient[c] += sum(background[c]);
}

// Sums down the rows of a visit, a lane a column: v for the opacity; v, v·y and v·y² with y counted from a row of the tile, for
// centre and conic; the colours' gradients.
template <int C>
struct ColumnSums {
    vfloat opacity, one, y, yy;
    vfloat color[C ? C : MAX_CHANNELS];
};

// One splat in front of one vector of pixels: v = α ∂L/∂α, 0 where α is clamped or the splat is not seen.
template <int C, bool CLAMPED>
inline vfloat unblend(BackwardTile<C>& tile, int row, int channels, vfloat raw, const Color<C>& color, ColumnSums<C>& sums) {
    const vfloat t = tile.transmittance[row];
    const vfloat alpha = seen_alpha<CLAMPED>(raw, t), weight = t * alpha;
    vfloat toward = tile.gradient[row] * color.channel[0];
    sums.color[0] += tile.gradient[row] * weight;
    for (int c = 1; c < (C ? C : channels); ++c) {
        const vfloat gradient = tile.gradient[c * TILE + row];
        toward += gradient * color.channel[c];
        sums.color[c] += gradient * weight;
    }
    const vfloat contribution = weight * toward;
    const vfloat behind = tile.behind[row] - contribution;
    tile.behind[row] = behind;
    tile.transmittance[row] = pass_on(t, alpha);
    const vfloat v = contribution - alpha / (1.0f - alpha) * behind;
    return CLAMPED ? only(raw <= ALPHA_MAX, v) : v;
}

// Adds to the moments of the splat: MOMENTS and the channels.
template <int C, bool CLAMPED>
void backward_splat(BackwardTile<C>& tile, const Scene& scene, const Prepared& splats, Visit visit, float left, float top,
                    const Column& column, float* moments) {
    const int channels = C ? C : scene.channels, i = visit.splat;
    const Color<C> color = color_of<C>(scene, splats, i);
    ColumnSums<C> columns;
    columns.opacity = columns.one = columns.y = columns.yy = spread(0.0f);
    for (int c = 0; c < channels; ++c) columns.color[c] = spread(0.0f);
    // Moments are taken about the tile's row that is nearest to the centre, and shifted to the centre after the sums: from any
    // other row the shift would cancel.
    const float center = splats.y[i] - top;
    const int origin = static_cast<int>(std::min(std::max(center + 0.5f, 0.0f), TILE - 1.0f));
    const float *y = ROWS.distance + TILE - origin, *yy = ROWS.square + TILE - origin;
    const vfloat dx = lane_distances(splats, i, left);
    if (splats.path[i] == GENERAL) {
        for (int row = visit.first; row < visit.last; ++row) {
            const float dy = top - splats.y[i] + row;
            const vfloat v = unblend<C, CLAMPED>(tile, row, channels, direct_alpha(splats, i, dx, dy), color, columns);
            // Where the power is clamped at 0, α does not depend on centre and conic.
            const vfloat moving = only(general_power(splats, i, dx, dy) >= 0.0f, v);
            columns.opacity += v;
            columns.one += moving;
            columns.y += moving * y[row];
            columns.yy += moving * yy[row];
        }
    } else {
        walk(splats, visit, dx, top, column, [&](vfloat raw, int row) {
            const vfloat v = unblend<C, CLAMPED>(tile, row, channels, raw, color, columns);
            columns.one += v;
            columns.y += v * y[row];
            columns.yy += v * yy[row];
        });
        columns.opacity = columns.one;
    }
    constexpr int COUNT = SUMS<C>;
    vfloat sums[COUNT];
    sums[0] = columns.opacity;
    sums[1] = dx * columns.one;
    sums[2] = columns.y;
    sums[3] = dx * sums[1];
    sums[4] = dx * columns.y;
    sums[5] = columns.yy;
    for (int c = 0; c < (C ? C : MAX_CHANNELS); ++c) sums[MOMENTS + c] = c < channels ? columns.color[c] : spread(0.0f);
    float totals[COUNT];
    sum_each<COUNT>(sums, totals);
    const float shift = origin - center, one = splats.path[i] == GENERAL ? sum(columns.one) : totals[0];
    const float across = totals[1], down = totals[2];
    float* out = moments + static_cast<size_t>(splats.index[i]) * (MOMENTS + channels);
    out[0] += totals[0];
    out[1] += across;
    out[2] += down + shift * one;
    out[3] += totals[3];
    out[4] += totals[4] + shift * across;
    out[5] += totals[5] + 2.0f * shift * down + shift * shift * one;
    for (int c = 0; c < channels; ++c) out[MOMENTS + c] += totals[MOMENTS + c];
}

// Returns whether the tile is opaque.
template <int C>
bool backward_visits(const Scene& scene, const Prepared& splats, const Visit* visits, int length, float left, float top, int height,
                     BackwardTile<C>& tile, float* moments) {
    Column columns[BATCH];
    for (int from = 0; from < length; from += BATCH) {
        const int here = std::min(BATCH, length - from);
        begin(splats, visits + from, here, left, top, columns);
        for (int n = 0; n < here; ++n) {
            const Visit visit = visits[from + n];
            if (splats.level[visit.splat] > CLAMP_LEVEL) {
                backward_splat<C, true>(tile, scene, splats, visit, left, top, columns[n], moments);
            } else {
                backward_splat<C, false>(tile, scene, splats, visit, left, top, columns[n], moments);
            }
        }
        if (opaque(tile.transmittance, height)) return true;
    }
    return false;
}

template <int C>
void backward_rows(const Scene& scene, const Prepared& all, Rows rows, const float* color, const float* transmittance,
                   const float* color_gradient, const float* transmittance_gradient, float* moments,
                   float* background_gradient) {
    Prepared culled;
    const Prepared& band = band_of(all, rows, scene, culled);
    const std::unique_ptr<Visit[]> visits(new Visit[band.count + 1]);
    BackwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += LANES) {
            const int width = std::min(LANES, scene.width - left);
            read_tile<C>(scene, left, top, width, height, color, transmittance, color_gradient, transmittance_gradient, tile,
                         background_gradient);
            const int length = cull_tile(band, left + 0.5f, top + 0.5f, height, visits.get());
            backward_visits<C>(scene, band, visits.get(), length, left + 0.5f, top + 0.5f, height, tile, moments);
        }
    }
}

inline void backward(const Scene& scene, const Prepared& all, Rows rows, const float* color, const float* transmittance,
              const float* color_gradient, const float* transmittance_gradient, float* moments, float* background_gradient) {
    const auto run = [&](auto function) {
        function(scene, all, rows, color, transmittance, color_gradient, transmittance_gradient, moments, background_gradient);
    };
    switch (scene.channels) {
        case 1: return run(backward_rows<1>);
        case 3: return run(backward_rows<3>);
        case 4: return run(backward_rows<4>);
        default: return run(backward_rows<0>);
    }
}

}  // namespace
}  // namespace splat
