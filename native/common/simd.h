// Vectors of LANES floats through the compiler's vector extensions: one source for SSE, AVX2, AVX-512 and NEON.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifndef LANES
#define LANES 4
#endif

typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef int32_t vint __attribute__((vector_size(4 * LANES)));
typedef double vdouble __attribute__((vector_size(8 * LANES)));

static inline vfloat spread(float value) { return value - (vfloat){}; }

static inline vfloat load(const float* from) {
    vfloat value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

static inline void store(float* to, vfloat value) { std::memcpy(to, &value, sizeof value); }

// Past the caches where `to` is aligned for it. `end_of_streams` comes before other threads read.
#if defined(__AVX512F__) && LANES == 16
static inline void stream(float* to, vfloat value) { _mm512_stream_ps(to, (__m512)value); }
static inline void end_of_streams() { _mm_sfence(); }
#elif defined(__AVX2__) && LANES == 8
static inline void stream(float* to, vfloat value) { _mm256_stream_ps(to, (__m256)value); }
static inline void end_of_streams() { _mm_sfence(); }
#elif defined(__SSE2__) && LANES == 4
static inline void stream(float* to, vfloat value) { _mm_stream_ps(to, (__m128)value); }
static inline void end_of_streams() { _mm_sfence(); }
#else
static inline void stream(float* to, vfloat value) { store(to, value); }
static inline void end_of_streams() {}
#endif

static inline vint spread_whole(int32_t value) { return value - (vint){}; }

static inline vfloat select(vint where, vfloat yes, vfloat no) { return where ? yes : no; }

static inline vint choose(vint where, vint yes, vint no) { return where ? yes : no; }

// The first `count` lanes alone; the others are read as 0, and not written.
static inline vfloat load_first(const float* from, int count) {
    if (count >= LANES) return load(from);
    vfloat value = {};
    for (int lane = 0; lane < count; ++lane) value[lane] = from[lane];
    return value;
}

static inline void store_first(float* to, vfloat value, int count) {
    if (count >= LANES) return store(to, value);
    for (int lane = 0; lane < count; ++lane) to[lane] = value[lane];
}

// bfloat16: the upper half of a float.
typedef uint16_t vhalf __attribute__((vector_size(2 * LANES)));
typedef uint32_t vbits __attribute__((vector_size(4 * LANES)));

// Compilers take several instructions for what these widths have one for.
#if defined(__AVX512F__) && LANES == 16
static inline vbits widen_whole(vhalf value) { return (vbits)_mm512_cvtepu16_epi32((__m256i)value); }
static inline vhalf lower_halves(vbits value) { return (vhalf)_mm512_cvtepi32_epi16((__m512i)value); }
#elif defined(__AVX2__) && LANES == 8
static inline vbits widen_whole(vhalf value) { return (vbits)_mm256_cvtepu16_epi32((__m128i)value); }
// Of numbers below 2^16.
static inline vhalf lower_halves(vbits value) {
    return (vhalf)_mm_packus_epi32(_mm256_castsi256_si128((__m256i)value), _mm256_extracti128_si256((__m256i)value, 1));
}
#else
static inline vbits widen_whole(vhalf value) { return __builtin_convertvector(value, vbits); }
static inline vhalf lower_halves(vbits value) { return __builtin_convertvector(value, vhalf); }
#endif

static inline vfloat widen_half(vhalf value) {
    const vbits bits = widen_whole(value) << 16;
    vfloat result;
    std::memcpy(&result, &bits, sizeof bits);
    return result;
}

// Rounded to nearest, ties to even; what is no number stays none.
static inline vhalf narrow_half(vfloat value) {
    vbits bits;
    std::memcpy(&bits, &value, sizeof bits);
    const vbits rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return lower_halves((value != value ? bits | 0x400000 : rounded) >> 16);
}

static inline vfloat load(const uint16_t* from) {
    vhalf value;
    std::memcpy(&value, from, sizeof value);
    return widen_half(value);
}

static inline void store(uint16_t* to, vfloat value) {
    const vhalf half = narrow_half(value);
    std::memcpy(to, &half, sizeof half);
}

static inline vfloat load_first(const uint16_t* from, int count) {
    if (count >= LANES) return load(from);
    vhalf value = {};
    for (int lane = 0; lane < count; ++lane) value[lane] = from[lane];
    return widen_half(value);
}

static inline void store_first(uint16_t* to, vfloat value, int count) {
    if (count >= LANES) return store(to, value);
    const vhalf half = narrow_half(value);
    for (int lane = 0; lane < count; ++lane) to[lane] = half[lane];
}

static inline float one_of(float value) { return value; }

static inline float one_of(uint16_t value) {
    const uint32_t bits = static_cast<uint32_t>(value) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof bits);
    return result;
}

// The value where the mask, which must be the result of comparisons, holds, and 0 elsewhere.
static inline vfloat only(vint where, vfloat value) {
    vint bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= where;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Both return b when a is NaN. Compilers do not see one instruction in the ternary, since it must keep NaN's place.
#if defined(__AVX512F__) && LANES == 16
static inline vfloat larger(vfloat a, vfloat b) { return (vfloat)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vfloat smaller(vfloat a, vfloat b) { return (vfloat)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__) && LANES == 8
static inline vfloat larger(vfloat a, vfloat b) { return (vfloat)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vfloat smaller(vfloat a, vfloat b) { return (vfloat)_mm256_min_ps((__m256)a, (__m256)b); }
#elif defined(__SSE2__) && LANES == 4
static inline vfloat larger(vfloat a, vfloat b) { return (vfloat)_mm_max_ps((__m128)a, (__m128)b); }
static inline vfloat smaller(vfloat a, vfloat b) { return (vfloat)_mm_min_ps((__m128)a, (__m128)b); }
#else
static inline vfloat larger(vfloat a, vfloat b) { return a > b ? a : b; }
static inline vfloat smaller(vfloat a, vfloat b) { return a < b ? a : b; }
#endif

// t·(1 − α), rounded once or twice relative to the result: t − (t·α) would lose the digits of what is left behind opaque splats.
static inline vfloat pass_on(vfloat t, vfloat alpha) {
#if defined(__AVX512F__) && LANES == 16
    return (vfloat)_mm512_fnmadd_ps((__m512)t, (__m512)alpha, (__m512)t);
#elif defined(__AVX2__) && defined(__FMA__) && LANES == 8
    return (vfloat)_mm256_fnmadd_ps((__m256)t, (__m256)alpha, (__m256)t);
#else
    return t * (1.0f - alpha);
#endif
}

#if defined(__AVX512F__) && LANES == 16
static inline vfloat root(vfloat value) { return (vfloat)_mm512_sqrt_ps((__m512)value); }
#elif defined(__AVX2__) && LANES == 8
static inline vfloat root(vfloat value) { return (vfloat)_mm256_sqrt_ps((__m256)value); }
#elif defined(__SSE2__) && LANES == 4
static inline vfloat root(vfloat value) { return (vfloat)_mm_sqrt_ps((__m128)value); }
#else
static inline vfloat root(vfloat value) {
    for (int lane = 0; lane < LANES; ++lane) value[lane] = std::sqrt(value[lane]);
    return value;
}
#endif

static inline vdouble widen(vfloat value) { return __builtin_convertvector(value, vdouble); }

static inline vfloat narrow(vdouble value) { return __builtin_convertvector(value, vfloat); }

// The result of comparing doubles, as one of comparing floats.
static inline vint narrow_mask(decltype(vdouble{} > vdouble{}) mask) { return __builtin_convertvector(mask, vint); }

// Whole parts of numbers within the range of int32.
static inline vint whole(vfloat value) { return __builtin_convertvector(value, vint); }

// One bit for each lane, the first lane lowest, of a mask that is the result of comparisons.
static inline unsigned lane_bits(vint mask) {
#if defined(__AVX512DQ__) && LANES == 16
    return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__) && LANES == 8
    return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask));
#elif defined(__SSE2__) && LANES == 4
    return static_cast<unsigned>(_mm_movemask_ps((__m128)mask));
#else
    unsigned bits = 0;
    for (int lane = 0; lane < LANES; ++lane) bits |= static_cast<unsigned>(mask[lane] & 1) << lane;
    return bits;
#endif
}

// Pairwise, so that the order of additions is the same for every instruction set of this width.
#if defined(__AVX2__) && LANES >= 8
static inline float sum_of_8(__m256 value) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline float most_of_8(__m256 value) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
#endif

#if defined(__AVX512DQ__) && LANES == 16
static inline __m256 lower_8(vfloat value) { return _mm512_castps512_ps256((__m512)value); }
static inline __m256 upper_8(vfloat value) { return _mm512_extractf32x8_ps((__m512)value, 1); }
static inline float sum(vfloat value) { return sum_of_8(_mm256_add_ps(lower_8(value), upper_8(value))); }
static inline float most_of(vfloat value) { return most_of_8(_mm256_max_ps(lower_8(value), upper_8(value))); }
#elif defined(__AVX2__) && LANES == 8
static inline float sum(vfloat value) { return sum_of_8((__m256)value); }
static inline float most_of(vfloat value) { return most_of_8((__m256)value); }
#else
static inline float sum(vfloat value) {
    float lanes[LANES];
    store(lanes, value);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    return lanes[0];
}

static inline float most_of(vfloat value) {
    float most = value[0];
    for (int lane = 1; lane < LANES; ++lane) most = most < value[lane] ? value[lane] : most;
    return most;
}
#endif

static inline vfloat magnitude(vfloat value) {
    vint bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 0x7fffffff;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Lane i of the result is lane `Lane::of(i)` of a and b behind one another. Compilers differ in the name for it.
template <typename Lane, int... I>
static inline vfloat shuffled(vfloat a, vfloat b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, Lane::of(I)...);
#else
    return __builtin_shuffle(a, b, vint{Lane::of(I)...});
#endif
}

template <typename Lane>
static inline vfloat shuffled(vfloat a, vfloat b) {
    return shuffled<Lane>(a, b, std::make_integer_sequence<int, LANES>{});
}

// One level of summing LANES vectors at once: in groups of 2·S lanes, the first S come from pairs of a, the others of b.
template <int S, int SHIFT>
struct Folded {
    static constexpr int of(int i) { return (i % (2 * S) < S ? i : LANES + i - S) + SHIFT; }
};

template <int S>
static inline vfloat fold(vfloat a, vfloat b) {
    return shuffled<Folded<S, 0>>(a, b) + shuffled<Folded<S, S>>(a, b);
}

template <int S>
static inline void fold_all(vfloat* values) {
    if constexpr (S < LANES) {
        for (int i = 0; i < LANES / S / 2; ++i) values[i] = fold<S>(values[2 * i], values[2 * i + 1]);
        fold_all<2 * S>(values);
    }
}

// The sums over the lanes of `values[0..LANES)`, one in each lane of the result; `values` is overwritten.
static inline vfloat sums_of(vfloat* values) {
    fold_all<1>(values);
    return values[0];
}

// One level of turning a square of LANES vectors: its blocks of S by S beside the diagonal change places, in groups of 2·S lanes.
template <int S, int SHIFT>
struct Turned {
    static constexpr int of(int i) { return (i & S ? LANES + i - S : i) + SHIFT; }
};

template <int S>
static inline void turn_level(const vfloat* from, vfloat* to) {
    if constexpr (S < LANES) {
        for (int i = 0; i < LANES; ++i)
            if (!(i & S)) {
                const vfloat a = from[i], b = from[i + S];
                to[i] = shuffled<Turned<S, 0>>(a, b);
                to[i + S] = shuffled<Turned<S, S>>(a, b);
            }
        turn_level<2 * S>(to, to);
    }
}

// Transposes a square of LANES vectors, which may stay in its place.
static inline void turn(const vfloat* from, vfloat* to) { turn_level<1>(from, to); }
static inline void turn(vfloat* rows) { turn_level<1>(rows, rows); }

// 2^x as 2^n·(1 + rest), for x in [-126, 126]: n is the nearest integer, and the rest, 2^(x − n) − 1, a minimax polynomial in
// x − n with a relative error of 2^(x − n) below 2e-9. x must be clamped by the caller.
struct Exponential {
    vfloat power, rest;
};

static inline Exponential exponential(vfloat x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
    const vfloat shifted = x + magic;
    const vfloat f = x - (shifted - magic);
    vfloat p = f * 1.5353361908e-04f + 1.3398874414e-03f;
    p = p * f + 9.6184373577e-03f;
    p = p * f + 5.5503324711e-02f;
    p = p * f + 2.4022647914e-01f;
    p = p * f + 6.9314720286e-01f;
    vint bits;
    std::memcpy(&bits, &shifted, sizeof shifted);
    bits = (bits << 23) + 0x3f800000;  // the magic number's own bits leave at the top; 1.0 is the exponent's zero
    Exponential result;
    std::memcpy(&result.power, &bits, sizeof bits);
    result.rest = p * f;
    return result;
}

static inline vfloat exp2_in_range(vfloat x) {
    const Exponential e = exponential(x);
    return e.rest * e.power + e.power;
}

// 2^x − 1, with all digits where x is small.
static inline vfloat exp2_less_1_in_range(vfloat x) {
    const Exponential e = exponential(x);
    return e.rest * e.power + (e.power - 1.0f);
}

// log₂ of positive normal numbers to about 1e-7: the exponent, and of the mantissa m in [√½, √2) the odd series of
// log₂ m = 2/ln 2 · artanh((m − 1)/(m + 1)).
static inline vfloat log2_of(vfloat x) {
    vint bits;
    std::memcpy(&bits, &x, sizeof x);
    const vint exponent = (bits - 0x3f3504f3) >> 23;
    bits -= exponent << 23;
    vfloat m;
    std::memcpy(&m, &bits, sizeof bits);
    const vfloat s = (m - 1.0f) / (m + 1.0f), z = s * s;
    vfloat series = z * 0.26230818f + 0.32059890f;
    series = series * z + 0.41219858f;
    series = series * z + 0.57707802f;
    series = series * z + 0.96179669f;
    return __builtin_convertvector(exponent, vfloat) + (s * z * series + s * 2.8853901f);
}
