// What a linear layer's neighbours do to its rows, and the sums down their columns that its bias gets for a gradient.
#pragma once

#include "../common/simd.h"

namespace layers {

// sums[c] += Σ over rows of what `value(place)` gives for a vector, place by place; a few vectors of columns at a time, whose
// sums stay in registers.
template <typename Value>
static inline void down_columns(int rows, int width, float* sums, Value value) {
    constexpr int W = 4;
    int c = 0;
    for (; c + W * LANES <= width; c += W * LANES) {
        vfloat totals[W];
        for (int w = 0; w < W; ++w) totals[w] = load(sums + c + w * LANES);
        for (int r = 0; r < rows; ++r)
            for (int w = 0; w < W; ++w) totals[w] += value(static_cast<size_t>(r) * width + c + w * LANES);
        for (int w = 0; w < W; ++w) store(sums + c + w * LANES, totals[w]);
    }
    for (; c < width; c += LANES) {
        vfloat total = load(sums + c);
        for (int r = 0; r < rows; ++r) total += value(static_cast<size_t>(r) * width + c);
        store(sums + c, total);
    }
}

template <typename T>
static void column_sums(const T* x, int rows, int width, float* sums) {
    down_columns(rows, width, sums, [=](size_t place) { return load(x + place); });
}

// out = x in fewer digits; the sums are of x.
template <typename T>
static void narrowed(const float* x, T* out, int rows, int width, float* sums) {
    down_columns(rows, width, sums, [=](size_t place) {
        const vfloat value = load(x + place);
        store(out + place, value);
        return value;
    });
}

// x becomes x·slope, of which the sums are.
template <typename T>
static void sloped(T* x, const T* slope, int rows, int width, float* sums) {
    down_columns(rows, width, sums, [=](size_t place) {
        const vfloat value = load(x + place) * load(slope + place);
        store(x + place, value);
        return value;
    });
}

// out = x + branch + bias
template <typename T>
static void added(const float* x, const T* branch, const float* bias, float* out, int rows, int width) {
    for (int r = 0; r < rows; ++r, x += width, branch += width, out += width)
        for (int c = 0; c < width; c += LANES) store(out + c, load(x + c) + (load(branch + c) + load(bias + c)));
}

}  // namespace layers
