// What the driver of the transformer's layers hands to an instruction set, and the table that each one fills in.
#pragma once

#include <cstddef>

namespace layers {

// Rows of numbers that lie `row` apart, for one head of one image.
template <typename T>
struct Rows {
    T* first;
    ptrdiff_t row;
};

// One head of one image: `queries` rows of Q, `keys` rows of K and V, each `width` numbers long.
struct Head {
    Rows<const float> q, k, v;
    int queries, keys, width;
};

constexpr int MOST_KEYS = 512;  // scores of a head that still lie in a cache
constexpr int WIDTH_STEP = 16;  // of a head: the widest vector

constexpr int BLOCK = 24;       // queries whose scores are held at a time in the forward pass

inline int padded(int keys) { return (keys + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP; }

// Floats of scratch that a head needs.
inline size_t scratch_forward(int keys, int width) {
    return static_cast<size_t>(2 * width + BLOCK) * padded(keys);
}
inline size_t scratch_backward(int queries, int keys, int width) {
    return static_cast<size_t>(width + 2 * queries) * padded(keys) + static_cast<size_t>(width) * (keys > queries ? keys : queries);
}

struct Layers {
    const char* name;
    void (*gelu)(const float* x, float* y, size_t count);
    void (*gelu_backward)(const float* x, const float* gradient, float* out, size_t count);
    void (*attend)(const Head& head, Rows<float> out, float* scratch);
    void (*attend_backward)(const Head& head, Rows<const float> out_gradient, Rows<float> q, Rows<float> k, Rows<float> v,
                            float* scratch);
};

extern const Layers baseline_layers, avx2_layers, avx512_layers;

}  // namespace layers
