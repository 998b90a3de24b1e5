// Adam (arXiv 1412.6980, algorithm 1), one pass over parameters, gradients and both moments.
#pragma once

#include "../common/simd.h"
#include "fitting.h"

namespace fitting {

struct Moved {
    vfloat parameter, first, second;
};

static inline Moved moved(const Step& step, vfloat parameter, vfloat gradient, vfloat first, vfloat second, vfloat rate) {
    first = first * step.decay_first + gradient * step.gain_first;
    second = second * step.decay_second + gradient * gradient * step.gain_second;
    return {parameter - rate * first / (root(second) * step.root_scale + step.epsilon), first, second};
}

// The numbers [begin, end) of all rows behind one another.
static inline void adam_dense(const Step& step, const Moments& at, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t advance = LANES % step.width;
    ptrdiff_t column = begin % step.width;
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        const int count = static_cast<int>(end - i < LANES ? end - i : LANES);
        const Moved now = moved(step, load_first(at.parameters + i, count), load_first(at.gradients + i, count),
                                load_first(at.first + i, count), load_first(at.second + i, count), load(step.rates + column));
        store_first(at.parameters + i, now.parameter, count);
        store_first(at.first + i, now.first, count);
        store_first(at.second + i, now.second, count);
        column += advance;
        if (column >= step.width) column -= step.width;
    }
}

// Rows narrower than a vector: those of a vector that are not seen are computed too, and not kept.
static void adam_narrow(const Step& step, const Moments& at, const uint8_t* seen, ptrdiff_t begin, ptrdiff_t end) {
    // The row of a number, counted from that of the vector's first one; by the column of the first one.
    int rows_on[2 * LANES];
    for (int i = 0; i < 2 * LANES; ++i) rows_on[i] = i / static_cast<int>(step.width);
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        const int count = static_cast<int>(end - i < LANES ? end - i : LANES);
        const uint8_t* row = seen + i / step.width;
        const ptrdiff_t column = i % step.width;
        vint mask = {};
        for (int lane = 0; lane < count; ++lane) mask[lane] = -static_cast<int>(row[rows_on[column + lane]]);
        if (!lane_bits(mask)) continue;
        const vfloat parameter = load_first(at.parameters + i, count);
        const vfloat first = load_first(at.first + i, count), second = load_first(at.second + i, count);
        const Moved now =
            moved(step, parameter, load_first(at.gradients + i, count), first, second, load(step.rates + column));
        store_first(at.parameters + i, select(mask, now.parameter, parameter), count);
        store_first(at.first + i, select(mask, now.first, first), count);
        store_first(at.second + i, select(mask, now.second, second), count);
    }
}

static void adam(const Step& step, const Moments& at, const uint8_t* seen, ptrdiff_t first, ptrdiff_t last) {
    if (!seen) return adam_dense(step, at, first * step.width, last * step.width);
    if (step.width < LANES) return adam_narrow(step, at, seen, first * step.width, last * step.width);
    for (ptrdiff_t row = first; row < last;) {
        if (!seen[row]) {
            ++row;
            continue;
        }
        const ptrdiff_t begin = row;
        while (row < last && seen[row]) ++row;
        adam_dense(step, at, begin * step.width, row * step.width);
    }
}

}  // namespace fitting
