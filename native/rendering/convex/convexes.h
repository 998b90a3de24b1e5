// Smooth convexes: what the driver (module.cpp) hands to the functions that are compiled for each instruction set (kernel.cpp),
// and their table. splatlearn/rendering/backends/torch/primitives/convex.py is the specification, which also projects points and
// finds their hulls.
//
// A picture has square tiles, each with the list of the convexes whose box meets it, near to far. A pair of a tile and a convex has a
// row of sums, which the driver adds in the order of tiles: gradients are the same for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../common/tables.h"
#include "../kernel.h"

namespace splat {

constexpr int CONVEX_TILE = 16;       // pixels of a side
constexpr int CONVEX_PIXELS = CONVEX_TILE * CONVEX_TILE;
constexpr int MOST_EDGES = 8;
constexpr int SMOOTHNESS = 3, SHARPNESS = 4, FIRST_EDGE = 5;  // places in the packed parameters; edges are normal and offset
constexpr float NO_EDGE = -0.5e15f;  // offset below which an edge is none

// One image's convexes, near to far, and the pixels of its grid.
struct Convexes {
    const float* means2d;     // [count, 2]
    const float* packed;      // [count, FIRST_EDGE + 3·edges]
    const float* opacities;   // [count]
    const float* colors;      // [count, channels]
    const float* background;  // [channels]
    int count, edges, channels, height, width;
    int stride, left, top;    // of the grid in the whole picture

    int numbers() const { return FIRST_EDGE + 3 * edges; }
};

// A tile and its convexes: their places in the input, and those of their rows of sums.
struct ConvexTile {
    const int32_t* convexes;
    const std::size_t* rows;
    std::size_t count;
    int row, column;  // of tiles
};

// The sums of a row: by x, y and offset of each edge, by smoothness, sharpness, opacity and channels.
static inline int convex_sums(int edges, int channels) { return 3 * edges + 3 + channels; }

struct ConvexPictures {
    const float *color, *transmittance, *by_color, *by_transmittance;  // [C, H, W] and [H, W]
};

struct ConvexKernel {
    const char* name;
    // Writes the tile's pixels of color [C, H, W] and transmittance [H, W].
    void (*forward)(const Convexes&, const ConvexTile&, float* color, float* transmittance);
    // Writes the rows of `sums` that the tile names, and background [C], the tile's own.
    void (*backward)(const Convexes&, const ConvexTile&, const ConvexPictures&, float* sums, float* background);
};

DECLARE_TABLES(ConvexKernel, _convexes);

}  // namespace splat
