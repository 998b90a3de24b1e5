// Sums over the lanes of a few vectors at a time.
#pragma once

#include <algorithm>

#include "../../common/simd.h"

namespace splat {
namespace {

#if defined(__AVX512DQ__) && LANES == 16
// Sums of two neighbouring lanes: those of a, then those of b, in each quarter of the result.
static inline vfloat pairs_of(vfloat a, vfloat b) {
    const __m512 even = _mm512_shuffle_ps((__m512)a, (__m512)b, 0x88), odd = _mm512_shuffle_ps((__m512)a, (__m512)b, 0xdd);
    return (vfloat)_mm512_add_ps(even, odd);
}

// Sums of two neighbouring quarters, likewise.
static inline vfloat quarters_of(vfloat a, vfloat b) {
    const __m512 even = _mm512_shuffle_f32x4((__m512)a, (__m512)b, 0x88), odd = _mm512_shuffle_f32x4((__m512)a, (__m512)b, 0xdd);
    return (vfloat)_mm512_add_ps(even, odd);
}

// Sums of the four lanes of each quarter of up to four vectors, from `values[first]` on. What a missing vector has is not used.
template <int N>
static inline vfloat fours_of(const vfloat* values, int first) {
    const vfloat* at = values + first;
    const vfloat a = pairs_of(at[0], at[N - first > 1 ? 1 : 0]);
    return pairs_of(a, N - first > 2 ? pairs_of(at[2], at[N - first > 3 ? 3 : 2]) : a);
}

// The sums over lanes of up to LANES vectors, in the first lanes of the result.
template <int N>
static inline vfloat sums_up_to_lanes(const vfloat* values) {
    static_assert(N >= 1 && N <= LANES, "a lane holds each sum");
    const vfloat a = fours_of<N>(values, 0), b = N > 4 ? fours_of<N>(values, 4) : a;
    const vfloat c = N > 8 ? fours_of<N>(values, 8) : a, d = N > 12 ? fours_of<N>(values, 12) : c;
    const vfloat first = quarters_of(a, b);
    return quarters_of(first, N > 8 ? quarters_of(c, d) : first);
}

// Adds them to the numbers of a row. What is written by a mask is not forwarded to a load that follows at once.
template <int N>
static inline void add_up_to_lanes(const vfloat* values, float* out) {
    constexpr __mmask16 MASK = (1u << N) - 1;
    const vfloat sums = sums_up_to_lanes<N>(values);
    _mm512_mask_storeu_ps(out, MASK, _mm512_add_ps(_mm512_maskz_loadu_ps(MASK, out), (__m512)sums));
}

static inline void add_two_sums(vfloat a, vfloat b, float& to_a, float& to_b) {
    const vfloat both[2] = {a, b}, sums = sums_up_to_lanes<2>(both);
    to_a += sums[0], to_b += sums[1];
}
#elif defined(__AVX2__) && LANES == 8
// `sums_of`: the same additions, in fewer instructions.
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

static inline void add_two_sums(vfloat a, vfloat b, float& to_a, float& to_b) {
    const vfloat both[2] = {a, b};
    float sums[2] = {};
    add_few_sums<2>(both, sums);
    to_a += sums[0], to_b += sums[1];
}
#else
static inline vfloat quick_sums_of(vfloat* values) { return sums_of(values); }

template <int N>
static inline void add_few_sums(const vfloat* values, float* out) {
    for (int i = 0; i < N; ++i) out[i] += sum(values[i]);
}

static inline void add_two_sums(vfloat a, vfloat b, float& to_a, float& to_b) { to_a += sum(a), to_b += sum(b); }
#endif

// Adds the sums over lanes; `values` is overwritten.
#if defined(__AVX512DQ__) && LANES == 16
template <int N>
inline void add_sums(vfloat* values, float* out) {
    constexpr int REST = N % LANES, WHOLE = N - REST;
    for (int i = 0; i < WHOLE; i += LANES) add_up_to_lanes<LANES>(values + i, out + i);
    if constexpr (REST != 0) add_up_to_lanes<REST>(values + WHOLE, out + WHOLE);
}
#else
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
#endif

}  // namespace
}  // namespace splat
