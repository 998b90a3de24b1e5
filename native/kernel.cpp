// Tiles are one vector of LANES pixels wide and TILE rows high. This file is compiled once for each instruction set.
//
// A tile walks its splats near to far. Down a column of pixels the power is a quadratic in the row, so that
// α(y + 1) = α(y) · r(y) and r(y + 1) = r(y) · s with a constant s: two multiply-adds in place of an exponential, on r − 1 and
// s − 1, since next to 1 a float has few digits to tell wide splats apart. The
// recurrence starts anew after a few rows, which bounds its rounding, and narrow splats take the exponential directly.
#include "kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "simd.h"

namespace splat {
namespace {

constexpr float MIDDLE = 0.5f * (TILE - 1);

// Rows counted from the tile's middle.
struct RowNumbers {
    float number[TILE] = {};
    constexpr RowNumbers() {
        for (int i = 0; i < TILE; ++i) number[i] = i - MIDDLE;
    }
};
constexpr RowNumbers ROWS;

// A function: an initialiser would run at load, with instructions that the processor may not have.
inline vfloat lane_numbers() {
    vfloat numbers;
    for (int lane = 0; lane < LANES; ++lane) numbers[lane] = static_cast<float>(lane);
    return numbers;
}

constexpr int LOOK_EVERY = 8;         // splats between looks whether a tile is opaque

// The recurrence runs over so many rows before it starts anew, by the curvature down the rows in log2 units per row². Within a
// block, a lane that matters in any row then starts above 2^-60, far from underflow, and rounding stays near 1e-6.
constexpr int LONG_BLOCK = TILE, MIDDLE_BLOCK = 16, SHORT_BLOCK = 8;
constexpr float LONG_CURVATURE = 0.02f, MIDDLE_CURVATURE = 0.1f, SHORT_CURVATURE = 0.3f;
constexpr float FLUSH = 100.0f;       // a start below 2^-100 is 0, and stays so
constexpr float STEEPEST = 60.0f;     // the exponent of a ratio is clamped to this
constexpr float CULL_SLACK = 0.02f;   // the rounding of a power, in log2 units, at which culling stays on the safe side
constexpr double LOG2_E = 1.4426950408889634;

// ---------------------------------------------------------------------------------------------------- preparation

bool all_finite(const float* values, size_t length) {
    // x·0 is 0 for finite x and NaN otherwise, and sums of it keep the NaN.
    float total = 0.0f;
    for (size_t i = 0; i < length; ++i) total += values[i] * 0.0f;
    return total == 0.0f;
}

void prepare_splat(const Scene& scene, int k, Prepared& out) {
    const float opacity = scene.opacities[k];
    if (!(opacity >= ALPHA_MIN)) return;
    const double a = scene.conics[3 * k], b = scene.conics[3 * k + 1], c = scene.conics[3 * k + 2];
    const double determinant = a * c - b * b;
    const int i = out.count++;
    out.index[i] = k;
    out.x[i] = scene.centers[2 * k];
    out.y[i] = scene.centers[2 * k + 1];
    out.level[i] = std::log2(opacity);
    if (a > 0 && c > 0 && determinant > 0) {
        const double u = std::sqrt(0.5 * LOG2_E * a), v = 0.5 * LOG2_E * b / u;
        const double w = 0.5 * LOG2_E * determinant / a;
        const double curvature = v * v + w;
        const double reach = out.level[i] - std::log2(ALPHA_MIN) + CULL_SLACK;
        out.u[i] = static_cast<float>(u);
        out.v[i] = static_cast<float>(v);
        out.w[i] = static_cast<float>(w);
        out.reach[i] = static_cast<float>(reach);
        out.extent_x[i] = static_cast<float>(std::sqrt(2 * reach / LOG2_E * c / determinant));
        out.extent_y[i] = static_cast<float>(std::sqrt(2 * reach / LOG2_E * a / determinant));
        out.slope_x[i] = static_cast<float>(-b / c);
        out.peak[i] = static_cast<float>(-b / a * out.extent_y[i]);
        out.step[i] = static_cast<float>(std::expm1(-2 * curvature / LOG2_E));
        out.narrowing[i] = static_cast<float>(0.5 * LOG2_E * determinant / c);
        out.flatness[i] = static_cast<float>(1 / curvature);
        const bool usable = std::isfinite(out.u[i]) && std::isfinite(out.v[i]) && std::isfinite(out.w[i]) &&
                            std::isfinite(out.slope_x[i]) && std::isfinite(out.peak[i]) &&
                            std::isfinite(out.flatness[i]);
        if (usable) {
            out.path[i] = curvature <= SHORT_CURVATURE ? RECURRENCE : DIRECT;
            out.block[i] = curvature <= LONG_CURVATURE     ? LONG_BLOCK
                           : curvature <= MIDDLE_CURVATURE ? MIDDLE_BLOCK
                                                           : SHORT_BLOCK;
            return;
        }
    }
    // Not an ellipse, or one beyond float32: kept everywhere, evaluated as it stands.
    out.path[i] = GENERAL;
    out.u[i] = static_cast<float>(0.5 * LOG2_E * a);
    out.v[i] = static_cast<float>(LOG2_E * b);
    out.w[i] = static_cast<float>(0.5 * LOG2_E * c);
    out.reach[i] = out.extent_x[i] = out.extent_y[i] = std::numeric_limits<float>::max();
    out.slope_x[i] = out.peak[i] = out.narrowing[i] = 0.0f;
    out.flatness[i] = 1.0f;
}

void prepare(const Scene& scene, Prepared& out) {
    out.allocate(scene.count);
    out.count = 0;
    const size_t count = scene.count;
    out.finite = all_finite(scene.centers, 2 * count) && all_finite(scene.conics, 3 * count) &&
                 all_finite(scene.opacities, count) && all_finite(scene.colors, count * scene.channels) &&
                 all_finite(scene.background, scene.channels);
    if (!out.finite) return;
    for (int k = 0; k < scene.count; ++k) prepare_splat(scene, k, out);
}

// ---------------------------------------------------------------------------------------------------- culling

// The splats of `from` whose extent meets the rows of a band and the image.
void cull_band(const Prepared& from, Rows rows, int width, Prepared& to) {
    to.allocate(from.count);
    to.count = 0;
    const float top = rows.first + 0.5f, bottom = rows.last - 0.5f, right = width - 0.5f;
    for (int i = 0; i < from.count; ++i) {
        const bool outside = from.y[i] + from.extent_y[i] < top || from.y[i] - from.extent_y[i] > bottom ||
                             from.x[i] + from.extent_x[i] < 0.5f || from.x[i] - from.extent_x[i] > right;
        if (outside) continue;
        const int n = to.count++;
        const float* source[] = {from.x, from.y, from.u, from.v, from.w, from.level, from.reach,
                                 from.extent_x, from.extent_y, from.slope_x, from.peak, from.step, from.narrowing, from.flatness};
        float* target[] = {to.x, to.y, to.u, to.v, to.w, to.level, to.reach,
                           to.extent_x, to.extent_y, to.slope_x, to.peak, to.step, to.narrowing, to.flatness};
        for (int j = 0; j < Prepared::ARRAYS; ++j) target[j][n] = source[j][i];
        to.index[n] = from.index[i];
        to.path[n] = from.path[i];
        to.block[n] = from.block[i];
    }
}

// A splat that can be seen in a tile, and the rows in which it can, counted from the tile's first.
struct Visit {
    int32_t splat, first, last;
};

// Which splats are seen in a tile, near to far, and in which rows: within the tile's columns the ellipse is highest and lowest
// where it is so on the whole, or at the column that is nearest to there.
int cull_tile(const Prepared& band, float left, float top, int height, Visit* visits) {
    int length = 0;
    const vfloat zero = spread(0.0f), bottom = spread(static_cast<float>(height));
    for (int i = 0; i < band.count; i += LANES) {
        const vfloat from = left - load(band.x + i), to = from + (LANES - 1), peak = load(band.peak + i);
        const vfloat reach = load(band.reach + i), narrowing = load(band.narrowing + i), flatness = load(band.flatness + i);
        const vfloat slope = load(band.slope_x + i), middle = load(band.y + i) - top;
        const vfloat high = smaller(larger(-peak, from), to), low = smaller(larger(peak, from), to);
        const vfloat room_high = reach - narrowing * high * high, room_low = reach - narrowing * low * low;
        // A hundredth of a pixel and more for the rounding of these few operations.
        const vfloat slack = 0.01f + 1e-5f * load(band.extent_y + i);
        const vfloat above = middle + slope * high - root(larger(room_high, zero) * flatness) - slack;
        const vfloat below = middle + slope * low + root(larger(room_low, zero) * flatness) + slack;
        int32_t first[LANES], last[LANES], seen[LANES];
        // Truncation after clamping at 0; just under 1 more makes it round up.
        store_whole(first, smaller(larger(above + 0.999f, zero), bottom));
        store_whole(last, smaller(larger(below + 1.0f, zero), bottom));
        const vint somewhere = (room_high > 0.0f) | (room_low > 0.0f);
        std::memcpy(seen, &somewhere, sizeof seen);
        const int lanes = std::min(LANES, band.count - i);
        for (int lane = 0; lane < lanes; ++lane) {
            visits[length] = {i + lane, first[lane], last[lane]};
            length += (seen[lane] != 0) & (first[lane] < last[lane]);
        }
    }
    return length;
}

// ---------------------------------------------------------------------------------------------------- α

// α before the clamp, down a column of pixels, for one splat: `raw` is the value of the row at hand.
struct Column {
    vfloat raw, growth, dx;
    float step;
};

inline vfloat direct_alpha(const Prepared& splats, int i, vfloat dx, float dy) {
    vfloat power;
    if (splats.path[i] == GENERAL) {
        power = splats.u[i] * dx * dx + splats.v[i] * dx * dy + splats.w[i] * (dy * dy);
        power = select(power < 0.0f, spread(0.0f), power);
    } else {
        const vfloat t = splats.u[i] * dx + splats.v[i] * dy;
        power = t * t + splats.w[i] * (dy * dy);
    }
    const vfloat exponent = splats.level[i] - power;
    // The first argument may be NaN after an overflow; then the limit wins, and the splat is not seen.
    return exp2_in_range(smaller(larger(exponent, spread(-126.0f)), spread(126.0f)));
}

inline void start(Column& column, const Prepared& splats, int i, float dy) {
    const float u = splats.u[i], v = splats.v[i], w = splats.w[i];
    const vfloat t = u * column.dx + v * dy;
    const vfloat power = t * t + w * (dy * dy);
    const vfloat exponent = splats.level[i] - power;
    const vfloat change = -(2.0f * v * t) - (v * v + w * (2.0f * dy + 1.0f));
    const vfloat bounded = smaller(larger(exponent, spread(-126.0f)), spread(126.0f));
    column.raw = only(exponent >= -FLUSH, exp2_in_range(bounded));
    column.growth = exp2_less_1_in_range(smaller(larger(change, spread(-STEEPEST)), spread(STEEPEST)));
    column.step = splats.step[i];
}

// Calls use(α before the clamp, row) down the rows of a visit; `top` is the tile's first pixel centre.
template <typename Use>
inline void walk(const Prepared& splats, Visit visit, vfloat dx, float top, Use use) {
    const int i = visit.splat;
    const float y = top - splats.y[i];
    if (splats.path[i] != RECURRENCE) {
        for (int row = visit.first; row < visit.last; ++row) use(direct_alpha(splats, i, dx, y + row), row);
        return;
    }
    Column column;
    column.dx = dx;
    const int block = splats.block[i];
    const float ratio = 1.0f + splats.step[i];
    for (int begin = visit.first; begin < visit.last; begin += block) {
        start(column, splats, i, y + begin);
        const int end = std::min(begin + block, visit.last);
        for (int row = begin; row < end; ++row) {
            use(column.raw, row);
            column.raw += column.raw * column.growth;
            column.growth = column.growth * ratio + column.step;
        }
    }
}

// ---------------------------------------------------------------------------------------------------- forward

template <int C>
struct ForwardTile {
    vfloat transmittance[TILE];
    vfloat color[(C ? C : MAX_CHANNELS) * TILE];
};

template <int C>
inline void blend(ForwardTile<C>& tile, int row, int channels, vfloat raw, const float* color) {
    const vfloat t = tile.transmittance[row];
    const vint seen = (raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
    const vfloat alpha = only(seen, smaller(raw, spread(ALPHA_MAX))), weight = t * alpha;
    for (int c = 0; c < (C ? C : channels); ++c) tile.color[c * TILE + row] += weight * color[c];
    tile.transmittance[row] = pass_on(t, alpha);
}

bool opaque(const vfloat* transmittance) {
    vfloat most = transmittance[0];
    for (int cell = 1; cell < TILE; ++cell) most = larger(most, transmittance[cell]);
    return largest(most) < TRANSMITTANCE_MIN;
}

template <int C>
void forward_tile(const Scene& scene, const Prepared& splats, const Visit* visits, int length, float left, float top, int height,
                  ForwardTile<C>& tile) {
    const int channels = C ? C : scene.channels;
    for (int row = 0; row < TILE; ++row) tile.transmittance[row] = spread(row < height ? 1.0f : 0.0f);
    for (int i = 0; i < TILE * channels; ++i) tile.color[i] = spread(0.0f);
    for (int n = 0; n < length; ++n) {
        const int i = visits[n].splat;
        const float* color = scene.colors + static_cast<size_t>(splats.index[i]) * channels;
        walk(splats, visits[n], lane_numbers() + (left - splats.x[i]), top,
             [&](vfloat raw, int row) { blend<C>(tile, row, channels, raw, color); });
        if (n % LOOK_EVERY == LOOK_EVERY - 1 && opaque(tile.transmittance)) break;
    }
}

template <int C>
void write_tile(const Scene& scene, const ForwardTile<C>& tile, int left, int top, int width, int height, float* color,
                float* transmittance) {
    const int channels = C ? C : scene.channels;
    const size_t pixels = static_cast<size_t>(scene.height) * scene.width;
    for (int row = 0; row < height; ++row) {
        const size_t at = static_cast<size_t>(top + row) * scene.width + left;
        const vfloat t = tile.transmittance[row];
        store_first(transmittance + at, t, width);
        for (int c = 0; c < channels; ++c)
            store_first(color + c * pixels + at, tile.color[c * TILE + row] + t * scene.background[c], width);
    }
}

template <int C>
void forward_rows(const Scene& scene, const Prepared& all, Rows rows, float* color, float* transmittance) {
    Prepared band;
    cull_band(all, rows, scene.width, band);
    std::vector<Visit> visits(band.count + LANES);
    ForwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += LANES) {
            const int width = std::min(LANES, scene.width - left);
            const int length = cull_tile(band, left + 0.5f, top + 0.5f, height, visits.data());
            forward_tile<C>(scene, band, visits.data(), length, left + 0.5f, top + 0.5f, height, tile);
            write_tile<C>(scene, tile, left, top, width, height, color, transmittance);
        }
    }
}

void forward(const Scene& scene, const Prepared& all, Rows rows, float* color, float* transmittance) {
    switch (scene.channels) {
        case 1: return forward_rows<1>(scene, all, rows, color, transmittance);
        case 3: return forward_rows<3>(scene, all, rows, color, transmittance);
        case 4: return forward_rows<4>(scene, all, rows, color, transmittance);
        default: return forward_rows<0>(scene, all, rows, color, transmittance);
    }
}

// ---------------------------------------------------------------------------------------------------- backward

// Per pixel: T in front of the splat at hand; S = Σ over the splats from there on of T α (g·color), plus what the background
// and the transmittance's own gradient add; g, the colour's gradient.
template <int C>
struct BackwardTile {
    vfloat transmittance[TILE];
    vfloat behind[TILE];
    vfloat gradient[(C ? C : MAX_CHANNELS) * TILE];
};

template <int C>
constexpr int SUMS = MOMENTS + (C ? C : MAX_CHANNELS);

// Sums over lanes, LANES vectors at a time, and what is left one by one.
template <int N>
inline void sum_each(vfloat* values, float* totals) {
    int i = 0;
    for (; i + LANES <= N; i += LANES) store(totals + i, sums_of(values + i));
    if (2 * (N - i) > LANES) {
        vfloat rest[LANES] = {};
        std::copy(values + i, values + N, rest);
        const vfloat sums = sums_of(rest);
        std::memcpy(totals + i, &sums, sizeof(float) * (N - i));
        return;
    }
    for (; i < N; ++i) totals[i] = sum(values[i]);
}

template <int C>
void read_tile(const Scene& scene, int left, int top, int width, int height, const float* color, const float* transmittance,
               const float* color_gradient, const float* transmittance_gradient, BackwardTile<C>& tile,
               float* background_gradient) {
    const int channels = C ? C : scene.channels;
    const size_t pixels = static_cast<size_t>(scene.height) * scene.width;
    vfloat background[C ? C : MAX_CHANNELS] = {};
    for (int row = 0; row < height; ++row) {
        // Lanes outside the image have gradient 0, and so is all that follows from it.
        const size_t at = static_cast<size_t>(top + row) * scene.width + left;
        const vfloat last = load_first(transmittance + at, width);
        vfloat behind = load_first(transmittance_gradient + at, width) * last;
        for (int c = 0; c < channels; ++c) {
            const vfloat gradient = load_first(color_gradient + c * pixels + at, width);
            tile.gradient[c * TILE + row] = gradient;
            behind += gradient * load_first(color + c * pixels + at, width);
            background[c] += gradient * last;
        }
        tile.behind[row] = behind;
        tile.transmittance[row] = spread(1.0f);
    }
    for (int row = height; row < TILE; ++row) tile.transmittance[row] = spread(0.0f);
    for (int c = 0; c < channels; ++c) background_gradient[c] += sum(background[c]);
}

// One splat in front of one vector of pixels; returns v = α ∂L/∂α, 0 where α is clamped or the splat is not seen.
template <int C>
inline vfloat unblend(BackwardTile<C>& tile, int cell, int channels, vfloat raw, const float* color, vfloat* color_sums) {
    const vfloat t = tile.transmittance[cell];
    const vint seen = (raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
    const vfloat alpha = only(seen, smaller(raw, spread(ALPHA_MAX)));
    const vfloat weight = t * alpha;
    vfloat toward = spread(0.0f);
    for (int c = 0; c < (C ? C : channels); ++c) {
        const vfloat gradient = tile.gradient[c * TILE + cell];
        toward += gradient * color[c];
        color_sums[c] += gradient * weight;
    }
    const vfloat contribution = weight * toward;
    const vfloat behind = tile.behind[cell] - contribution;
    tile.behind[cell] = behind;
    tile.transmittance[cell] = pass_on(t, alpha);
    const vfloat v = contribution - alpha / (1.0f - alpha) * behind;
    return only(raw <= ALPHA_MAX, v);
}

template <int C>
void backward_splat(BackwardTile<C>& tile, const Scene& scene, const Prepared& splats, Visit visit, float left, float top,
                    float* moments) {
    const int channels = C ? C : scene.channels, i = visit.splat;
    const float* color = scene.colors + static_cast<size_t>(splats.index[i]) * channels;
    // Moments are taken about the tile's row that is nearest to the centre, and shifted to the centre after the sums: from any
    // other row the shift would cancel.
    const float center = splats.y[i] - top - MIDDLE;
    const float origin = std::min(std::max(center, -MIDDLE), MIDDLE);
    vfloat sums[SUMS<C>] = {};
    vfloat* color_sums = sums + MOMENTS;
    const vfloat dx = lane_numbers() + (left - splats.x[i]);
    vfloat sum_one = spread(0.0f), sum_y = spread(0.0f), sum_yy = spread(0.0f);
    walk(splats, visit, dx, top, [&](vfloat raw, int row) {
        const vfloat v = unblend<C>(tile, row, channels, raw, color, color_sums);
        const float number = ROWS.number[row] - origin;
        sum_one += v;
        sum_y += v * number;
        sum_yy += v * (number * number);
    });
    sums[0] = sum_one;
    sums[1] = dx * sum_one;
    sums[2] = sum_y;
    sums[3] = dx * dx * sum_one;
    sums[4] = dx * sum_y;
    sums[5] = sum_yy;
    float totals[SUMS<C>];
    sum_each<SUMS<C>>(sums, totals);
    const float shift = origin - center, one = totals[0], x = totals[1], y = totals[2];
    float* out = moments + static_cast<size_t>(splats.index[i]) * (MOMENTS + channels);
    out[0] += one;
    out[1] += x;
    out[2] += y + shift * one;
    out[3] += totals[3];
    out[4] += totals[4] + shift * x;
    out[5] += totals[5] + 2.0f * shift * y + shift * shift * one;
    for (int c = 0; c < channels; ++c) out[MOMENTS + c] += totals[MOMENTS + c];
}

template <int C>
void backward_rows(const Scene& scene, const Prepared& all, Rows rows, const float* color, const float* transmittance,
                   const float* color_gradient, const float* transmittance_gradient, float* moments,
                   float* background_gradient) {
    Prepared band;
    cull_band(all, rows, scene.width, band);
    std::vector<Visit> visits(band.count + LANES);
    BackwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += LANES) {
            const int width = std::min(LANES, scene.width - left);
            read_tile<C>(scene, left, top, width, height, color, transmittance, color_gradient, transmittance_gradient, tile,
                         background_gradient);
            const int length = cull_tile(band, left + 0.5f, top + 0.5f, height, visits.data());
            for (int n = 0; n < length; ++n) {
                backward_splat<C>(tile, scene, band, visits[n], left + 0.5f, top + 0.5f, moments);
                if (n % LOOK_EVERY == LOOK_EVERY - 1 && opaque(tile.transmittance)) break;
            }
        }
    }
}

void backward(const Scene& scene, const Prepared& all, Rows rows, const float* color, const float* transmittance,
              const float* color_gradient, const float* transmittance_gradient, float* moments, float* background_gradient) {
    const auto run = [&](auto function) {
        function(scene, all, rows, color, transmittance, color_gradient, transmittance_gradient, moments, background_gradient);
    };
    switch (scene.channels) {
        case 1: return run(backward_rows<1>);
        case 3: return run(backward_rows<3>);
        case 4: return run(backward_rows<4>);
        default: return run(backward_rows<0>);
    }
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)
const Kernel JOIN(KERNEL, _kernel) = {TEXT(KERNEL), prepare, forward, backward};

}  // namespace splat
