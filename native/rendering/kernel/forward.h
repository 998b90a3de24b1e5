// Colours and transmittances of a band of rows.
#pragma once

#include <algorithm>
#include <memory>

#include "blend.h"

namespace splat {
namespace {

template <int C>
struct ForwardTile {
    vfloat transmittance[TILE];
    vfloat color[(C ? C : MAX_CHANNELS) * TILE];
};

// CLAMPED: whether α can exceed ALPHA_MAX at all.
template <int C, bool CLAMPED>
inline void forward_splat(ForwardTile<C>& tile, const Scene& scene, const Prepared& splats, Visit visit, float left, float top,
                          const Column& column) {
    const int channels = C ? C : scene.channels, i = visit.splat;
    const Color<C> color = color_of<C>(scene, splats, i);
    walk(splats, visit, lane_distances(splats, i, left), top, column, [&](vfloat raw, int row) {
        const vfloat t = tile.transmittance[row];
        const vfloat alpha = seen_alpha<CLAMPED>(raw, t), weight = t * alpha;
        for (int c = 0; c < channels; ++c) tile.color[c * TILE + row] += weight * color.channel[c];
        tile.transmittance[row] = pass_on(t, alpha);
    });
}

template <int C>
void clear_tile(const Scene& scene, int height, ForwardTile<C>& tile) {
    const int channels = C ? C : scene.channels;
    for (int row = 0; row < height; ++row) {
        tile.transmittance[row] = spread(1.0f);
        for (int c = 0; c < channels; ++c) tile.color[c * TILE + row] = spread(0.0f);
    }
}

// Blends visits, near to far. Returns whether the tile is opaque.
template <int C>
bool forward_visits(const Scene& scene, const Prepared& splats, const Visit* visits, int length, float left, float top, int height,
                    ForwardTile<C>& tile) {
    Column columns[BATCH];
    for (int from = 0; from < length; from += BATCH) {
        const int here = std::min(BATCH, length - from);
        begin(splats, visits + from, here, left, top, columns);
        for (int n = 0; n < here; ++n) {
            const Visit visit = visits[from + n];
            if (splats.level[visit.splat] > CLAMP_LEVEL) {
                forward_splat<C, true>(tile, scene, splats, visit, left, top, columns[n]);
            } else {
                forward_splat<C, false>(tile, scene, splats, visit, left, top, columns[n]);
            }
        }
        if (opaque(tile.transmittance, height)) return true;
    }
    return false;
}

template <int C>
void write_tile(const Scene& scene, const ForwardTile<C>& tile, int left, int top, int width, int height, float* color,
                float* transmittance) {
    const int channels = C ? C : scene.channels;
    const size_t pixels = static_cast<size_t>(scene.height) * scene.width;
    for (int row = 0; row < height; ++row) {
        const size_t at = static_cast<size_t>(top + row) * scene.width + left;
        const vfloat t = tile.transmittance[row];
        store_first(transmittance + at, t, width);
        for (int c = 0; c < channels; ++c)
            store_first(color + c * pixels + at, tile.color[c * TILE + row] + t * scene.background[c], width);
    }
}

template <int C>
void forward_rows(const Scene& scene, const Prepared& all, Rows rows, float* color, float* transmittance) {
    Prepared culled;
    const Prepared& band = band_of(all, rows, scene, culled);
    const std::unique_ptr<Visit[]> visits(new Visit[band.count + 1]);
    ForwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += LANES) {
            const int width = std::min(LANES, scene.width - left);
            const int length = cull_tile(band, left + 0.5f, top + 0.5f, height, visits.get());
            clear_tile<C>(scene, height, tile);
            forward_visits<C>(scene, band, visits.get(), length, left + 0.5f, top + 0.5f, height, tile);
            write_tile<C>(scene, tile, left, top, width, height, color, transmittance);
        }
    }
}

inline void forward(const Scene& scene, const Prepared& all, Rows rows, float* color, float* transmittance) {
    switch (scene.channels) {
        case 1: return forward_rows<1>(scene, all, rows, color, transmittance);
        case 3: return forward_rows<3>(scene, all, rows, color, transmittance);
        case 4: return forward_rows<4>(scene, all, rows, color, transmittance);
        default: return forward_rows<0>(scene, all, rows, color, transmittance);
    }
}

}  // namespace
}  // namespace splat
