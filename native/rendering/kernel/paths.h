// How α of a splat is evaluated, by how narrow it is down the rows.
#pragma once

#include "../kernel.h"
#include "../../common/simd.h"

namespace splat {
namespace {

// The recurrence runs over so many rows before it starts anew, by the curvature c down the rows in log2 units per row². A lane
// that is seen in some of n rows, where its power is below 8, then has at most (n √c + √8)² < 2·48 where it starts: that is
// clear of underflow, and α's rounding stays near 2e-6.
constexpr int SHORTEST_BLOCK = 8;
constexpr float SHORTEST_CURVATURE = 0.74f;
constexpr struct {
    float curvature;
    int rows;
} BLOCKS[] = {{0.185f, 16}, {0.046f, 32}, {0.0115f, 64}};
constexpr float CULL_SLACK = 0.02f;   // the rounding of a power, in log2 units, at which culling stays on the safe side

// By the curvature down the rows, in log2 units per row².
inline vint path_of(vfloat curvature) {
    return choose(curvature <= SHORTEST_CURVATURE, spread_whole(RECURRENCE), spread_whole(DIRECT));
}

inline vint rows_between_restarts(vfloat curvature) {
    vint block = spread_whole(SHORTEST_BLOCK);
    for (const auto& limit : BLOCKS) block = choose(curvature <= limit.curvature, spread_whole(limit.rows), block);
    return block;
}

}  // namespace
}  // namespace splat
