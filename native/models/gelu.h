// The exact GELU, x·Φ(x), and its derivative, Φ(x) + x·φ(x).
#pragma once

#include "../common/simd.h"

namespace layers {

// Of Φ(−|x|)·exp(x²/2), in powers of 1/(1 + SCALE·|x|); fitted to ½·erfcx over |x| ≤ 13.
constexpr float SCALE = 0.29698485f;
constexpr float TAIL[] = {3.9192249326e-02f, -1.7846336394e-01f, 2.5513897698e-01f,  -1.0157325886e-01f, 1.5708371675e-01f,
                          8.8661546752e-02f, 1.2178348288e-01f,  1.1816372111e-01f, 1.2949093355e-05f};

constexpr float DENSITY = 0.39894228f;  // 1/√(2π)

// Φ(−|x|) = ½·exp(−x²/2)·erfcx(|x|/√2): the last factor as that polynomial, relative error 4e-8.
struct Normal {
    vfloat below, bell;  // Φ(x), exp(−x²/2)
};

static inline Normal normal(vfloat x) {
    const vfloat size = larger(x, -x);
    const vfloat u = 1.0f / (1.0f + size * SCALE);
    vfloat tail = {};
    for (const float each : TAIL) tail = tail * u + each;
    const vfloat power = x * x * -0.72134752f;  // of 2
    const vfloat bell = only(power >= -126.0f, exp2_in_range(larger(power, spread(-126.0f))));
    tail *= bell;
    return {select(x < 0.0f, tail, 1.0f - tail), bell};
}

template <typename T>
static void gelu(const T* x, T* y, size_t count) {
    for (size_t i = 0; i < count; i += LANES) {
        const int left = static_cast<int>(count - i < LANES ? count - i : LANES);
        const vfloat value = load_first(x + i, left);
        store_first(y + i, value * normal(value).below, left);
    }
}

// y = gelu(x + bias), and x becomes the derivative there.
template <typename T>
static void gelu_and_slope(T* x, const float* bias, T* y, int rows, int width) {
    for (int r = 0; r < rows; ++r, x += width, y += width)
        for (int c = 0; c < width; c += LANES) {
            const vfloat value = load(x + c) + load(bias + c);
            const Normal n = normal(value);
            store(y + c, value * n.below);
            store(x + c, n.below + value * n.bell * DENSITY);
        }
}

template <typename T>
static void gelu_backward(const T* x, const T* gradient, T* out, size_t count) {
    for (size_t i = 0; i < count; i += LANES) {
        const int left = static_cast<int>(count - i < LANES ? count - i : LANES);
        const vfloat value = load_first(x + i, left);
        const Normal n = normal(value);
        store_first(out + i, load_first(gradient + i, left) * (n.below + value * n.bell * DENSITY), left);
    }
}

}  // namespace layers
