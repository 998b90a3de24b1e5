// The filter "analytic": a Gaussian integrated over the window of a pixel, which is turned to the Gaussian's axes on the image.
// splatlearn/rendering/backends/torch/primitives/analytic.py is the specification.
#pragma once

#include <cstring>

#include "../gaussian.h"
#include "nearby.h"

namespace splat {
namespace {

// The formula's constants; splatlearn/rendering/formula.py has the same, and a test compares them.
constexpr float LOGISTIC_LINEAR = 1.6f, LOGISTIC_CUBIC = 0.07f;
constexpr float VARIANCE_MIN = 1e-4f;
constexpr float ROUND = 0.01f;

constexpr float WINDOW_SLACK = 0.0433f;   // log₂ by which α may exceed that of the Gaussian at the nearest point of the window
constexpr float WINDOW_RADIUS = 0.7072f;  // pixels from the middle of a window to its corners

constexpr float FARTHEST = 1e3f;          // deviations beyond which places count as this far: the share is 0 there

// Limits of log₂ of the odds of S at a window's nearer edge, and of their ratio at both edges, beyond which S counts as 0 or 1. The
// farther edge is at least as far from the centre as the nearer one, so where a limit cuts off, the odds at the farther edge, the
// product, are at most 2^LOWEST. All products of odds are normal numbers.
constexpr float HIGHEST = 60.0f, LOWEST = -30.0f, STEEPEST_EDGE = LOWEST - HIGHEST;

// The value, negated where the sign of `of` is negative.
inline vfloat with_sign_of(vfloat of, vfloat value) {
    vint bits, signs;
    std::memcpy(&bits, &value, sizeof bits);
    std::memcpy(&signs, &of, sizeof signs);
    bits ^= signs & INT32_MIN;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// The axes of a splat on the image: the larger variance first.
struct Axes {
    vfloat cos, sin, first, second;  // the angle of the first, and variances
    vfloat difference, twice, gap;   // a − c, 2b, and the square of twice the variances' half difference
    vint is_round;

    explicit Axes(const Conic<vfloat>& conic) {
        const vfloat one = spread(1.0f), zero = spread(0.0f), sum = conic.xx + conic.yy;
        difference = conic.xx - conic.yy, twice = 2.0f * conic.xy;
        gap = difference * difference + twice * twice;
        is_round = gap <= ROUND * ROUND * (sum * sum);
        const vfloat length = root(select(is_round, one, gap)), cosine = difference / length;  // of twice the angle
        const vint is_flat = difference >= 0.0f;
        // The larger of cosine and sine by its root, so that no digits are lost in the other.
        const vfloat large = root(0.5f * (one + magnitude(cosine))), small = 0.5f * twice / (length * large);
        cos = select(is_flat, large, magnitude(small));
        sin = select(is_flat, small, select(twice < 0.0f, -large, large));
        cos = select(is_round, one, cos), sin = select(is_round, zero, sin);
        first = select(is_round, conic.xx, 0.5f * (sum + length));
        second = select(is_round, conic.yy, dot(conic.normal, conic.normal) / select(is_round, one, first));
        first = select(first < VARIANCE_MIN, spread(VARIANCE_MIN), first);
        second = select(second < VARIANCE_MIN, spread(VARIANCE_MIN), second);
    }
};

// Covariance of the ellipse around all places at which a splat is seen: the sum of its own and of a window's disc is contained in it.
struct Reached {
    vfloat xx, yy, xy, determinant;

    Reached(const Axes& axes, vfloat squared_reach) {
        const vfloat narrow = root(squared_reach * axes.second);
        const vfloat share = smaller(WINDOW_RADIUS / narrow, spread(1.0f));
        const vfloat widened = (1.0f + share) * squared_reach, disc = (1.0f + 1.0f / share) * (WINDOW_RADIUS * WINDOW_RADIUS);
        const vfloat a = widened * axes.first + disc, b = widened * axes.second + disc;
        xx = axes.cos * axes.cos * a + axes.sin * axes.sin * b, yy = axes.sin * axes.sin * a + axes.cos * axes.cos * b;
        xy = axes.cos * axes.sin * (a - b), determinant = a * b;
    }
};

// One axis of a window: S at both edges, as odds.
struct Edges {
    vfloat low, high;                     // places of the edges, in standard deviations, of the place's magnitude
    vfloat below, ratio, between;         // odds e^(−P) at the nearer edge, their ratio at both, and 1 less that
    vfloat one_and_below, one_and_above;  // 1 more than the odds

    Edges(vfloat place, float half) {
        constexpr float LINEAR = -static_cast<float>(LOG2_E) * LOGISTIC_LINEAR, CUBIC = -static_cast<float>(LOG2_E) * LOGISTIC_CUBIC;
        const vfloat at = smaller(magnitude(place), spread(FARTHEST));
        low = at - half, high = at + half;
        const vfloat power = low * (CUBIC * (low * low) + LINEAR);
        below = exp2_in_range(smaller(larger(power, spread(LOWEST)), spread(HIGHEST)));
        const vfloat change = (6.0f * CUBIC * half) * (at * at) + 2.0f * half * (LINEAR + CUBIC * half * half);
        const ::Exponential step = exponential(larger(change, spread(STEEPEST_EDGE)));
        const vfloat more = step.rest * step.power;
        ratio = more + step.power, between = -more - (step.power - 1.0f);
        one_and_below = 1.0f + below, one_and_above = below * ratio + 1.0f;
    }
    vfloat numerator() const { return below * between; }
    vfloat denominator() const { return one_and_below * one_and_above; }

    // The derivatives of the logarithm of the window's share: to its place in standard deviations, and to the logarithm of the deviation
    // with that of the deviation itself. `inverse` is 1 / (denominator() · between).
    void derivatives(vfloat place, vfloat inverse, vfloat& by_place, vfloat& by_deviation) const {
        const vfloat at_high = slope(high) * ratio * ((inverse * one_and_below) * one_and_below);
        const vfloat at_low = slope(low) * ((inverse * one_and_above) * one_and_above);
        by_place = with_sign_of(place, at_high - at_low);
        by_deviation = 1.0f - (high * at_high - low * at_low);
    }

  private:
    static vfloat slope(vfloat x) { return 3.0f * LOGISTIC_CUBIC * (x * x) + LOGISTIC_LINEAR; }
};

// α down a column of pixels, all rows of a strip before they are blended. Records have the numbers of COSINE to AMPLITUDE.
// GRADIENTS: the logarithm of α rises by by_u for 1 pixel along the first axis, and by by_first for 1 of its deviation's logarithm.
template <bool GRADIENTS>
struct Analytic {
    static constexpr bool RECURS = false;
    static constexpr int NUMBERS = 0, KEPT = GRADIENTS ? BLOCK_HEIGHT : 1;
    vfloat raws[BLOCK_HEIGHT], by_u[KEPT], by_v[KEPT], by_first[KEPT], by_second[KEPT], by_angle[KEPT];
    int row = 0;

    Analytic(const Prepared& splats, int i, const Column&, vfloat dx, float first_dy, int rows) {
        const auto number = [&](int field) { return splats.arrays()[field][i]; };
        const float cos = number(COSINE), sin = number(SINE), first = number(INVERSE_FIRST), second = number(INVERSE_SECOND);
        const float amplitude = number(AMPLITUDE);
        const vfloat across = cos * dx, down = -sin * dx;
        for (int k = 0; k < rows; ++k) {
            const float dy = first_dy + k;
            const vfloat u = across + sin * dy, v = down + cos * dy;
            const Edges one(first * u, 0.5f * first), two(second * v, 0.5f * second);
            const vfloat numerator = (amplitude * one.numerator()) * two.numerator();
            const vfloat one_denominator = one.denominator(), two_denominator = two.denominator();
            if constexpr (!GRADIENTS) {
                raws[k] = numerator / (one_denominator * two_denominator);
            } else {
                // One division for all.
                const vfloat both = one.between * two.between, inverse = 1.0f / (both * (one_denominator * two_denominator));
                raws[k] = numerator * (inverse * both);
                vfloat by_one, by_two;
                one.derivatives(u, inverse * (two_denominator * two.between), by_one, by_first[k]);
                two.derivatives(v, inverse * (one_denominator * one.between), by_two, by_second[k]);
                by_u[k] = first * by_one, by_v[k] = second * by_two, by_angle[k] = by_u[k] * v - by_v[k] * u;
            }
        }
    }
    vfloat here() const { return raws[row]; }
    void go_down() { ++row; }
};

}  // namespace
}  // namespace splat
