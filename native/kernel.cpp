// Tiles of 16 × 16 pixels; a vector holds LANES neighbours of a row. This file is compiled once for each instruction set.
//
// A tile walks its splats near to far. Down a column of pixels the power is a quadratic in the row, so that
// α(y + 1) = α(y) · r(y) and r(y + 1) = r(y) · s with a constant s: two multiplications in place of an exponential. The
// recurrence starts anew every BLOCK rows, which bounds its rounding, and narrow splats take the exponential directly.
#include "kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "simd.h"

namespace splat {
namespace {

constexpr int WIDE = TILE / LANES;    // vectors across a tile
constexpr int CELLS = TILE * WIDE;    // vectors in a tile
constexpr int BLOCK = 8;              // rows between restarts of the recurrence
constexpr int GROUP = LANES >= 8 ? 4 : 2;  // splats in lockstep in the forward pass
constexpr int LOOK_EVERY = 8;         // splats between looks whether a tile is opaque

// Curvature down the rows, in log2 units per row², up to which the recurrence is exact enough: below it a lane that matters
// anywhere in a block of 8 rows starts above 2^-44, far from underflow.
constexpr float RECURRENCE_CURVATURE = 0.3f;
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
        out.slope_y[i] = static_cast<float>(-b / a);
        const bool usable = std::isfinite(out.u[i]) && std::isfinite(out.v[i]) && std::isfinite(out.w[i]) &&
                            std::isfinite(out.slope_x[i]) && std::isfinite(out.slope_y[i]);
        if (usable) {
            out.path[i] = curvature <= RECURRENCE_CURVATURE ? RECURRENCE : DIRECT;
            return;
        }
    }
    // Not an ellipse, or one beyond float32: kept everywhere, evaluated as it stands.
    out.path[i] = GENERAL;
    out.u[i] = static_cast<float>(0.5 * LOG2_E * a);
    out.v[i] = static_cast<float>(LOG2_E * b);
    out.w[i] = static_cast<float>(0.5 * LOG2_E * c);
    out.reach[i] = out.extent_x[i] = out.extent_y[i] = std::numeric_limits<float>::max();
    out.slope_x[i] = out.slope_y[i] = 0.0f;
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

struct Box {
    float left, right, top, bottom;  // the outermost pixel centres
};

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
                                 from.extent_x, from.extent_y, from.slope_x, from.slope_y};
        float* target[] = {to.x, to.y, to.u, to.v, to.w, to.level, to.reach,
                           to.extent_x, to.extent_y, to.slope_x, to.slope_y};
        for (int j = 0; j < Prepared::ARRAYS; ++j) target[j][n] = source[j][i];
        to.index[n] = from.index[i];
        to.path[n] = from.path[i];
    }
}

// Which splats reach α ≥ ALPHA_MIN somewhere in a box: the least power over the box lies on the side that faces the centre.
int cull_tile(const Prepared& band, Box box, int32_t* list) {
    const vfloat zero = spread(0.0f);
    int length = 0;
    for (int i = 0; i < band.count; i += LANES) {
        const vfloat x = load(band.x + i), y = load(band.y + i), u = load(band.u + i), v = load(band.v + i);
        const vfloat w = load(band.w + i);
        const vfloat left = box.left - x, right = box.right - x, top = box.top - y, bottom = box.bottom - y;
        const vfloat near_x = larger(left, smaller(right, zero)), near_y = larger(top, smaller(bottom, zero));
        const vfloat best_y = larger(top, smaller(bottom, load(band.slope_x + i) * near_x));
        const vfloat best_x = larger(left, smaller(right, load(band.slope_y + i) * near_y));
        const vfloat one = u * near_x + v * best_y, other = u * best_x + v * near_y;
        const vfloat least = smaller(one * one + w * best_y * best_y, other * other + w * near_y * near_y);
        vint keep = least <= load(band.reach + i);
        int32_t kept[LANES];
        std::memcpy(kept, &keep, sizeof keep);
        const int lanes = std::min(LANES, band.count - i);
        for (int lane = 0; lane < lanes; ++lane) {
            list[length] = i + lane;
            length += (kept[lane] != 0) | (band.path[i + lane] == GENERAL);
        }
    }
    return length;
}

// ---------------------------------------------------------------------------------------------------- α

// α before the clamp, down a column of pixels, for one splat: `raw` is the value of the row at hand.
struct Column {
    vfloat raw, ratio, dx;
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
    const float u = splats.u[i], v = splats.v[i], w = splats.w[i], curvature = v * v + w;
    const vfloat t = u * column.dx + v * dy;
    const vfloat power = t * t + w * (dy * dy);
    const vfloat exponent = splats.level[i] - power;
    const vfloat change = -(2.0f * v * t) - (v * v + w * (2.0f * dy + 1.0f));
    const vfloat bounded = smaller(larger(exponent, spread(-126.0f)), spread(126.0f));
    column.raw = select(power > FLUSH, spread(0.0f), exp2_in_range(bounded));
    column.ratio = exp2_in_range(smaller(larger(change, spread(-STEEPEST)), spread(STEEPEST)));
    column.step = std::exp2(-2.0f * curvature);
}

struct TileRows {
    int first, last;
};

// The rows of a tile, counted from its top, that a splat can reach.
inline TileRows rows_of(const Prepared& splats, int i, float top, int height) {
    const float above = splats.y[i] - splats.extent_y[i] - top, below = splats.y[i] + splats.extent_y[i] - top;
    const int first = above > 0 ? static_cast<int>(std::min(above, static_cast<float>(height))) : 0;
    const int last = below < height ? static_cast<int>(std::max(below, -1.0f)) + 1 : height;
    return {std::min(first, height), std::max(0, last)};
}

// ---------------------------------------------------------------------------------------------------- forward

template <int C>
struct ForwardTile {
    vfloat transmittance[CELLS];
    vfloat color[(C ? C : MAX_CHANNELS) * CELLS];
};

template <int C, int N>
inline void blend(ForwardTile<C>& tile, int cell, int channels, const vfloat* raw, const float* const* colors) {
    constexpr int KEPT = C ? C : 1;
    vfloat t = tile.transmittance[cell];
    vfloat sums[KEPT];
    if (C)
        for (int c = 0; c < KEPT; ++c) sums[c] = tile.color[c * CELLS + cell];
    for (int g = 0; g < N; ++g) {
        const vint seen = (raw[g] >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
        const vfloat weight = select(seen, t * smaller(raw[g], spread(ALPHA_MAX)), spread(0.0f));
        if (C)
            for (int c = 0; c < KEPT; ++c) sums[c] += weight * colors[g][c];
        else
            for (int c = 0; c < channels; ++c) tile.color[c * CELLS + cell] += weight * colors[g][c];
        t -= weight;
    }
    tile.transmittance[cell] = t;
    if (C)
        for (int c = 0; c < KEPT; ++c) tile.color[c * CELLS + cell] = sums[c];
}

template <int C, int N>
void forward_group(ForwardTile<C>& tile, const Scene& scene, const Prepared& splats, const int32_t* list, Box box, int height) {
    TileRows rows{height, 0};
    const float* colors[N];
    for (int g = 0; g < N; ++g) {
        const TileRows own = rows_of(splats, list[g], box.top - 0.5f, height);
        rows.first = std::min(rows.first, own.first);
        rows.last = std::max(rows.last, own.last);
        colors[g] = scene.colors + static_cast<size_t>(splats.index[list[g]]) * scene.channels;
    }
    float lanes[LANES];
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] = static_cast<float>(lane);
    for (int across = 0; across < WIDE; ++across) {
        const vfloat x = load(lanes) + (box.left + across * LANES);
        if (N == 1 && splats.path[list[0]] != RECURRENCE) {
            const vfloat dx = x - splats.x[list[0]];
            for (int row = rows.first; row < rows.last; ++row) {
                const vfloat raw = direct_alpha(splats, list[0], dx, box.top + row - splats.y[list[0]]);
                blend<C, 1>(tile, row * WIDE + across, scene.channels, &raw, colors);
            }
            continue;
        }
        for (int block = rows.first; block < rows.last; block += BLOCK) {
            Column columns[N];
            for (int g = 0; g < N; ++g) {
                columns[g].dx = x - splats.x[list[g]];
                start(columns[g], splats, list[g], box.top + block - splats.y[list[g]]);
            }
            const int end = std::min(block + BLOCK, rows.last);
            for (int row = block; row < end; ++row) {
                vfloat raw[N];
                for (int g = 0; g < N; ++g) {
                    raw[g] = columns[g].raw;
                    columns[g].raw *= columns[g].ratio;
                    columns[g].ratio *= columns[g].step;
                }
                blend<C, N>(tile, row * WIDE + across, scene.channels, raw, colors);
            }
        }
    }
}

bool opaque(const vfloat* transmittance) {
    vfloat most = transmittance[0];
    for (int cell = 1; cell < CELLS; ++cell) most = larger(most, transmittance[cell]);
    return largest(most) < TRANSMITTANCE_MIN;
}

template <int C>
void forward_tile(const Scene& scene, const Prepared& splats, const int32_t* list, int length, Box box, int height,
                  ForwardTile<C>& tile) {
    const int channels = C ? C : scene.channels;
    for (int cell = 0; cell < CELLS; ++cell) tile.transmittance[cell] = spread(1.0f);
    for (int cell = 0; cell < CELLS * channels; ++cell) tile.color[cell] = spread(0.0f);
    int looked = 0;
    for (int i = 0; i < length;) {
        int run = 0;
        while (run < GROUP && i + run < length && splats.path[list[i + run]] == RECURRENCE) ++run;
        if (run == GROUP) {
            forward_group<C, GROUP>(tile, scene, splats, list + i, box, height);
            i += GROUP;
        } else {
            forward_group<C, 1>(tile, scene, splats, list + i, box, height);
            i += 1;
        }
        if (i - looked >= LOOK_EVERY) {
            if (opaque(tile.transmittance)) break;
            looked = i;
        }
    }
}

template <int C>
void write_tile(const Scene& scene, const ForwardTile<C>& tile, int left, int top, int width, int height, float* color,
                float* transmittance) {
    const int channels = C ? C : scene.channels;
    const size_t pixels = static_cast<size_t>(scene.height) * scene.width;
    for (int row = 0; row < height; ++row) {
        const size_t at = static_cast<size_t>(top + row) * scene.width + left;
        float line[TILE];
        for (int c = -1; c < channels; ++c) {
            for (int across = 0; across < WIDE; ++across) {
                const int cell = row * WIDE + across;
                const vfloat t = tile.transmittance[cell];
                store(line + across * LANES, c < 0 ? t : tile.color[c * CELLS + cell] + t * scene.background[c]);
            }
            std::memcpy((c < 0 ? transmittance : color + c * pixels) + at, line, sizeof(float) * width);
        }
    }
}

template <int C>
void forward_rows(const Scene& scene, const Prepared& all, Rows rows, float* color, float* transmittance) {
    Prepared band;
    cull_band(all, rows, scene.width, band);
    std::vector<int32_t> list(band.count + LANES);
    ForwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += TILE) {
            const int width = std::min(TILE, scene.width - left);
            const Box box{left + 0.5f, left + width - 0.5f, top + 0.5f, top + height - 0.5f};
            const int length = cull_tile(band, box, list.data());
            forward_tile<C>(scene, band, list.data(), length, box, height, tile);
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
    vfloat transmittance[CELLS];
    vfloat behind[CELLS];
    vfloat gradient[(C ? C : MAX_CHANNELS) * CELLS];
};

template <int C>
struct Sums {
    vfloat one, x, y, xx, xy, yy;
    vfloat color[C ? C : MAX_CHANNELS];
};

template <int C>
void read_tile(const Scene& scene, int left, int top, int width, int height, const float* color, const float* transmittance,
               const float* color_gradient, const float* transmittance_gradient, BackwardTile<C>& tile,
               float* background_gradient) {
    const int channels = C ? C : scene.channels;
    const size_t pixels = static_cast<size_t>(scene.height) * scene.width;
    const auto line = [&](const float* image, int row, int across) {
        float lanes[LANES] = {};  // outside the image the gradient is 0, and so is all that follows from it
        const int here = std::min(LANES, width - across * LANES);
        if (row < height && here > 0)
            std::memcpy(lanes, image + static_cast<size_t>(top + row) * scene.width + left + across * LANES, sizeof(float) * here);
        return load(lanes);
    };
    vfloat background[C ? C : MAX_CHANNELS];
    for (int c = 0; c < channels; ++c) background[c] = spread(0.0f);
    for (int row = 0; row < TILE; ++row)
        for (int across = 0; across < WIDE; ++across) {
            const int cell = row * WIDE + across;
            const vfloat last = line(transmittance, row, across);
            vfloat behind = line(transmittance_gradient, row, across) * last;
            for (int c = 0; c < channels; ++c) {
                const vfloat gradient = line(color_gradient + c * pixels, row, across);
                tile.gradient[c * CELLS + cell] = gradient;
                behind += gradient * line(color + c * pixels, row, across);
                background[c] += gradient * last;
            }
            tile.behind[cell] = behind;
            tile.transmittance[cell] = spread(1.0f);
        }
    for (int c = 0; c < channels; ++c) background_gradient[c] += sum(background[c]);
}

// One splat in front of one vector of pixels; returns v = α ∂L/∂α, 0 where α is clamped or the splat is not seen.
template <int C>
inline vfloat unblend(BackwardTile<C>& tile, int cell, int channels, vfloat raw, const float* color, vfloat* color_sums) {
    const vfloat t = tile.transmittance[cell];
    const vint seen = (raw >= ALPHA_MIN) & (t >= TRANSMITTANCE_MIN);
    const vfloat alpha = select(seen, smaller(raw, spread(ALPHA_MAX)), spread(0.0f));
    const vfloat weight = t * alpha;
    vfloat toward = spread(0.0f);
    for (int c = 0; c < (C ? C : channels); ++c) {
        const vfloat gradient = tile.gradient[c * CELLS + cell];
        toward += gradient * color[c];
        color_sums[c] += gradient * weight;
    }
    const vfloat contribution = weight * toward;
    const vfloat behind = tile.behind[cell] - contribution;
    tile.behind[cell] = behind;
    tile.transmittance[cell] = t - weight;
    const vfloat v = contribution - alpha / (1.0f - alpha) * behind;
    return select(raw <= ALPHA_MAX, v, spread(0.0f));
}

template <int C>
void backward_splat(BackwardTile<C>& tile, const Scene& scene, const Prepared& splats, int i, Box box, int height,
                    float* moments) {
    const int channels = C ? C : scene.channels;
    const TileRows rows = rows_of(splats, i, box.top - 0.5f, height);
    const float* color = scene.colors + static_cast<size_t>(splats.index[i]) * channels;
    // Rows are counted from the tile's middle: the shift to the splat's own centre comes after the sums.
    constexpr float MIDDLE = 0.5f * (TILE - 1);
    float lanes[LANES];
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] = static_cast<float>(lane);
    Sums<C> sums;
    sums.one = sums.x = sums.y = sums.xx = sums.xy = sums.yy = spread(0.0f);
    for (int c = 0; c < channels; ++c) sums.color[c] = spread(0.0f);
    for (int across = 0; across < WIDE; ++across) {
        Column column;
        column.dx = load(lanes) + (box.left + across * LANES) - splats.x[i];
        vfloat one = spread(0.0f), y = spread(0.0f), yy = spread(0.0f);
        const auto gather = [&](vfloat raw, int row) {
            const vfloat v = unblend<C>(tile, row * WIDE + across, channels, raw, color, sums.color);
            const float j = row - MIDDLE;
            one += v;
            y += v * j;
            yy += v * (j * j);
        };
        if (splats.path[i] != RECURRENCE) {
            for (int row = rows.first; row < rows.last; ++row)
                gather(direct_alpha(splats, i, column.dx, box.top + row - splats.y[i]), row);
        } else {
            for (int block = rows.first; block < rows.last; block += BLOCK) {
                start(column, splats, i, box.top + block - splats.y[i]);
                const int end = std::min(block + BLOCK, rows.last);
                for (int row = block; row < end; ++row) {
                    gather(column.raw, row);
                    column.raw *= column.ratio;
                    column.ratio *= column.step;
                }
            }
        }
        sums.one += one;
        sums.y += y;
        sums.yy += yy;
        sums.x += column.dx * one;
        sums.xx += column.dx * column.dx * one;
        sums.xy += column.dx * y;
    }
    const float shift = box.top + MIDDLE - splats.y[i];
    const float one = sum(sums.one), x = sum(sums.x), y = sum(sums.y), xy = sum(sums.xy), yy = sum(sums.yy);
    float* out = moments + static_cast<size_t>(splats.index[i]) * (MOMENTS + channels);
    out[0] += one;
    out[1] += x;
    out[2] += y + shift * one;
    out[3] += sum(sums.xx);
    out[4] += xy + shift * x;
    out[5] += yy + 2.0f * shift * y + shift * shift * one;
    for (int c = 0; c < channels; ++c) out[MOMENTS + c] += sum(sums.color[c]);
}

template <int C>
void backward_rows(const Scene& scene, const Prepared& all, Rows rows, const float* color, const float* transmittance,
                   const float* color_gradient, const float* transmittance_gradient, float* moments,
                   float* background_gradient) {
    Prepared band;
    cull_band(all, rows, scene.width, band);
    std::vector<int32_t> list(band.count + LANES);
    BackwardTile<C> tile;
    for (int top = rows.first; top < rows.last; top += TILE) {
        const int height = std::min(TILE, rows.last - top);
        for (int left = 0; left < scene.width; left += TILE) {
            const int width = std::min(TILE, scene.width - left);
            const Box box{left + 0.5f, left + width - 0.5f, top + 0.5f, top + height - 0.5f};
            read_tile<C>(scene, left, top, width, height, color, transmittance, color_gradient, transmittance_gradient, tile,
                         background_gradient);
            const int length = cull_tile(band, box, list.data());
            for (int i = 0; i < length; ++i) {
                backward_splat<C>(tile, scene, band, list[i], box, height, moments);
                if (i % LOOK_EVERY == LOOK_EVERY - 1 && opaque(tile.transmittance)) break;
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
