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

constexpr int BLOCK = 64;  // rows of which it is asked whether any is seen, a multiple of every vector

// Rows narrower than a vector, a block of them: those that are not seen are computed too, and not kept.
static void adam_mixed(const Step& step, const Moments& at, const uint8_t* seen, ptrdiff_t begin, int rows) {
    int32_t keep[BLOCK * LANES];
    // Each row writes a whole vector, of which the next one takes what is not its own.
    const int width = static_cast<int>(step.width);
    for (int r = 0; r < rows; ++r) {
        const vint all = spread_whole(-static_cast<int32_t>(seen[r]));
        std::memcpy(keep + r * width, &all, sizeof all);
    }
    for (int i = 0; i < rows * width; i += LANES) {
        const int count = rows * width - i < LANES ? rows * width - i : LANES;
        vint kept;
        std::memcpy(&kept, keep + i, sizeof kept);
        const ptrdiff_t place = begin + i;
        const vfloat parameter = load_first(at.parameters + place, count);
        const vfloat first = load_first(at.first + place, count), second = load_first(at.second + place, count);
        const Moved now =
            moved(step, parameter, load_first(at.gradients + place, count), first, second, load(step.rates + i % width));
        store_first(at.parameters + place, select(kept, now.parameter, parameter), count);
        store_first(at.first + place, select(kept, now.first, first), count);
        store_first(at.second + place, select(kept, now.second, second), count);
    }
}

static void adam_narrow(const Step& step, const Moments& at, const uint8_t* seen, ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t row = first; row < last; row += BLOCK) {
        const int rows = static_cast<int>(last - row < BLOCK ? last - row : BLOCK);
        int some = 0;
        for (int r = 0; r < rows; ++r) some += seen[row + r];
        if (some == rows) adam_dense(step, at, row * step.width, (row + rows) * step.width);
        else if (some) adam_mixed(step, at, seen + row, row * step.width, rows);
    }
}

constexpr int AHEAD = 2;  // rows by which memory is asked for before it is needed, as no processor foresees which are seen

static inline ptrdiff_t next_seen(const uint8_t* seen, ptrdiff_t row, ptrdiff_t last) {
    while (row < last && !seen[row]) ++row;
    return row;
}

static inline void fetch(const float* row, ptrdiff_t width) {
    for (ptrdiff_t i = 0; i < width; i += 16) __builtin_prefetch(row + i);
}

static void adam_wide(const Step& step, const Moments& at, const uint8_t* seen, ptrdiff_t first, ptrdiff_t last) {
    ptrdiff_t row = next_seen(seen, first, last), ahead = row;
    for (int count = 0; row < last; row = next_seen(seen, row + 1, last)) {
        for (; count < AHEAD && ahead < last; ++count, ahead = next_seen(seen, ahead + 1, last)) {
            const ptrdiff_t place = ahead * step.width;
            fetch(at.parameters + place, step.width);
            fetch(at.gradients + place, step.width);
            fetch(at.first + place, step.width);
            fetch(at.second + place, step.width);
        }
        --count;
        adam_dense(step, at, row * step.width, (row + 1) * step.width);
    }
}

static void adam(const Step& step, const Moments& at, const uint8_t* seen, ptrdiff_t first, ptrdiff_t last) {
    if (!seen) adam_dense(step, at, first * step.width, last * step.width);
    else if (step.width < LANES) adam_narrow(step, at, seen, first, last);
    else adam_wide(step, at, seen, first, last);
}

}  // namespace fitting
