// What the driver of the transformer's layers hands to an instruction set, and the table that each one fills in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../common/tables.h"

namespace layers {

// Rows of numbers that lie `row` apart, for one head of one image.
template <typename T>
struct Rows {
    T* first;
    ptrdiff_t row;
};

// One head of one image: `queries` rows of Q, `keys` rows of K and V, each `width` numbers long.
template <typename T>
struct Head {
    Rows<const T> q, k, v;
    int queries, keys, width;
};

constexpr int MOST_KEYS = 512;  // scores of a head that still lie in a cache
constexpr int WIDTH_STEP = 16;  // of a head: the widest vector

constexpr int BLOCK = 48;       // queries whose scores are held at a time in the forward pass: three of the widest vectors

inline int padded(int count) { return (count + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP; }

// Floats of scratch that a head needs.
inline size_t scratch_forward(int keys, int width) {
    return static_cast<size_t>(2 * keys + 2 * BLOCK) * width + static_cast<size_t>(BLOCK) * keys;
}
inline size_t scratch_backward(int queries, int keys, int width) {
    const size_t most = keys > queries ? keys : queries;
    return (2 * static_cast<size_t>(queries) + keys + most + padded(queries)) * width + 2 * static_cast<size_t>(keys) * padded(queries);
}

// Rows of `width` numbers that a layer norm takes, and what it leaves for its derivative.
template <typename T>
struct NormOf {
    const float *x, *scale, *shift;
    T* out;
    float *mean, *inverse;
    int width;
    float epsilon;
};

template <typename T>
struct NormBackwardOf {
    const float *x, *scale, *mean, *inverse;
    const T* gradient;  // of what came out of the norm
    const float* past;  // what the rows get by another way
    float* out;
    int width;
};

// Of numbers of one kind: float, or bfloat16 as its bits, computed in float. Widths are multiples of WIDTH_STEP.
template <typename T>
struct LayersOf {
    void (*gelu)(const T* x, T* y, size_t count);
    void (*gelu_backward)(const T* x, const T* gradient, T* out, size_t count);
    void (*attend)(const Head<T>& head, Rows<T> out, float* scratch);
    void (*attend_backward)(const Head<T>& head, Rows<const T> out_gradient, Rows<T> q, Rows<T> k, Rows<T> v, float* scratch);
    void (*norm)(const NormOf<T>& norm, int rows);
    void (*norm_backward)(const NormBackwardOf<T>& norm, int rows, float* scale_sums, float* shift_sums);
    void (*column_sums)(const T* x, int rows, int width, float* sums);
    void (*narrowed)(const float* x, T* out, int rows, int width, float* sums);
    void (*sloped)(T* x, const T* slope, int rows, int width, float* sums);
    void (*added)(const float* x, const T* branch, const float* bias, float* out, int rows, int width);
    void (*gelu_and_slope)(T* x, const float* bias, T* y, int rows, int width);
};

struct Layers {
    const char* name;
    LayersOf<float> floats;
    LayersOf<uint16_t> halves;

    template <typename T>
    const LayersOf<T>& of() const {
        if constexpr (sizeof(T) == sizeof(float)) return floats;
        else return halves;
    }
};

DECLARE_TABLES(Layers, _layers);

}  // namespace layers
