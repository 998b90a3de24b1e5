// What both passes over a tile's splats, near to far, have in common.
#pragma once

#include "alpha.h"

namespace splat {
namespace {

constexpr int BATCH = 8;              // visits begun together; after them a look whether the tile is opaque
constexpr float CLAMP_LEVEL = -0.002f;  // log2 of an opacity that α cannot carry beyond ALPHA_MAX, rounding and all

// α of one splat at one vector of pixels whose transmittance is t.
template <bool CLAMPED>
inline vfloat seen_alpha(vfloat raw, vfloat t) {
    const vint seen = (raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
    return only(seen, CLAMPED ? smaller(raw, spread(ALPHA_MAX)) : raw);
}

template <int C>
struct Color {
    vfloat channel[C ? C : MAX_CHANNELS];
};

// Spread before a walk: the compiler cannot know that a tile's stores leave the colours alone.
template <int C>
inline Color<C> color_of(const Scene& scene, const Prepared& splats, int i) {
    const int channels = C ? C : scene.channels;
    const float* from = scene.colors + static_cast<size_t>(splats.index[i]) * channels;
    Color<C> color;
    for (int c = 0; c < channels; ++c) color.channel[c] = spread(from[c]);
    return color;
}

bool opaque(const vfloat* transmittance, int height) {
    vfloat most = transmittance[0];
    for (int row = 1; row < height; ++row) most = larger(most, transmittance[row]);
    return !lane_bits(most >= TRANSMITTANCE_MIN);
}

}  // namespace
}  // namespace splat
