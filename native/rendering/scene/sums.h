// Sums over the lanes of a few vectors at a time.
#pragma once

#include <algorithm>

#include "../../common/simd.h"

namespace splat {
namespace {

// `sums_of`: the same additions, in fewer instructions.
#if defined(__AVX2__) && LANES == 8
static inline vfloat pairs_of(vfloat a, vfloat b) {
    const __m256 even = _mm256_shuffle_ps((__m256)a, (__m256)b, 0x88), odd = _mm256_shuffle_ps((__m256)a, (__m256)b, 0xdd);
    return (vfloat)_mm256_add_ps(even, odd);
}

static inline vfloat quick_sums_of(vfloat* values) {
    const vfloat a = pairs_of(pairs_of(values[0], values[1]), pairs_of(values[2], values[3]));
    const vfloat b = pairs_of(pairs_of(values[4], values[5]), pairs_of(values[6], values[7]));
    return (vfloat)_mm256_permute2f128_ps((__m256)a, (__m256)b, 0x20) + (vfloat)_mm256_permute2f128_ps((__m256)a, (__m256)b, 0x31);
}

// Of two to four vectors.
template <int N>
static inline void add_few_sums(const vfloat* values, float* out) {
    static_assert(N >= 2 && N <= 4, "as many are added here");
    const vfloat a = pairs_of(values[0], values[1]);
    const vfloat both = N == 2 ? pairs_of(a, a) : pairs_of(a, pairs_of(values[2], values[N - 1]));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128((__m256)both), _mm256_extractf128_ps((__m256)both, 1));
    float sums[4];
    _mm_storeu_ps(sums, four);
    for (int i = 0; i < N; ++i) out[i] += sums[i];
}
#else
static inline vfloat quick_sums_of(vfloat* values) { return sums_of(values); }

template <int N>
static inline void add_few_sums(const vfloat* values, float* out) {
    for (int i = 0; i < N; ++i) out[i] += sum(values[i]);
}
#endif

// Adds the sums over lanes; `values` is overwritten.
template <int N>
inline void add_sums(vfloat* values, float* out) {
    constexpr int REST = N % LANES, WHOLE = N - REST;
    for (int i = 0; i < WHOLE; i += LANES) store(out + i, load(out + i) + quick_sums_of(values + i));
    if constexpr (REST == 1) {
        out[WHOLE] += sum(values[WHOLE]);
    } else if constexpr (REST > 1 && REST <= 4) {
        add_few_sums<REST>(values + WHOLE, out + WHOLE);
    } else if constexpr (REST) {
        vfloat rest[LANES] = {};
        std::copy(values + WHOLE, values + N, rest);
        const vfloat sums = quick_sums_of(rest);
        for (int k = 0; k < REST; ++k) out[WHOLE + k] += sums[k];
    }
}

}  // namespace
}  // namespace splat
