// The pixels of a block, and how its list is walked.
#pragma once

#include <algorithm>
#include <memory>

#include "../kernel/blend.h"
#include "nearby.h"
#include "rows.h"

namespace splat {
namespace {

// Columns of vectors, each row of a column with its planes side by side, the transmittance first. C: channels of the pass if known,
// OTHERS: planes beside the channels.
template <int C, int OTHERS>
class Pixels {
  public:
    explicit Pixels(int channels) : planes(OTHERS + channels), values(new vfloat[COLUMNS * BLOCK_HEIGHT * planes]) {}

    int stride() const { return C ? OTHERS + C : planes; }
    vfloat* row(int column, int row) const { return values.get() + (column * BLOCK_HEIGHT + row) * stride(); }

    // Bits of the cells of a column, among those that are given, that are not opaque throughout.
    uint32_t open_cells(int column, int height, uint32_t among) const {
        uint32_t open = 0;
        for (; among; among &= among - 1) {
            const int cell = __builtin_ctz(among), first = cell * CELL_ROWS;
            if (first >= height) break;
            vfloat most = spread(0.0f);
            for (int i = first; i < std::min(first + CELL_ROWS, height); ++i) most = larger(*row(column, i), most);
            open |= static_cast<uint32_t>(lane_bits(most >= TRANSMITTANCE_MIN) != 0) << cell;
        }
        return open;
    }

  private:
    int planes;
    std::unique_ptr<vfloat[]> values;
};

// The transmittance at the start: all is clear but what is beyond the image, in the lanes from `width` on. That is opaque, counts in
// no weight, and keeps no cell open.
inline vfloat clear_lanes(int width) {
    vint inside;
    for (int lane = 0; lane < LANES; ++lane) inside[lane] = lane < width ? -1 : 0;
    return only(inside, spread(1.0f));
}

// Calls use(column, row, width, place in the image) for the vectors of a block.
template <typename Use>
void each_vector(const View& view, const Block& block, Use use) {
    for (int column = 0; column * LANES < block.width; ++column)
        for (int row = 0; row < block.height; ++row)
            use(column, row, std::min(LANES, block.width - column * LANES),
                static_cast<size_t>(block.top + row) * view.width + block.left + column * LANES);
}

// Of numbers that lie `stride` apart.
template <int C>
inline Color<C> spread_colors(const float* colors, int channels, int stride) {
    Color<C> color;
    for (int c = 0; c < (C ? C : channels); ++c) color.channel[c] = spread(colors[c * stride]);
    return color;
}

// Calls blend(column, number of a strip) for the strips of a block's splats, near to far in each column, until all is opaque. `rows`
// follow the chunks of the list. RECURS: whether α has a recurrence.
template <int C, bool RECURS, int OTHERS, typename Rows, typename Blend>
void walk_list(const Shown& shown, const Block& block, const Pass& pass, const Pixels<C, OTHERS>& pixels, Nearby& nearby,
               const Rows& rows, Blend blend) {
    uint32_t open[COLUMNS];
    int unseen[COLUMNS] = {};
    const int columns = (block.width + LANES - 1) / LANES;
    std::fill_n(open, columns, EVERY_CELL);
    size_t from = 0;
    for (; from < block.length && std::any_of(open, open + columns, [](uint32_t cells) { return cells != 0; }); from += CHUNK) {
        const size_t left = block.length - from;
        const int count = static_cast<int>(std::min<size_t>(CHUNK, left));
        nearby.take<C, RECURS>(shown, block.list + from, count, left, pass, rows);
        rows.begin(count);
        for (int column = 0; column < columns; ++column) {
            if (!open[column]) continue;
            const float left_pixel = block.left + column * LANES + 0.5f;
            open[column] = nearby.each_strip<RECURS>(left_pixel, block.top + 0.5f, block.height, open[column], [&] {
                for (int n = 0; n < nearby.length; ++n) {
                    blend(column, n);
                    unseen[column] += nearby.strips[n].last - nearby.strips[n].first;
                }
                if (unseen[column] < ROWS_UNSEEN) return open[column];
                unseen[column] = 0;
                return open[column] = pixels.open_cells(column, block.height, open[column]);
            });
        }
        rows.end(block.list + from, count);
    }
    if (from < block.length) rows.skip(block.list + from, block.length - from);
}

}  // namespace
}  // namespace splat
