// Formulas of α, as the loops over strips take them: the Gaussian with its recurrence, and those without one.
#pragma once

#include "nearby.h"

namespace splat {
namespace {

// RECURS: whether strips have a recurrence, and so two ways to evaluate α. NUMBERS: of a splat beside those of a Gaussian.
struct Gaussian {
    static constexpr bool RECURS = true;
    static constexpr int NUMBERS = 0;
};

constexpr float LOG2_HALF = -0.47123380f;         // log₂ HALF
constexpr float LARGEST_BEND = 57.707802f;        // as LARGEST of ges.py, to the base of 2
constexpr float LN2_SQUARED_HALF = 0.24022651f;   // ½ (ln 2)²

// log₂ of positive normal numbers to 3e-7, without a division: a minimax polynomial of the mantissa in [√½, √2), less 1.
inline vfloat quick_log2(vfloat x) {
    vint bits;
    std::memcpy(&bits, &x, sizeof x);
    const vint exponent = (bits - 0x3f3504f3) >> 23;
    bits -= exponent << 23;
    vfloat m;
    std::memcpy(&m, &bits, sizeof bits);
    m -= 1.0f;
    const vfloat m2 = m * m;
    const vfloat low = (m * 0.480464986f - 0.721375871f) * m + 1.44269973f;
    const vfloat high = (m * 0.170631076f - 0.272697381f) * m2 + (m * 0.297263331f - 0.358961915f);
    return __builtin_convertvector(exponent, vfloat) + m * (m2 * m * high + low);
}

// α of a generalised exponential down a column of pixels: the Gaussian's power p is multiplied by q^bend, for q = p / HALF. All rows of
// a strip are evaluated first, so that many are under way at once and blending has the registers for itself.
template <bool GRADIENTS>
struct Exponential {
    static constexpr bool RECURS = false;
    static constexpr int NUMBERS = 1;
    vfloat raws[BLOCK_HEIGHT], factors[GRADIENTS ? BLOCK_HEIGHT : 1], logs[GRADIENTS ? BLOCK_HEIGHT : 1];
    float bend;
    int row = 0;

    Exponential(const Prepared& splats, int i, const Column&, vfloat dx, float first_dy, int rows) : bend(splats.step[i]) {
        const vfloat across = splats.u[i] * dx, v = spread(splats.v[i]), w = spread(splats.w[i]), level = spread(splats.level[i]);
        vfloat dy = spread(first_dy);
        for (int k = 0; k < rows; ++k) {
            const vfloat t = across + v * dy, power = t * t + w * (dy * dy);
            const vfloat log_form = quick_log2(larger(power, spread(1e-37f))) - LOG2_HALF;
            const vfloat factor = exp2_in_range(smaller(larger(bend * log_form, spread(-126.0f)), spread(LARGEST_BEND)));
            const vfloat bent = power * factor;
            // The first argument may be NaN after an overflow; then the splat is not seen.
            raws[k] = exp2_in_range(larger(level - bent, spread(-126.0f)));
            if constexpr (GRADIENTS) factors[k] = factor, logs[k] = bent * log_form;
            dy += 1.0f;
        }
    }
    vfloat here() const { return raws[row]; }
    void go_down() { ++row; }
    // The logarithm of α falls by factor() · slope() for 1 of the Gaussian's power, and rises by number() · per_number() for 1 of the
    // exponent.
    vfloat factor() const { return factors[row]; }
    vfloat number() const { return logs[row]; }
    float slope() const { return bend + 1.0f; }
    float per_number() const { return -LN2_SQUARED_HALF; }
};

}  // namespace
}  // namespace splat
