// Which splats are seen in a band of rows, and which in a tile, one vector of LANES pixels wide and TILE rows high.
#pragma once

#include "../kernel.h"
#include "../../common/simd.h"

namespace splat {
namespace {

// The splats of `from` whose extent meets the rows of a band and the image.
void cull_band(const Prepared& from, Rows rows, int width, Prepared& to) {
    to.allocate(from.count);
    int n = 0;
    const float top = rows.first + 0.5f, bottom = rows.last - 0.5f, right = width - 0.5f;
    const auto source = from.arrays(), target = to.arrays();
    for (int i = 0; i < from.count; ++i) {
        const bool outside = from.y[i] + from.extent_y[i] < top || from.y[i] - from.extent_y[i] > bottom ||
                             from.x[i] + from.extent_x[i] < 0.5f || from.x[i] - from.extent_x[i] > right;
        if (outside) continue;
        for (size_t j = 0; j < source.size(); ++j) target[j][n] = source[j][i];
        to.index[n] = from.index[i];
        to.path[n] = from.path[i];
        to.block[n++] = from.block[i];
    }
    to.count = n;
    for (; n < to.count + LANES; ++n)
        for (float* array : target) array[n] = 0.0f;
}

// The splats for a band of rows; a band that is the whole image is not worth a copy.
const Prepared& band_of(const Prepared& all, Rows rows, const Scene& scene, Prepared& culled) {
    if (rows.first == 0 && rows.last == scene.height) return all;
    cull_band(all, rows, scene.width, culled);
    return culled;
}

// A splat that can be seen in a tile, and the rows in which it can, counted from the tile's first.
struct Visit {
    int32_t splat, first, last;
};

// Rows [first, last) of pixels in which LANES splats are seen within columns, and whether they are seen at all.
struct RowSpans {
    vint first, last, somewhere;
};

// Of the splats from `i` on, in the columns at the distances [from, to] from their centres; `top` is the centre of row 0, and
// `bottom` the number of rows. Within the columns an ellipse is highest and lowest where it is so on the whole, or at the column
// that is nearest to there.
inline RowSpans rows_seen(const Prepared& splats, int i, vfloat from, vfloat to, float top, vfloat bottom) {
    const vfloat zero = spread(0.0f), peak = load(splats.peak + i);
    const vfloat reach = load(splats.reach + i), narrowing = load(splats.narrowing + i), flatness = load(splats.flatness + i);
    const vfloat slope = load(splats.slope_x + i), middle = load(splats.y + i) - top;
    const vfloat high = smaller(larger(-peak, from), to), low = smaller(larger(peak, from), to);
    const vfloat room_high = reach - narrowing * high * high, room_low = reach - narrowing * low * low;
    // A hundredth of a pixel and more for the rounding of these few operations.
    const vfloat slack = 0.01f + 1e-5f * load(splats.extent_y + i);
    const vfloat above = middle + slope * high - root(larger(room_high, zero) * flatness) - slack;
    const vfloat below = middle + slope * low + root(larger(room_low, zero) * flatness) + slack;
    // Truncation after clamping at 0; just under 1 more makes it round up.
    const vfloat first = smaller(larger(above + 0.999f, zero), bottom), last = smaller(larger(below + 1.0f, zero), bottom);
    const vint first_row = whole(first), last_row = whole(last);
    return {first_row, last_row, ((room_high > 0.0f) | (room_low > 0.0f)) & (first_row < last_row)};
}

// Which splats are seen in a tile, near to far, and in which rows.
int cull_tile(const Prepared& band, float left, float top, int height, Visit* visits) {
    int length = 0;
    const vfloat bottom = spread(static_cast<float>(height));
    for (int i = 0; i < band.count; i += LANES) {
        const vfloat from = left - load(band.x + i);
        const RowSpans rows = rows_seen(band, i, from, from + (LANES - 1), top, bottom);
        unsigned seen = lane_bits(rows.somewhere);
        if (band.count - i < LANES) seen &= (1u << (band.count - i)) - 1;
        for (; seen; seen &= seen - 1) {
            const int lane = __builtin_ctz(seen);
            visits[length++] = {i + lane, rows.first[lane], rows.last[lane]};
        }
    }
    return length;
}

}  // namespace
}  // namespace splat
