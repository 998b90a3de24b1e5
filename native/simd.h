// Vectors of LANES floats through the compiler's vector extensions: one source for SSE, AVX2, AVX-512 and NEON.
#pragma once

#include <cstdint>
#include <cstring>

#ifndef LANES
#define LANES 4
#endif

typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef int32_t vint __attribute__((vector_size(4 * LANES)));

static inline vfloat spread(float value) { return value - (vfloat){}; }

static inline vfloat load(const float* from) {
    vfloat value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

static inline void store(float* to, vfloat value) { std::memcpy(to, &value, sizeof value); }

static inline vfloat select(vint where, vfloat yes, vfloat no) { return where ? yes : no; }

// Both return b when a is NaN.
static inline vfloat larger(vfloat a, vfloat b) { return a > b ? a : b; }
static inline vfloat smaller(vfloat a, vfloat b) { return a < b ? a : b; }

static inline float sum(vfloat value) {
    float lanes[LANES];
    store(lanes, value);
    // Pairwise, so that the order of additions is the same for every instruction set of this width.
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    return lanes[0];
}

static inline float largest(vfloat value) {
    float lanes[LANES];
    store(lanes, value);
    float most = lanes[0];
    for (int i = 1; i < LANES; ++i) most = lanes[i] > most ? lanes[i] : most;
    return most;
}

static inline bool any(vint where) {
    int32_t lanes[LANES];
    std::memcpy(lanes, &where, sizeof where);
    int32_t some = 0;
    for (int i = 0; i < LANES; ++i) some |= lanes[i];
    return some != 0;
}

// 2^x for x in [-126, 126], relative error below 1.2e-7: round to the nearest integer, a degree-5 minimax polynomial on the
// rest in [-1/2, 1/2], and the integer into the exponent's bits. x must be clamped by the caller.
static inline vfloat exp2_in_range(vfloat x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
    vfloat shifted = x + magic;
    vfloat f = x - (shifted - magic);
    vfloat p = f * 1.3276471520e-03f + 9.6755413307e-03f;
    p = p * f + 5.5507132750e-02f;
    p = p * f + 2.4022119724e-01f;
    p = p * f + 6.9314696706e-01f;
    p = p * f + 1.0f;
    vint bits, scale;
    std::memcpy(&bits, &p, sizeof p);
    std::memcpy(&scale, &shifted, sizeof shifted);
    bits += scale << 23;  // the magic number's own bits leave at the top
    std::memcpy(&p, &bits, sizeof p);
    return p;
}
