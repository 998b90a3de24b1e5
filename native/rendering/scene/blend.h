// A block of pixels and its list of splats: forward, and backward to sums of each splat of the list. The list comes in chunks, which
// all columns of the block take before the next one, so that memory does not grow with the list.
#pragma once

#include <algorithm>
#include <memory>

#include "../kernel/backward.h"
#include "../kernel/forward.h"
#include "../kernel/paths.h"
#include "../scene.h"

namespace splat {
namespace {

constexpr int COLUMNS = BLOCK_WIDTH / LANES;

// The part of a block's list that is at hand, as the kernel takes it.
struct Nearby {
    Prepared splats;
    std::unique_ptr<float[]> colors{new float[CHUNK * MAX_CHANNELS]};
    Visit visits[CHUNK];

    Nearby() {
        splats.allocate(CHUNK);
        for (int i = 0; i < CHUNK; ++i) splats.index[i] = i;
    }

    // C: channels of the pass if known. `left` entries of the list follow, which are prefetched.
    template <int C>
    void take(const Shown& shown, const int32_t* list, int count, size_t left, const Pass& pass) {
        const int channels = C ? C : pass.channels;
        const auto arrays = splats.arrays();
        splats.count = count;
        for (int i = 0; i < count; i += LANES) {
            vfloat fields[RECORD];
            for (int lane = 0; lane < LANES; ++lane) {
                const size_t ahead = i + lane + CHUNK / 4;
                if (ahead < left) {
                    __builtin_prefetch(shown.records + static_cast<size_t>(list[ahead]) * RECORD);
                    __builtin_prefetch(shown.colors + static_cast<size_t>(list[ahead]) * shown.channels + pass.first);
                }
                const size_t id = list[std::min(i + lane, count - 1)];
                for (int part = 0; part < RECORD; part += LANES) fields[part + lane] = load(shown.records + id * RECORD + part);
            }
            for (int part = 0; part < RECORD; part += LANES) turn(fields + part);
            for (size_t j = 0; j < arrays.size(); ++j) store(arrays[j] + i, fields[j]);
            const vfloat curvature = 1.0f / fields[FLATNESS];
            const vint path = path_of(curvature), block = rows_between_restarts(curvature);
            std::memcpy(&splats.path[i], &path, sizeof path);
            std::memcpy(&splats.block[i], &block, sizeof block);
        }
        for (int i = 0; i < count; ++i) {
            const float* from = shown.colors + static_cast<size_t>(list[i]) * shown.channels + pass.first;
            for (int c = 0; c < channels; ++c) colors[i * channels + c] = from[c];
        }
    }

    Scene scene(const View& view, const Pass& pass) const {
        return {nullptr, nullptr, nullptr, colors.get(), pass.background, splats.count, pass.channels, view.height, view.width};
    }
};

// Calls blend(column, left, visits) for the columns of a block that are not opaque yet, chunk by chunk of the list; blend returns
// whether its column is opaque.
template <int C, typename Blend>
void walk_list(const Shown& shown, const Block& block, const Pass& pass, Nearby& nearby, Blend blend) {
    bool is_opaque[COLUMNS] = {};
    int left_over = (block.width + LANES - 1) / LANES;
    for (size_t from = 0; from < block.length && left_over; from += CHUNK) {
        const size_t left = block.length - from;
        nearby.take<C>(shown, block.list + from, static_cast<int>(std::min<size_t>(CHUNK, left)), left, pass);
        for (int column = 0; column * LANES < block.width; ++column) {
            if (is_opaque[column]) continue;
            const float x = block.left + column * LANES + 0.5f, y = block.top + 0.5f;
            const int visits = cull_tile(nearby.splats, x, y, block.height, nearby.visits);
            is_opaque[column] = blend(column, from, x, y, visits);
            left_over -= is_opaque[column];
        }
    }
}

// Columns beyond the image are opaque: they count in no weight, and do not keep a tile from being opaque.
inline void close_lanes(vfloat* transmittance, int height, int width) {
    vint inside;
    for (int lane = 0; lane < LANES; ++lane) inside[lane] = lane < width ? -1 : 0;
    for (int row = 0; row < height; ++row) transmittance[row] = only(inside, transmittance[row]);
}

template <int C>
void forward_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                   float* weights) {
    Nearby nearby;
    const std::unique_ptr<ForwardTile<C>[]> tiles(new ForwardTile<C>[COLUMNS]);
    const Scene scene = nearby.scene(view, pass);
    for (int column = 0; column * LANES < block.width; ++column) {
        clear_tile<C>(scene, block.height, tiles[column]);
        close_lanes(tiles[column].transmittance, block.height, block.width - column * LANES);
    }
    if (weights) std::fill_n(weights, block.length * WEIGHTS, 0.0f);
    walk_list<C>(shown, block, pass, nearby, [&](int column, size_t from, float left, float top, int visits) {
        if (!weights)
            return forward_visits<C>(scene, nearby.splats, nearby.visits, visits, left, top, block.height, tiles[column]);
        return forward_visits<C, true>(scene, nearby.splats, nearby.visits, visits, left, top, block.height, tiles[column],
                                       weights + from * WEIGHTS);
    });
    for (int column = 0; column * LANES < block.width; ++column)
        write_tile<C>(scene, tiles[column], block.left + column * LANES, block.top, std::min(LANES, block.width - column * LANES),
                      block.height, images.color, images.transmittance);
}

template <int C>
void backward_block(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, float* moments, float* background_gradient) {
    Nearby nearby;
    const std::unique_ptr<BackwardTile<C>[]> tiles(new BackwardTile<C>[COLUMNS]);
    const Scene scene = nearby.scene(view, pass);
    const int width = MOMENTS + pass.channels + (absolute ? ABSOLUTES : 0);
    std::fill_n(moments, block.length * width, 0.0f);
    std::fill_n(background_gradient, pass.channels, 0.0f);
    for (int column = 0; column * LANES < block.width; ++column) {
        read_tile<C>(scene, block.left + column * LANES, block.top, std::min(LANES, block.width - column * LANES), block.height,
                     images.color, images.transmittance, images.by_color, images.by_transmittance, tiles[column],
                     background_gradient);
        close_lanes(tiles[column].transmittance, block.height, block.width - column * LANES);
    }
    walk_list<C>(shown, block, pass, nearby, [&](int column, size_t from, float left, float top, int visits) {
        float* out = moments + from * width;
        if (!absolute)
            return backward_visits<C>(scene, nearby.splats, nearby.visits, visits, left, top, block.height, tiles[column], out);
        return backward_visits<C, true>(scene, nearby.splats, nearby.visits, visits, left, top, block.height, tiles[column], out);
    });
}

void forward_scene(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                   float* weights) {
    switch (pass.channels) {
        case 3: return forward_block<3>(shown, view, block, pass, images, weights);
        case 4: return forward_block<4>(shown, view, block, pass, images, weights);
        default: return forward_block<0>(shown, view, block, pass, images, weights);
    }
}

void backward_scene(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, float* moments, float* background_gradient) {
    switch (pass.channels) {
        case 3: return backward_block<3>(shown, view, block, pass, images, absolute, moments, background_gradient);
        case 4: return backward_block<4>(shown, view, block, pass, images, absolute, moments, background_gradient);
        default: return backward_block<0>(shown, view, block, pass, images, absolute, moments, background_gradient);
    }
}

}  // namespace
}  // namespace splat
