// A block's surfels: flat discs with Gaussian falloff, met by the rays of pixels.
//
// Let d be a pixel's distance from the picture of the disc's centre. Its ray meets the disc's plane at (A·d, B·d) / (1 + n·d) standard
// deviations from the centre, at depth z / (1 + n·d). A surfel is nowhere thinner than a Gaussian of variance `floor` px² around the
// centre, at whose depth that one lies. (2D Gaussian Splatting, Huang et al. 2024, equations 8 to 11.)
#pragma once

#include <algorithm>
#include <cmath>

#include "../gaussian.h"
#include "pixels.h"

namespace splat {
namespace {

constexpr float EDGE_ON = 1e-3f;     // the least cosine between a disc's normal and a ray, and the least of 1 + n·d
constexpr float THINNEST = 1e-6f;    // px: a disc of a smaller standard deviation is drawn by the floor alone
constexpr int COLUMN_VECTORS = (COLUMNS + LANES - 1) / LANES;

// A surfel of a block's list. Places are counted from the centre of the block's first pixel.
struct Surfel {
    float x, y, across_x, across_y, down_x, down_y, lean_x, lean_y, level, depth, inverse_floor;
    int32_t first_rows[COLUMN_VECTORS * LANES], last_rows[COLUMN_VECTORS * LANES];  // of the columns, [first, last)

    Surfel(const float* record, const Block& block, float floor)
        : x(record[DISC_X] - block.left - 0.5f), y(record[DISC_Y] - block.top - 0.5f), across_x(record[ACROSS]),
          across_y(record[ACROSS + 1]), down_x(record[DOWNWARD]), down_y(record[DOWNWARD + 1]), lean_x(record[LEAN]),
          lean_y(record[LEAN + 1]), level(record[DISC_LEVEL]), depth(record[DEPTH]), inverse_floor(1.0f / floor) {
        find_rows(record, block, floor);
    }

  private:
    // The rows of the ellipse around the disc, and of the floor's circle.
    void find_rows(const float* record, const Block& block, float floor) {
        const float reach = (level - static_cast<float>(std::log2(ALPHA_MIN)) + CULL_SLACK) / HALF;
        const float radius = std::sqrt(std::max(reach, 0.0f) * floor) + 0.01f;
        const float middle_x = record[MIDDLE_X] - block.left - 0.5f, middle_y = record[MIDDLE_Y] - block.top - 0.5f;
        // A hundredth of a pixel and more for rounding.
        const float wide = 1.001f * record[WIDE] + 0.01f, high = 1.001f * record[HIGH] + 0.01f, slope = record[SLOPE];
        const float tall = std::sqrt(std::max(high * high - slope * slope * wide * wide, 1e-4f * high * high));
        const float peak = std::clamp(slope * wide * wide / high, -wide, wide), narrowing = 1.0f / (wide * wide);
        const vfloat zero = spread(0.0f), bottom = spread(static_cast<float>(block.height));
        for (int part = 0; part < COLUMN_VECTORS; ++part) {
            const vfloat left = static_cast<float>(LANES) * (lane_numbers() + static_cast<float>(part * LANES));
            const vfloat from = left - middle_x, to = from + (LANES - 1.0f);
            const vfloat below = smaller(larger(spread(peak), from), to), above = smaller(larger(spread(-peak), from), to);
            const vfloat lowest = slope * below + tall * root(larger(1.0f - narrowing * below * below, zero));
            const vfloat highest = slope * above - tall * root(larger(1.0f - narrowing * above * above, zero));
            const vint meets = (from <= wide) & (to >= -wide);
            const vfloat off = left - x;
            const vint meets_floor = (off <= radius) & (off + (LANES - 1.0f) >= -radius);
            const vfloat nowhere = spread(1e9f);
            const vfloat first = smaller(select(meets, middle_y + highest, nowhere), select(meets_floor, spread(y - radius), nowhere));
            const vfloat last = larger(select(meets, middle_y + lowest, -nowhere), select(meets_floor, spread(y + radius), -nowhere));
            // Truncation after clamping at 0; just under 1 more makes it round up.
            const vint first_row = whole(smaller(larger(first + 0.999f, zero), bottom));
            const vint last_row = whole(smaller(larger(last + 1.0f, zero), bottom));
            std::memcpy(first_rows + part * LANES, &first_row, sizeof first_row);
            std::memcpy(last_rows + part * LANES, &last_row, sizeof last_row);
        }
    }
};

// A surfel down a column of pixels.
struct SurfelColumn {
    const Surfel& surfel;
    vfloat dx, across, down, lean, flat;  // the parts that the column has of A·d, B·d, 1 + n·d, and of the floor's form

    SurfelColumn(const Surfel& surfel, int column)
        : surfel(surfel), dx(lane_numbers() + (static_cast<float>(column * LANES) - surfel.x)), across(surfel.across_x * dx),
          down(surfel.down_x * dx), lean(1.0f + surfel.lean_x * dx), flat(surfel.inverse_floor * (dx * dx)) {}

    struct Here {
        vint is_disc;             // whether the disc is seen, and not the floor
        vfloat u, v, lean;        // standard deviations from the disc's centre, and 1 + n·d; of the floor 0, 0, 1
        vfloat inverse, power, raw;  // 1 / lean, the quadratic form, and α before the clamp
    };

    Here at(float dy) const {
        const vfloat leaning = lean + surfel.lean_y * dy, inverse = 1.0f / leaning;
        const vfloat u = (across + surfel.across_y * dy) * inverse, v = (down + surfel.down_y * dy) * inverse;
        const vfloat disc = u * u + v * v, floor = flat + surfel.inverse_floor * dy * dy;
        const vint is_disc = (leaning > EDGE_ON) & (disc < floor);
        const vfloat power = select(is_disc, disc, floor), one = spread(1.0f);
        return {is_disc, only(is_disc, u), only(is_disc, v), select(is_disc, leaning, one), select(is_disc, inverse, one), power,
                alpha_of(surfel.level - HALF * power)};
    }
};

// Of the last channels of a pass, those that differ from pixel to pixel: none, the depth, or the inverse depth and its square.
inline int varying_channels(const Shown& shown, const View& view, const Pass& pass) {
    return pass.first + pass.channels == shown.channels ? view.depth_channels : 0;
}

template <int DEPTHS, int C>
inline void set_depths(Color<C>& color, int channels, const Surfel& surfel, const SurfelColumn::Here& here) {
    if constexpr (DEPTHS == 1) color.channel[channels - 1] = surfel.depth * here.inverse;
    if constexpr (DEPTHS == 2) {
        const vfloat inverse = here.lean * (1.0f / surfel.depth);
        color.channel[channels - 2] = inverse, color.channel[channels - 1] = inverse * inverse;
    }
}

// Calls blend(surfel, its place in the chunk, its id, column) for the surfels of a block, near to far in each column, until all is
// opaque. `rows` follow the chunks of the list.
template <int C, int OTHERS, typename Rows, typename Blend>
void walk_surfels(const Shown& shown, const View& view, const Block& block, const Pixels<C, OTHERS>& pixels, const Rows& rows,
                  Blend blend) {
    const int columns = (block.width + LANES - 1) / LANES;
    bool open[COLUMNS];
    int unseen[COLUMNS] = {}, left = columns;
    std::fill_n(open, columns, true);
    size_t from = 0;
    for (; from < block.length && left; from += CHUNK) {
        const int32_t* list = block.list + from;
        const size_t rest = block.length - from;
        const int count = static_cast<int>(std::min<size_t>(CHUNK, rest));
        rows.begin(count);
        for (int i = 0; i < count && left; ++i) {
            if (static_cast<size_t>(i + AHEAD) < rest)
                __builtin_prefetch(shown.records + static_cast<size_t>(id_of(list[i + AHEAD])) * RECORD);
            const int32_t id = id_of(list[i]);
            rows.prefetch(list[i]);
            const Surfel surfel(shown.records + static_cast<size_t>(id) * RECORD, block, view.lens.eps2d);
            for (int column = 0; column < columns; ++column) {
                const int height = surfel.last_rows[column] - surfel.first_rows[column];
                if (height <= 0 || !open[column]) continue;
                blend(surfel, i, id, column);
                unseen[column] += height;
                if (unseen[column] < ROWS_UNSEEN) continue;
                unseen[column] = 0;
                open[column] = pixels.open_cells(column, block.height, EVERY_CELL) != 0;
                left -= !open[column];
            }
        }
        rows.end(list, count);
    }
    if (from < block.length) rows.skip(block.list + from, block.length - from);
}

}  // namespace
}  // namespace splat
