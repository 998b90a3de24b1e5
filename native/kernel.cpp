// Tiles are one vector of LANES pixels wide and TILE rows high. This file is compiled once for each instruction set.
//
// A tile walks its splats near to far. Down a column of pixels the power is a quadratic in the row, so that
// α(y + 1) = α(y) · r(y) and r(y + 1) = r(y) · s with a constant s: two multiply-adds in place of an exponential, on r − 1 and
// s − 1, since next to 1 a float has few digits to tell wide splats apart. The recurrence of narrower splats starts anew after
// fewer rows, and the narrowest take the exponential directly.
#include "kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "simd.h"

namespace splat {
namespace {

// Distances between two rows of a tile, in rows, and their squares: entry TILE is 0.
struct RowDistances {
    float distance[2 * TILE] = {}, square[2 * TILE] = {};
    constexpr RowDistances() {
        for (int i = 0; i < 2 * TILE; ++i) {
            distance[i] = static_cast<float>(i - TILE);
            square[i] = distance[i] * distance[i];
        }
    }
};
constexpr RowDistances ROWS;

// A function: an initialiser would run at load, with instructions that the processor may not have.
inline vfloat lane_numbers() {
    vfloat numbers;
    for (int lane = 0; lane < LANES; ++lane) numbers[lane] = static_cast<float>(lane);
    return numbers;
}

constexpr int BATCH = 8;              // visits begun together; after them a look whether the tile is opaque

// The recurrence runs over so many rows before it starts anew, by the curvature c down the rows in log2 units per row². A lane
// that is seen in some of n rows, where its power is below 8, then has at most (n √c + √8)² < 2·48 where it starts: that is
// clear of underflow, and α's rounding stays near 2e-6.
constexpr int SHORTEST_BLOCK = 8;
constexpr float SHORTEST_CURVATURE = 0.74f;
constexpr struct {
    float curvature;
    int rows;
} BLOCKS[] = {{0.185f, 16}, {0.046f, 32}, {0.0115f, 64}};
constexpr float FLUSH = 100.0f;       // a start below 2^-100 is 0, and stays so
constexpr float STEEPEST = 60.0f;     // the exponent of a ratio is clamped to this
constexpr float CULL_SLACK = 0.02f;   // the rounding of a power, in log2 units, at which culling stays on the safe side
constexpr float CLAMP_LEVEL = -0.002f;  // log2 of an opacity that α cannot carry beyond ALPHA_MAX, rounding and all
constexpr double LOG2_E = 1.4426950408889634;

// ---------------------------------------------------------------------------------------------------- preparation

bool all_finite(const float* values, size_t length) {
    // x·0 is 0 for finite x and NaN otherwise, and sums of it keep the NaN.
    vfloat totals = spread(0.0f);
    for (; length >= LANES; length -= LANES, values += LANES) totals += load(values) * 0.0f;
    totals += load_first(values, static_cast<int>(length)) * 0.0f;
    return sum(totals) == 0.0f;
}

// Copies the splats that can colour a pixel at all; their conics take the places of u, v and w, opacities that of the level.
void gather(const Scene& scene, Prepared& out) {
    int n = 0;
    for (int k = 0; k < scene.count; ++k) {
        out.index[n] = k;
        out.x[n] = scene.centers[2 * k];
        out.y[n] = scene.centers[2 * k + 1];
        out.u[n] = scene.conics[3 * k];
        out.v[n] = scene.conics[3 * k + 1];
        out.w[n] = scene.conics[3 * k + 2];
        out.level[n] = scene.opacities[k];
        n += scene.opacities[k] >= ALPHA_MIN;
    }
    out.count = n;
    // A last vector is read as a whole: what is not a splat there must be harmless to compute with.
    for (; n < out.count + LANES; ++n) {
        for (float* array : out.arrays()) array[n] = 0.0f;
        out.u[n] = out.w[n] = out.level[n] = 1.0f;
        out.index[n] = out.path[n] = out.block[n] = 0;
    }
}

// Derives what culling and evaluation need from LANES conics and opacities.
void derive(Prepared& out, int i) {
    constexpr float HALF = static_cast<float>(0.5 * LOG2_E);
    const vfloat a = load(out.u + i), b = load(out.v + i), c = load(out.w + i), level = log2_of(load(out.level + i));
    const vfloat reach = level - static_cast<float>(std::log2(ALPHA_MIN)) + CULL_SLACK;
    // In double, because the determinant of a thin ellipse cancels.
    const vdouble wide_a = widen(a), wide_b = widen(b), wide_c = widen(c);
    const vdouble determinant = wide_a * wide_c - wide_b * wide_b, inverse = 1.0 / determinant;
    const vfloat u = root(HALF * larger(a, spread(0.0f))), v = HALF * b / u;
    const vfloat w = narrow(0.5 * LOG2_E * determinant / wide_a), curvature = HALF * c;
    const vfloat narrowing = narrow(0.5 * LOG2_E * determinant / wide_c), flatness = 1.0f / curvature;
    const vfloat extent_x = root(reach / HALF * narrow(wide_c * inverse)), extent_y = root(reach / HALF * narrow(wide_a * inverse));
    const vfloat slope = -b / c, peak = -b / a * extent_y;
    const vfloat checked = (u + v + w + slope + peak + flatness) * 0.0f;
    const vint ellipse = (a > 0.0f) & (c > 0.0f) & narrow_mask(determinant > 0.0) & (checked == 0.0f);
    // What is not an ellipse, or one beyond float32, is kept everywhere and evaluated as it stands.
    const vfloat zero = spread(0.0f), everywhere = spread(std::numeric_limits<float>::max());
    store(out.u + i, select(ellipse, u, HALF * a));
    store(out.v + i, select(ellipse, v, 2.0f * HALF * b));
    store(out.w + i, select(ellipse, w, HALF * c));
    store(out.level + i, level);
    store(out.reach + i, select(ellipse, reach, everywhere));
    store(out.extent_x + i, select(ellipse, extent_x, everywhere));
    store(out.extent_y + i, select(ellipse, extent_y, everywhere));
    store(out.slope_x + i, select(ellipse, slope, zero));
    store(out.peak + i, select(ellipse, peak, zero));
    store(out.step + i, exp2_less_1_in_range(larger(-2.0f * curvature, spread(-126.0f))));
    store(out.narrowing + i, select(ellipse, narrowing, zero));
    store(out.flatness + i, select(ellipse, flatness, spread(1.0f)));
    const vint smooth = curvature <= SHORTEST_CURVATURE;
    const vint path = choose(ellipse, choose(smooth, spread_whole(RECURRENCE), spread_whole(DIRECT)), spread_whole(GENERAL));
    vint block = spread_whole(SHORTEST_BLOCK);
    for (const auto& limit : BLOCKS) block = choose(curvature <= limit.curvature, spread_whole(limit.rows), block);
    std::memcpy(&out.path[i], &path, sizeof path);
    std::memcpy(&out.block[i], &block, sizeof block);
}

void prepare(const Scene& scene, Prepared& out) {
    const size_t count = scene.count;
    out.finite = all_finite(scene.centers, 2 * count) && all_finite(scene.conics, 3 * count) &&
                 all_finite(scene.opacities, count) && all_finite(scene.colors, count * scene.channels) &&
                 all_finite(scene.background, scene.channels);
    out.allocate(out.finite ? scene.count : 0);
    if (!out.finite) return;
    gather(scene, out);
    for (int i = 0; i < out.count; i += LANES) derive(out, i);
}

// ---------------------------------------------------------------------------------------------------- culling

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
        // Truncation after clamping at 0; just under 1 more makes it round up.
        const vfloat first = smaller(larger(above + 0.999f, zero), bottom), last = smaller(larger(below + 1.0f, zero), bottom);
        const vint first_row = whole(first), last_row = whole(last);
        const vint somewhere = ((room_high > 0.0f) | (room_low > 0.0f)) & (first_row < last_row);
        unsigned seen = lane_bits(somewhere);
        if (band.count - i < LANES) seen &= (1u << (band.count - i)) - 1;
        for (; seen; seen &= seen - 1) {
            const int lane = __builtin_ctz(seen);
            visits[length++] = {i + lane, first_row[lane], last_row[lane]};
        }
    }
    return length;
}

// ---------------------------------------------------------------------------------------------------- α

// α before the clamp, down a column of pixels, for one splat: `raw` is the value of the row at hand, and `growth` the ratio of
// the next to it, less 1.
struct Column {
    vfloat raw, growth;
};

inline vfloat general_power(const Prepared& splats, int i, vfloat dx, float dy) {
    return splats.u[i] * dx * dx + splats.v[i] * dx * dy + splats.w[i] * (dy * dy);
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
    const vfloat exponent = splats.level[i] - power;
    // The first argument may be NaN after an overflow; then the limit wins, and the splat is not seen.
    return exp2_in_range(smaller(larger(exponent, spread(-126.0f)), spread(126.0f)));
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

// ---------------------------------------------------------------------------------------------------- forward

template <int C>
struct ForwardTile {
    vfloat transmittance[TILE];
    vfloat color[(C ? C : MAX_CHANNELS) * TILE];
};

// α of one splat at one vector of pixels whose transmittance is t.
template <bool CLAMPED>
inline vfloat seen_alpha(vfloat raw, vfloat t) {
    const vint seen = (raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
    return only(seen, CLAMPED ? smaller(raw, spread(ALPHA_MAX)) : raw);
}

template <int C>
struct Color {
    vfloat channel[C ? C : MAX_CHANNELS];
};

// Spread before a walk: the compiler cannot know that a tile's stores leave the colours alone.
template <int C>
inline Color<C> color_of(const Scene& scene, const Prepared& splats, int i) {
    const int channels = C ? C : scene.channels;
    const float* from = scene.colors + static_cast<size_t>(splats.index[i]) * channels;
    Color<C> color;
    for (int c = 0; c < channels; ++c) color.channel[c] = spread(from[c]);
    return color;
}

// CLAMPED: whether α can exceed ALPHA_MAX at all.
template <int C, bool CLAMPED>
inline void forward_splat(ForwardTile<C>& tile, const Scene& scene, const Prepared& splats, Visit visit, float left, float top,
                          const Column& column) {
    const int channels = C ? C : scene.channels, i = visit.splat;
    const Color<C> color = color_of<C>(scene, splats, i);
    walk(splats, visit, lane_distances(splats, i, left), top, column, [&](vfloat raw, int row) {
        const vfloat t = tile.transmittance[row];
        const vfloat alpha = seen_alpha<CLAMPED>(raw, t), weight = t * alpha;
        for (int c = 0; c < channels; ++c) tile.color[c * TILE + row] += weight * color.channel[c];
        tile.transmittance[row] = pass_on(t, alpha);
    });
}

bool opaque(const vfloat* transmittance, int height) {
    vfloat most = transmittance[0];
    for (int row = 1; row < height; ++row) most = larger(most, transmittance[row]);
    return !lane_bits(most >= TRANSMITTANCE_MIN);
}

template <int C>
void forward_tile(const Scene& scene, const Prepared& splats, const Visit* visits, int length, float left, float top, int height,
                  ForwardTile<C>& tile) {
    const int channels = C ? C : scene.channels;
    for (int row = 0; row < height; ++row) {
        tile.transmittance[row] = spread(1.0f);
        for (int c = 0; c < channels; ++c) tile.color[c * TILE + row] = spread(0.0f);
    }
    Column columns[BATCH];
    for (int from = 0; from < length; from += BATCH) {
        const int here = std::min(BATCH, length - from);
        begin(splats, visits + from, here, left, top, columns);
        for (int n = 0; n < here; ++n) {
            const Visit visit = visits[from + n];
            if (splats.level[visit.splat] > CLAMP_LEVEL) {
                forward_splat<C, true>(tile, scene, splats, visit, left, top, columns[n]);
            } else {
                forward_splat<C, false>(tile, scene, splats, visit, left, top, columns[n]);
            }
        }
        if (opaque(tile.transmittance, height)) break;
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
    Prepared culled;
    const Prepared& band = band_of(all, rows, scene, culled);
    const std::unique_ptr<Visit[]> visits(new Visit[band.count + 1]);
    ForwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += LANES) {
            const int width = std::min(LANES, scene.width - left);
            const int length = cull_tile(band, left + 0.5f, top + 0.5f, height, visits.get());
            forward_tile<C>(scene, band, visits.get(), length, left + 0.5f, top + 0.5f, height, tile);
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
    for (int c = 0; c < channels; ++c) background_gradient[c] += sum(background[c]);
}

// Sums down the rows of a visit, a lane a column: v for the opacity; v, v·y and v·y² with y counted from a row of the tile, for
// centre and conic; the colours' gradients.
template <int C>
struct ColumnSums {
    vfloat opacity, one, y, yy;
    vfloat color[C ? C : MAX_CHANNELS];
};

// One splat in front of one vector of pixels: v = α ∂L/∂α, 0 where α is clamped or the splat is not seen.
template <int C, bool CLAMPED>
inline vfloat unblend(BackwardTile<C>& tile, int row, int channels, vfloat raw, const Color<C>& color, ColumnSums<C>& sums) {
    const vfloat t = tile.transmittance[row];
    const vfloat alpha = seen_alpha<CLAMPED>(raw, t), weight = t * alpha;
    vfloat toward = tile.gradient[row] * color.channel[0];
    sums.color[0] += tile.gradient[row] * weight;
    for (int c = 1; c < (C ? C : channels); ++c) {
        const vfloat gradient = tile.gradient[c * TILE + row];
        toward += gradient * color.channel[c];
        sums.color[c] += gradient * weight;
    }
    const vfloat contribution = weight * toward;
    const vfloat behind = tile.behind[row] - contribution;
    tile.behind[row] = behind;
    tile.transmittance[row] = pass_on(t, alpha);
    const vfloat v = contribution - alpha / (1.0f - alpha) * behind;
    return CLAMPED ? only(raw <= ALPHA_MAX, v) : v;
}

template <int C, bool CLAMPED>
void backward_splat(BackwardTile<C>& tile, const Scene& scene, const Prepared& splats, Visit visit, float left, float top,
                    const Column& column, float* moments) {
    const int channels = C ? C : scene.channels, i = visit.splat;
    const Color<C> color = color_of<C>(scene, splats, i);
    ColumnSums<C> columns;
    columns.opacity = columns.one = columns.y = columns.yy = spread(0.0f);
    for (int c = 0; c < channels; ++c) columns.color[c] = spread(0.0f);
    // Moments are taken about the tile's row that is nearest to the centre, and shifted to the centre after the sums: from any
    // other row the shift would cancel.
    const float center = splats.y[i] - top;
    const int origin = static_cast<int>(std::min(std::max(center + 0.5f, 0.0f), TILE - 1.0f));
    const float *y = ROWS.distance + TILE - origin, *yy = ROWS.square + TILE - origin;
    const vfloat dx = lane_distances(splats, i, left);
    if (splats.path[i] == GENERAL) {
        for (int row = visit.first; row < visit.last; ++row) {
            const float dy = top - splats.y[i] + row;
            const vfloat v = unblend<C, CLAMPED>(tile, row, channels, direct_alpha(splats, i, dx, dy), color, columns);
            // Where the power is clamped at 0, α does not depend on centre and conic.
            const vfloat moving = only(general_power(splats, i, dx, dy) >= 0.0f, v);
            columns.opacity += v;
            columns.one += moving;
            columns.y += moving * y[row];
            columns.yy += moving * yy[row];
        }
    } else {
        walk(splats, visit, dx, top, column, [&](vfloat raw, int row) {
            const vfloat v = unblend<C, CLAMPED>(tile, row, channels, raw, color, columns);
            columns.one += v;
            columns.y += v * y[row];
            columns.yy += v * yy[row];
        });
        columns.opacity = columns.one;
    }
    vfloat sums[SUMS<C>];
    sums[0] = columns.opacity;
    sums[1] = dx * columns.one;
    sums[2] = columns.y;
    sums[3] = dx * sums[1];
    sums[4] = dx * columns.y;
    sums[5] = columns.yy;
    for (int c = 0; c < (C ? C : MAX_CHANNELS); ++c) sums[MOMENTS + c] = c < channels ? columns.color[c] : spread(0.0f);
    float totals[SUMS<C>];
    sum_each<SUMS<C>>(sums, totals);
    const float shift = origin - center, one = splats.path[i] == GENERAL ? sum(columns.one) : totals[0], across = totals[1], down = totals[2];
    float* out = moments + static_cast<size_t>(splats.index[i]) * (MOMENTS + channels);
    out[0] += totals[0];
    out[1] += across;
    out[2] += down + shift * one;
    out[3] += totals[3];
    out[4] += totals[4] + shift * across;
    out[5] += totals[5] + 2.0f * shift * down + shift * shift * one;
    for (int c = 0; c < channels; ++c) out[MOMENTS + c] += totals[MOMENTS + c];
}

template <int C>
void backward_tile(const Scene& scene, const Prepared& splats, const Visit* visits, int length, float left, float top, int height,
                   BackwardTile<C>& tile, float* moments) {
    Column columns[BATCH];
    for (int from = 0; from < length; from += BATCH) {
        const int here = std::min(BATCH, length - from);
        begin(splats, visits + from, here, left, top, columns);
        for (int n = 0; n < here; ++n) {
            const Visit visit = visits[from + n];
            if (splats.level[visit.splat] > CLAMP_LEVEL) {
                backward_splat<C, true>(tile, scene, splats, visit, left, top, columns[n], moments);
            } else {
                backward_splat<C, false>(tile, scene, splats, visit, left, top, columns[n], moments);
            }
        }
        if (opaque(tile.transmittance, height)) break;
    }
}

template <int C>
void backward_rows(const Scene& scene, const Prepared& all, Rows rows, const float* color, const float* transmittance,
                   const float* color_gradient, const float* transmittance_gradient, float* moments,
                   float* background_gradient) {
    Prepared culled;
    const Prepared& band = band_of(all, rows, scene, culled);
    const std::unique_ptr<Visit[]> visits(new Visit[band.count + 1]);
    BackwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += LANES) {
            const int width = std::min(LANES, scene.width - left);
            read_tile<C>(scene, left, top, width, height, color, transmittance, color_gradient, transmittance_gradient, tile,
                         background_gradient);
            const int length = cull_tile(band, left + 0.5f, top + 0.5f, height, visits.get());
            backward_tile<C>(scene, band, visits.get(), length, left + 0.5f, top + 0.5f, height, tile, moments);
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
