// α of a splat down a column of pixels.
//
// The power is a quadratic in the row, so that α(y + 1) = α(y) · r(y) and r(y + 1) = r(y) · s with a constant s: two
// multiply-adds in place of an exponential, on r − 1 and s − 1, since next to 1 a float has few digits to tell wide splats apart.
// The recurrence of narrower splats starts anew after fewer rows, and the narrowest take the exponential directly.
#pragma once

#include <algorithm>

#include "cull.h"

namespace splat {
namespace {

constexpr float FLUSH = 100.0f;       // a start below 2^-100 is 0, and stays so
constexpr float STEEPEST = 60.0f;     // the exponent of a ratio is clamped to this

// A function: an initialiser would run at load, with instructions that the processor may not have.
inline vfloat lane_numbers() {
    vfloat numbers;
    for (int lane = 0; lane < LANES; ++lane) numbers[lane] = static_cast<float>(lane);
    return numbers;
}

// α before the clamp, down a column of pixels, for one splat: `raw` is the value of the row at hand, and `growth` the ratio of
// the next to it, less 1.
struct Column {
    vfloat raw, growth;
};

inline vfloat general_power(const Prepared& splats, int i, vfloat dx, float dy) {
    return splats.u[i] * dx * dx + splats.v[i] * dx * dy + splats.w[i] * (dy * dy);
}

// α by its logarithm to the base of 2.
inline vfloat alpha_of(vfloat exponent) {
    // The first argument may be NaN after an overflow; then the limit wins, and the splat is not seen.
    return exp2_in_range(smaller(larger(exponent, spread(-126.0f)), spread(126.0f)));
}

inline vfloat direct_alpha(const Prepared& splats, int i, vfloat dx, float dy) {
    vfloat power;
    if (splats.path[i] == GENERAL) {
        power = general_power(splats, i, dx, dy);
        power = select(power < 0.0f, spread(0.0f), power);
    } else {
        const vfloat t = splats.u[i] * dx + splats.v[i] * dy;
        power = t * t + splats.w[i] * (dy * dy);
    }
    return alpha_of(splats.level[i] - power);
}

inline Column column_at(const Prepared& splats, int i, vfloat dx, float dy) {
    const float u = splats.u[i], v = splats.v[i], w = splats.w[i];
    const vfloat t = u * dx + v * dy;
    const vfloat power = t * t + w * (dy * dy);
    const vfloat exponent = splats.level[i] - power;
    const vfloat change = -(2.0f * v * t) - (v * v + w * (2.0f * dy + 1.0f));
    const vfloat bounded = smaller(larger(exponent, spread(-126.0f)), spread(126.0f));
    return {only(exponent >= -FLUSH, exp2_in_range(bounded)),
            exp2_less_1_in_range(smaller(larger(change, spread(-STEEPEST)), spread(STEEPEST)))};
}

inline vfloat lane_distances(const Prepared& splats, int i, float left) { return lane_numbers() + (left - splats.x[i]); }

// Where the recurrences of a batch of visits begin. Computed ahead of the walks, several exponentials are under way at once, and
// none waits for the end of a walk.
inline void begin(const Prepared& splats, const Visit* visits, int length, float left, float top, Column* columns) {
    for (int n = 0; n < length; ++n) {
        const int i = visits[n].splat;
        columns[n] = column_at(splats, i, lane_distances(splats, i, left), top - splats.y[i] + visits[n].first);
    }
}

// Calls use(α before the clamp, row) down the rows of a visit; `top` is the tile's first pixel centre, `column` from `begin`.
template <typename Use>
inline void walk(const Prepared& splats, Visit visit, vfloat dx, float top, Column column, Use use) {
    const int i = visit.splat;
    const float y = top - splats.y[i];
    if (splats.path[i] != RECURRENCE) {
        for (int row = visit.first; row < visit.last; ++row) use(direct_alpha(splats, i, dx, y + row), row);
        return;
    }
    const int block = splats.block[i];
    const float step = splats.step[i], ratio = 1.0f + step;
    for (int row = visit.first;;) {
        const int end = std::min(row + block, visit.last);
        for (; row < end; ++row) {
            use(column.raw, row);
            column.raw += column.raw * column.growth;
            column.growth = column.growth * ratio + step;
        }
        if (row == visit.last) return;
        column = column_at(splats, i, dx, y + row);
    }
}

// α before the clamp, row by row of rows in which no recurrence has to start anew: the two paths of ellipses, for loops that hold
// everything in registers.
struct RecurrentAlpha {
    static constexpr int NUMBERS = 0;  // of a splat beside those of a Gaussian
    vfloat raw, growth, step, ratio;

    RecurrentAlpha(const Prepared& splats, int i, const Column& column, vfloat, float, int)
        : raw(column.raw), growth(column.growth), step(spread(splats.step[i])), ratio(spread(1.0f + splats.step[i])) {}
    vfloat here() const { return raw; }
    void go_down() {
        raw += raw * growth;
        growth = growth * ratio + step;
    }
};

struct DirectAlpha {
    static constexpr int NUMBERS = 0;
    vfloat across, dy, v, w, level;

    DirectAlpha(const Prepared& splats, int i, const Column&, vfloat dx, float first_dy, int)
        : across(splats.u[i] * dx), dy(spread(first_dy)), v(spread(splats.v[i])), w(spread(splats.w[i])),
          level(spread(splats.level[i])) {}
    vfloat here() const {
        const vfloat t = across + v * dy;
        return alpha_of(level - (t * t + w * (dy * dy)));
    }
    void go_down() { dy += 1.0f; }
};

}  // namespace
}  // namespace splat
