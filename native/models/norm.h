// Layer norm of rows, and its derivative added to what comes past it on a residual path.
#pragma once

#include "../common/simd.h"
#include "layers.h"

namespace layers {

// out = (x − mean)·inverse·scale + shift, the mean and the inverse deviation those of each row.
template <typename T>
static void norm(const NormOf<T>& norm, int rows) {
    const int width = norm.width;
    for (int r = 0; r < rows; ++r) {
        const float* x = norm.x + static_cast<size_t>(r) * width;
        T* out = norm.out + static_cast<size_t>(r) * width;
        vfloat total = {}, squares = {};
        for (int c = 0; c < width; c += LANES) total += load(x + c);
        const float mean = sum(total) / width;
        for (int c = 0; c < width; c += LANES) {
            const vfloat away = load(x + c) - mean;
            squares += away * away;
        }
        const float inverse = 1.0f / std::sqrt(sum(squares) / width + norm.epsilon);
        for (int c = 0; c < width; c += LANES)
            store(out + c, (load(x + c) - mean) * inverse * load(norm.scale + c) + load(norm.shift + c));
        norm.mean[r] = mean;
        norm.inverse[r] = inverse;
    }
}

// out = past + the gradient of x; what scale and shift get is added to their sums.
template <typename T>
static void norm_backward(const NormBackwardOf<T>& norm, int rows, float* scale_sums, float* shift_sums) {
    const int width = norm.width;
    for (int r = 0; r < rows; ++r) {
        const size_t place = static_cast<size_t>(r) * width;
        const float *x = norm.x + place, *past = norm.past + place;
        const T* gradient = norm.gradient + place;
        float* out = norm.out + place;
        const float mean = norm.mean[r], inverse = norm.inverse[r];
        vfloat total = {}, along = {};
        for (int c = 0; c < width; c += LANES) {
            const vfloat asked = load(gradient + c), normed = (load(x + c) - mean) * inverse;
            const vfloat scaled = asked * load(norm.scale + c);
            total += scaled;
            along += scaled * normed;
            store(scale_sums + c, load(scale_sums + c) + asked * normed);
            store(shift_sums + c, load(shift_sums + c) + asked);
        }
        const float shared = sum(total) / width, slope = sum(along) / width;
        for (int c = 0; c < width; c += LANES) {
            const vfloat normed = (load(x + c) - mean) * inverse;
            const vfloat scaled = load(gradient + c) * load(norm.scale + c);
            store(out + c, load(past + c) + (scaled - shared - normed * slope) * inverse);
        }
    }
}

}  // namespace layers
