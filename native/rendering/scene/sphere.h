// A block of a panorama: the directions of its pixels, its splats, and the pixels of a splat's box.
//
// A splat is evaluated in the plane that touches the unit sphere at its centre, at the directions of the pixels. So seam and poles are
// directions like all others, and only the search for blocks and pixels knows of the picture's sides.
#pragma once

#include <algorithm>
#include <cmath>

#include "../gaussian.h"
#include "pixels.h"

namespace splat {
namespace {

constexpr float FACING = 1e-3f;  // the least cosine of the angle to a splat's centre at which it is drawn

// Directions of a block's pixels: sines and cosines of longitudes and latitudes.
struct Directions {
    vfloat east[COLUMNS], ahead[COLUMNS];       // sin, cos of the longitudes of a column's lanes
    float down[BLOCK_HEIGHT], level[BLOCK_HEIGHT];  // sin, cos of the latitudes of rows

    Directions(const Lens& lens, const Block& block) {
        for (int x = 0; x < COLUMNS * LANES; ++x) {
            const double longitude = (block.left + x + 0.5 - lens.cx) / lens.longitude;
            east[x / LANES][x % LANES] = static_cast<float>(std::sin(longitude));
            ahead[x / LANES][x % LANES] = static_cast<float>(std::cos(longitude));
        }
        for (int y = 0; y < block.height; ++y) {
            const double latitude = (block.top + y + 0.5 - lens.cy) / lens.latitude;
            down[y] = static_cast<float>(std::sin(latitude)), level[y] = static_cast<float>(std::cos(latitude));
        }
    }
};

// A splat of a block's list.
struct SphereSplat {
    const float* record;
    Vector<float> east, down, center;
    float u, v, w, level;
    int first_row, last_row;  // [first, last) of the block
    float middle, wide;       // of its box, pixels from the block's left, and to each side
    bool is_everywhere;       // in all columns

    SphereSplat(const float* record, const View& view, const Block& block)
        : record(record), east(load_vector(record + EAST)), down(load_vector(record + DOWN)),
          center((1.0f / (view.lens.fx * view.lens.fx)) * cross(east, down)), u(record[SPHERE_U]), v(record[SPHERE_V]),
          w(record[SPHERE_W]), level(record[SPHERE_LEVEL]) {
        const float y = record[BOX_Y] - block.top, high = record[BOX_HIGH], turn = view.lens.full_turn();
        first_row = static_cast<int>(std::clamp(std::floor(y - high - 0.5f), 0.0f, static_cast<float>(block.height)));
        last_row = static_cast<int>(std::clamp(std::ceil(y + high + 0.5f), 0.0f, static_cast<float>(block.height)));
        wide = record[BOX_WIDE];
        is_everywhere = 2.0f * wide >= turn - block.width;
        // The place of the centre that is nearest to the block.
        const float half = 0.5f * block.width, x = record[BOX_X] - block.left;
        middle = x - turn * std::round((x - half) / turn);
    }

    bool meets(int column) const {
        const float first = column * LANES, last = first + LANES;
        return is_everywhere || (middle + wide > first - 1.0f && middle - wide < last + 1.0f);
    }
};

// Powers and places in the tangent plane down a column of pixels.
struct SphereColumn {
    vfloat east, down, ahead;  // of the products with the three rows, the part that longitudes have
    const SphereSplat& splat;

    SphereColumn(const SphereSplat& splat, const Directions& directions, int column)
        : east(splat.east.x * directions.east[column] + splat.east.z * directions.ahead[column]),
          down(splat.down.x * directions.east[column] + splat.down.z * directions.ahead[column]),
          ahead(splat.center.x * directions.east[column] + splat.center.z * directions.ahead[column]), splat(splat) {}

    struct Here {
        vfloat x, y, slanted, raw;  // pixels in the tangent plane, u·x + v·y, and α before the clamp
    };

    Here at(float sine, float cosine) const {
        const vfloat facing = cosine * ahead + sine * splat.center.y;
        const vint faces = facing > FACING;
        const vfloat inverse = only(faces, 1.0f / facing);
        const vfloat x = (cosine * east + sine * splat.east.y) * inverse, y = (cosine * down + sine * splat.down.y) * inverse;
        const vfloat slanted = splat.u * x + splat.v * y;
        return {x, y, slanted, only(faces, alpha_of(splat.level - (slanted * slanted + splat.w * (y * y))))};
    }
};

// Calls blend(splat, its place in the chunk, its id, column) for the splats of a block, near to far in each column, until all is opaque.
// `rows` follow the chunks of the list.
template <int C, int OTHERS, typename Rows, typename Blend>
void walk_sphere(const Shown& shown, const View& view, const Block& block, const Pixels<C, OTHERS>& pixels, const Rows& rows,
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
            const SphereSplat splat(shown.records + static_cast<size_t>(id) * RECORD, view, block);
            for (int column = 0; column < columns; ++column) {
                if (!open[column] || !splat.meets(column)) continue;
                blend(splat, i, id, column);
                unseen[column] += splat.last_row - splat.first_row;
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
