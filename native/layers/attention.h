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
template <typename T>
static void transposed(Rows<const T> rows, int count, int width, float factor, float* to) {
    const int row = padded(count);
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < width; ++c) to[c * row + i] = factor * one_of(rows.first[i * rows.row + c]);
    for (int c = 0; c < width; ++c) std::fill(to + c * row + count, to + (c + 1) * row, 0.0f);
}

// The rows behind one another. Where they come from they lie kilobytes apart, and would share few places of a cache.
template <typename T>
static const float* packed(Rows<const T> rows, int count, int width, float* to) {
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < width; c += LANES) store(to + i * width + c, load(rows.first + i * rows.row + c));
    return to;
}

// Rows of floats: those that are, where they lie, others made floats in `room`.
static Rows<const float> as_floats(Rows<const float> rows, int, int, float*) { return rows; }
static Rows<const float> as_floats(Rows<const uint16_t> rows, int count, int width, float* room) {
    return {packed(rows, count, width, room), width};
}

// Where products go that end in rows of T, and what brings them there.
static Rows<float> landing(Rows<float> rows, int, float*) { return rows; }
static Rows<float> landing(Rows<uint16_t>, int width, float* room) { return {room, width}; }
static void landed(Rows<float>, Rows<float>, int, int) {}
static void landed(Rows<float> from, Rows<uint16_t> to, int count, int width) {
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < width; c += LANES) store(to.first + i * to.row + c, load(from.first + i * from.row + c));
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

template <typename T>
static void attend(const Head<T>& head, Rows<T> out, float* scratch) {
    const int row = padded(head.keys), width = head.width;
    float *keys = scratch, *scores = keys + width * row, *room = scores + BLOCK * row, *asking = room + width * row,
          *found = asking + BLOCK * width;
    transposed(head.k, head.keys, width, LOG2_E * inverse_root(width), keys);
    const float* values = packed(head.v, head.keys, width, room);
    for (int i = 0; i < head.queries; i += BLOCK) {
        const int rows = std::min(BLOCK, head.queries - i);
        const Rows<const T> some{head.q.first + i * head.q.row, head.q.row};
        const Rows<const float> q = as_floats(some, rows, width, asking);
        product(q.first, q.row, 1, keys, row, rows, width, row, scores, row);
        for (int r = 0; r < rows; ++r) softmax(scores + r * row, head.keys);
        const Rows<T> to{out.first + i * out.row, out.row};
        const Rows<float> sums = landing(to, width, found);
        product(scores, row, 1, values, width, rows, head.keys, width, sums.first, sums.row);
        landed(sums, to, rows, width);
    }
}

template <typename T>
static void attend_backward(const Head<T>& head, Rows<const T> out_gradient, Rows<T> q, Rows<T> k, Rows<T> v, float* scratch) {
    const int row = padded(head.keys), width = head.width, most = std::max(head.keys, head.queries);
    const float factor = inverse_root(width);
    float *turned = scratch, *weights = turned + width * row, *slopes = weights + head.queries * row,
          *room = slopes + head.queries * row, *asking = room + most * width, *asked = asking + head.queries * width,
          *found = asked + head.queries * width;
    const Rows<const float> queries = as_floats(head.q, head.queries, width, asking);
    const Rows<const float> upstream = as_floats(out_gradient, head.queries, width, asked);
    transposed(head.k, head.keys, width, LOG2_E * factor, turned);
    product(queries.first, queries.row, 1, turned, row, head.queries, width, row, weights, row);
    for (int i = 0; i < head.queries; ++i) softmax(weights + i * row, head.keys);
    transposed(head.v, head.keys, width, 1.0f, turned);
    product(upstream.first, upstream.row, 1, turned, row, head.queries, width, row, slopes, row);
    for (int i = 0; i < head.queries; ++i) {
        float *weight = weights + i * row, *slope = slopes + i * row;
        vfloat dot = {};
        for (int j = 0; j < row; j += LANES) dot += load(weight + j) * load(slope + j);
        const float mean = sum(dot);
        for (int j = 0; j < row; j += LANES) store(slope + j, load(weight + j) * (load(slope + j) - mean) * factor);
    }
    // A's rows are `a_row` apart: those of slopes and weights, or their columns.
    const auto gradient = [&](const float* a, ptrdiff_t a_row, ptrdiff_t a_column, const float* b, int rows, int inner,
                              Rows<T> to) {
        const Rows<float> sums = landing(to, width, found);
        product(a, a_row, a_column, b, width, rows, inner, width, sums.first, sums.row);
        landed(sums, to, rows, width);
    };
    gradient(slopes, row, 1, packed(head.k, head.keys, width, room), head.queries, head.keys, q);
    gradient(slopes, 1, row, packed(queries, head.queries, width, room), head.keys, head.queries, k);
    gradient(weights, 1, row, packed(upstream, head.queries, width, room), head.keys, head.queries, v);
}

}  // namespace layers
