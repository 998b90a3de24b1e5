// Softmax attention of one head, forward and backward by recomputation: products in register tiles, the scores in scratch.
//
// Scores lie transposed, a row for each key: the softmax over keys then runs down the columns, a vector of queries at a time.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "../common/simd.h"
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
    // Twelve sums, which leaves room for their factors in sixteen registers; eight of one vector hide an addition's latency.
    constexpr int R = W == 1 ? 8 : 12 / W;
    int r = 0;
    for (; r + R <= rows; r += R) tile<R, W>(a + r * a_row, a_row, a_column, b, b_row, inner, c + r * c_row, c_row);
    last_rows<R - 1, W>(rows - r, a + r * a_row, a_row, a_column, b, b_row, inner, c + r * c_row, c_row);
}

// C[rows][columns] = A·B; `columns` is a multiple of the vector.
static void product(const float* a, ptrdiff_t a_row, ptrdiff_t a_column, const float* b, ptrdiff_t b_row, int rows, int inner,
                    int columns, float* c, ptrdiff_t c_row) {
    int j = 0;
    const auto some = [&](auto vectors) {
        constexpr int W = decltype(vectors)::value;
        column_of_tiles<W>(a, a_row, a_column, b + j, b_row, rows, inner, c + j, c_row);
        j += W * LANES;
    };
    // Four vectors left are two and two: one alone is the slowest.
    while (columns - j >= 5 * LANES || columns - j == 3 * LANES) some(std::integral_constant<int, 3>{});
    while (columns - j >= 2 * LANES) some(std::integral_constant<int, 2>{});
    if (j < columns) some(std::integral_constant<int, 1>{});
}

// Places that vectors fill, for `count` numbers.
static inline int filled(int count) { return (count + LANES - 1) / LANES * LANES; }

// The transposed rows, times a factor, padded with zeros: [width][filled(count)].
static void transposed(const float* rows, int count, int width, float factor, float* to) {
    const int row = filled(count);
    for (int i = 0; i < count; i += LANES)
        for (int c = 0; c < width; c += LANES) {
            vfloat square[LANES];
            for (int r = 0; r < LANES; ++r) square[r] = i + r < count ? load(rows + (i + r) * width + c) * factor : vfloat{};
            turn(square);
            for (int r = 0; r < LANES; ++r) store(to + (c + r) * row + i, square[r]);
        }
}

// The rows behind one another as floats. Where they come from they lie kilobytes apart, and would share few places of a cache.
template <typename T>
static void packed(Rows<const T> rows, int count, int width, float* to) {
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < width; c += LANES) store(to + i * width + c, load(rows.first + i * rows.row + c));
}

template <typename T>
static void unpacked(const float* from, int count, int width, Rows<T> to) {
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < width; c += LANES) store(to.first + i * to.row + c, load(from + i * width + c));
}

// Scores [keys][row], in units of log 2, become weights that sum to 1 down each column.
static void softmax(float* scores, int keys, int row) {
    for (int j = 0; j < row; j += LANES) {
        vfloat top = load(scores + j);
        for (int i = 1; i < keys; ++i) top = larger(load(scores + i * row + j), top);
        vfloat total = {};
        for (int i = 0; i < keys; ++i) {
            const vfloat below = load(scores + i * row + j) - top;
            // A difference that is no number stays none; comparisons would drop it.
            const vfloat weight = only(below >= -126.0f, exp2_in_range(larger(below, spread(-126.0f)))) + (below - below);
            total += weight;
            store(scores + i * row + j, weight);
        }
        const vfloat share = 1.0f / total;
        for (int i = 0; i < keys; ++i) store(scores + i * row + j, load(scores + i * row + j) * share);
    }
}

static inline float inverse_root(int width) { return 1.0f / std::sqrt(static_cast<float>(width)); }

constexpr float LOG2_E = 1.44269504f;

template <typename T>
static void attend(const Head<T>& head, Rows<T> out, float* scratch) {
    const int width = head.width;
    float *keys = scratch, *values = keys + head.keys * width, *queries = values + head.keys * width,
          *turned = queries + BLOCK * width, *scores = turned + BLOCK * width;
    packed(head.k, head.keys, width, keys);
    packed(head.v, head.keys, width, values);
    for (int i = 0; i < head.queries; i += BLOCK) {
        const int rows = std::min(BLOCK, head.queries - i), row = filled(rows);
        packed(Rows<const T>{head.q.first + i * head.q.row, head.q.row}, rows, width, queries);
        transposed(queries, rows, width, LOG2_E * inverse_root(width), turned);
        product(keys, width, 1, turned, row, head.keys, width, row, scores, row);
        softmax(scores, head.keys, row);
        product(scores, 1, row, values, width, rows, head.keys, width, queries, width);
        unpacked(queries, rows, width, Rows<T>{out.first + i * out.row, out.row});
    }
}

template <typename T>
static void attend_backward(const Head<T>& head, Rows<const T> out_gradient, Rows<T> q, Rows<T> k, Rows<T> v, float* scratch) {
    const int row = filled(head.queries), width = head.width, most = std::max(head.keys, head.queries);
    const float factor = inverse_root(width);
    float *queries = scratch, *keys = queries + head.queries * width, *asked = keys + head.keys * width,
          *found = asked + head.queries * width, *turned = found + most * width, *weights = turned + width * row,
          *slopes = weights + head.keys * row;
    packed(head.q, head.queries, width, queries);
    packed(head.k, head.keys, width, keys);
    packed(out_gradient, head.queries, width, asked);
    transposed(queries, head.queries, width, LOG2_E * factor, turned);
    product(keys, width, 1, turned, row, head.keys, width, row, weights, row);
    softmax(weights, head.keys, row);
    transposed(asked, head.queries, width, 1.0f, turned);
    packed(head.v, head.keys, width, found);
    product(found, width, 1, turned, row, head.keys, width, row, slopes, row);
    for (int j = 0; j < row; j += LANES) {
        vfloat mean = {};
        for (int i = 0; i < head.keys; ++i) mean += load(weights + i * row + j) * load(slopes + i * row + j);
        for (int i = 0; i < head.keys; ++i) {
            float* slope = slopes + i * row + j;
            store(slope, load(weights + i * row + j) * (load(slope) - mean) * factor);
        }
    }
    product(slopes, 1, row, keys, width, head.queries, head.keys, width, found, width);
    unpacked(found, head.queries, width, q);
    product(slopes, row, 1, queries, width, head.keys, head.queries, width, found, width);
    unpacked(found, head.keys, width, k);
    product(weights, row, 1, asked, width, head.keys, head.queries, width, found, width);
    unpacked(found, head.keys, width, v);
}

}  // namespace layers
