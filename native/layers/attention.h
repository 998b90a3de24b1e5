// Softmax attention of one head, forward and backward by recomputation: products in register tiles, the scores in scratch.
#pragma once

#include <algorithm>
#include <cstring>

#include "../simd.h"
#include "layers.h"

namespace layers {

// C[R][W vectors] = Σ over `inner` of A[r][i]·B[i][·]. A's rows lie `a_row` apart and its columns `a_column`.
template <int R, int W>
static inline void tile(const float* a, ptrdiff_t a_row, ptrdiff_t a_column, const float* b, ptrdiff_t b_row, int inner,
                        float* c, ptrdiff_t c_row) {
    vfloat sums[R][W] = {};
    for (int i = 0; i < inner; ++i, a += a_column, b += b_row) {
        vfloat right[W];
        for (int w = 0; w < W; ++w) right[w] = load(b + w * LANES);
        for (int r = 0; r < R; ++r) {
            const vfloat left = spread(a[r * a_row]);
            for (int w = 0; w < W; ++w) sums[r][w] += left * right[w];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int w = 0; w < W; ++w) store(c + r * c_row + w * LANES, sums[r][w]);
}

constexpr int TILE_ROWS = 6;  // by two vectors: twelve sums, which leaves room for their factors in sixteen registers

template <int R, int W>
static inline void last_rows(int rows, const float* a, ptrdiff_t a_row, ptrdiff_t a_column, const float* b, ptrdiff_t b_row,
                             int inner, float* c, ptrdiff_t c_row) {
    if constexpr (R > 0) {
        if (rows == R) return tile<R, W>(a, a_row, a_column, b, b_row, inner, c, c_row);
        last_rows<R - 1, W>(rows, a, a_row, a_column, b, b_row, inner, c, c_row);
    }
}

template <int W>
static inline void column_of_tiles(const float* a, ptrdiff_t a_row, ptrdiff_t a_column, const float* b, ptrdiff_t b_row,
                                   int rows, int inner, float* c, ptrdiff_t c_row) {
    int r = 0;
    for (; r + TILE_ROWS <= rows; r += TILE_ROWS)
        tile<TILE_ROWS, W>(a + r * a_row, a_row, a_column, b, b_row, inner, c + r * c_row, c_row);
    last_rows<TILE_ROWS - 1, W>(rows - r, a + r * a_row, a_row, a_column, b, b_row, inner, c + r * c_row, c_row);
}

// C[rows][columns] = A·B; `columns` is a multiple of the vector.
static void product(const float* a, ptrdiff_t a_row, ptrdiff_t a_column, const float* b, ptrdiff_t b_row, int rows, int inner,
                    int columns, float* c, ptrdiff_t c_row) {
    int j = 0;
    for (; j + 2 * LANES <= columns; j += 2 * LANES)
        column_of_tiles<2>(a, a_row, a_column, b + j, b_row, rows, inner, c + j, c_row);
    for (; j < columns; j += LANES)
        column_of_tiles<1>(a, a_row, a_column, b + j, b_row, rows, inner, c + j, c_row);
}

// The transposed rows, times a factor, padded with zeros: [width][padded(count)].
static void transposed(Rows<const float> rows, int count, int width, float factor, float* to) {
    const int row = padded(count);
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < width; ++c) to[c * row + i] = factor * rows.first[i * rows.row + c];
    for (int c = 0; c < width; ++c) std::fill(to + c * row + count, to + (c + 1) * row, 0.0f);
}

// The rows behind one another. Where they come from they lie kilobytes apart, and would share few places of a cache.
static const float* packed(Rows<const float> rows, int count, int width, float* to) {
    for (int i = 0; i < count; ++i) std::copy_n(rows.first + i * rows.row, width, to + i * width);
    return to;
}

// Scores in units of log 2 become weights that sum to 1; those past the last key become 0.
static void softmax(float* scores, int keys) {
    const int length = padded(keys);
    std::fill(scores + keys, scores + length, -1e30f);
    vfloat most = load(scores);
    for (int j = LANES; j < length; j += LANES) most = larger(load(scores + j), most);
    float top = most[0];
    for (int lane = 1; lane < LANES; ++lane) top = std::max(top, most[lane]);
    vfloat total = {};
    for (int j = 0; j < length; j += LANES) {
        const vfloat below = load(scores + j) - top;
        // A difference that is no number stays none; comparisons would drop it.
        const vfloat weight = only(below >= -126.0f, exp2_in_range(larger(below, spread(-126.0f)))) + (below - below);
        total += weight;
        store(scores + j, weight);
    }
    const vfloat share = spread(1.0f / sum(total));
    for (int j = 0; j < length; j += LANES) store(scores + j, load(scores + j) * share);
}

static inline float inverse_root(int width) { return 1.0f / std::sqrt(static_cast<float>(width)); }

constexpr float LOG2_E = 1.44269504f;

static void attend(const Head& head, Rows<float> out, float* scratch) {
    const int row = padded(head.keys), width = head.width;
    float *keys = scratch, *scores = keys + width * row, *room = scores + BLOCK * row;
    transposed(head.k, head.keys, width, LOG2_E * inverse_root(width), keys);
    const float* values = packed(head.v, head.keys, width, room);
    for (int i = 0; i < head.queries; i += BLOCK) {
        const int rows = std::min(BLOCK, head.queries - i);
        product(head.q.first + i * head.q.row, head.q.row, 1, keys, row, rows, width, row, scores, row);
        for (int r = 0; r < rows; ++r) softmax(scores + r * row, head.keys);
        product(scores, row, 1, values, width, rows, head.keys, width, out.first + i * out.row, out.row);
    }
}

static void attend_backward(const Head& head, Rows<const float> out_gradient, Rows<float> q, Rows<float> k, Rows<float> v,
                            float* scratch) {
    const int row = padded(head.keys), width = head.width;
    const float factor = inverse_root(width);
    float *turned = scratch, *weights = turned + width * row, *slopes = weights + head.queries * row,
          *room = slopes + head.queries * row;
    transposed(head.k, head.keys, width, LOG2_E * factor, turned);
    product(head.q.first, head.q.row, 1, turned, row, head.queries, width, row, weights, row);
    for (int i = 0; i < head.queries; ++i) softmax(weights + i * row, head.keys);
    transposed(head.v, head.keys, width, 1.0f, turned);
    product(out_gradient.first, out_gradient.row, 1, turned, row, head.queries, width, row, slopes, row);
    for (int i = 0; i < head.queries; ++i) {
        float *weight = weights + i * row, *slope = slopes + i * row;
        vfloat dot = {};
        for (int j = 0; j < row; j += LANES) dot += load(weight + j) * load(slope + j);
        const float mean = sum(dot);
        for (int j = 0; j < row; j += LANES) store(slope + j, load(weight + j) * (load(slope + j) - mean) * factor);
    }
    product(slopes, row, 1, packed(head.k, head.keys, width, room), width, head.queries, head.keys, width, q.first, q.row);
    product(slopes, 1, row, packed(head.q, head.queries, width, room), width, head.keys, head.queries, width, k.first, k.row);
    product(weights, 1, row, packed(out_gradient, head.queries, width, room), width, head.keys, head.queries, width, v.first,
            v.row);
}

}  // namespace layers
