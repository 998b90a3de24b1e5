// A vector of Gaussians, which lie anywhere in a set.
#pragma once

#include "../gaussian.h"

namespace splat {
namespace {

// LANES Gaussians by their places in the set.
struct Places {
    int32_t id[LANES];

    vfloat load(const float* from, int stride, int offset) const {
        vfloat value;
        for (int lane = 0; lane < LANES; ++lane) value[lane] = from[static_cast<size_t>(id[lane]) * stride + offset];
        return value;
    }
    Vector<vfloat> vector(const float* from) const { return {load(from, 3, 0), load(from, 3, 1), load(from, 3, 2)}; }
    Quaternion<vfloat> quaternion(const float* from) const {
        return {load(from, 4, 0), load(from, 4, 1), load(from, 4, 2), load(from, 4, 3)};
    }
};

// Writes the first view's gradient, and adds those of the others.
template <bool FRESH>
inline void put(float& to, float value) {
    to = FRESH ? value : to + value;
}

}  // namespace
}  // namespace splat
