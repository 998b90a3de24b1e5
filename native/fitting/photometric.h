// The loss of pictures against targets, (1 − λ)·|x − y| + λ·(1 − SSIM) over 11 × 11 Gaussian windows, and its gradient.
//
// A strip of columns goes down a picture, four rows at a time, in rings of rows that stay in the nearest caches:
//   pixels → x, y, x² + y², x·y → blurred along rows → blurred down columns: the moments of windows → SSIM and its slopes
//   → slopes blurred along rows → down columns → gradient, ten rows behind the pixels.
// So nothing but the gradient is written to memory. All x and y have ½ subtracted, because squares of smaller numbers lose
// fewer digits in E[x²] − E[x]²; what lies outside of the picture, which is 0 before the subtraction, is 0 after it too, and
// the share of the window inside, `mass`, puts this right.
#pragma once

#include "../common/simd.h"
#include "fitting.h"

namespace fitting {

// exp(−k²/(2·1.5²)) over their sum, for k = −5…0; the others mirror them.
constexpr float WINDOW[REACH + 1] = {1.0283800845e-03f, 7.5987581352e-03f, 3.6000772128e-02f,
                                     1.0936068951e-01f, 2.1300553771e-01f, 2.6601172486e-01f};
constexpr float C1 = 1e-4f, C2 = 9e-4f;

constexpr int ROWS = 4;    // that go through each stage at a time
constexpr int RING = 16;   // rows kept: those of four windows one above the other, rounded up to a power of 2
constexpr int MOMENTS = 5, SLOPES = 3;

constexpr int rounded(int count) { return (count + WIDEST - 1) / WIDEST * WIDEST; }

// Columns of each stage's rows: windows' centres reach beyond the strip by REACH, and pixels by twice that.
constexpr int CENTERS = rounded(COLUMNS + 2 * REACH);
constexpr int PIXELS = rounded(CENTERS + 2 * REACH);

struct Scratch {
    float x[RING][PIXELS], y[RING][PIXELS], weights[RING][PIXELS];
    float squares[PIXELS], products[PIXELS], seen[PIXELS];
    float moments[RING][MOMENTS][CENTERS];
    float maps[ROWS][SLOPES][CENTERS];
    float slopes[RING][SLOPES][COLUMNS];
    float mass[CENTERS];
    // All bits or none: pixels and centres inside of the picture, and those of them that are the strip's own.
    int32_t inside[PIXELS], own[PIXELS], counted[CENTERS], own_centers[CENTERS];
};

static inline vint load_mask(const int32_t* from) {
    vint mask;
    std::memcpy(&mask, from, sizeof mask);
    return mask;
}

static inline constexpr float tap(int k) { return WINDOW[k <= REACH ? k : TAPS - 1 - k]; }

// The share of a window inside of a picture, along one axis.
static inline float mass_at(int center, int size) {
    double mass = 0.0;
    for (int k = 0; k < TAPS; ++k) {
        const int place = center + k - REACH;
        if (place >= 0 && place < size) mass += tap(k);
    }
    return static_cast<float>(mass);
}

// out[i] = Σ tap(k)·in[i + k].
static inline void blur_along(const float* in, float* out, int vectors) {
    for (int i = 0; i < vectors * LANES; i += LANES) {
        vfloat total = load(in + i + REACH) * WINDOW[REACH];
#pragma GCC unroll 5
        for (int k = 0; k < REACH; ++k) total += (load(in + i + k) + load(in + i + TAPS - 1 - k)) * WINDOW[k];
        store(out + i, total);
    }
}

// Four results below one another, windows over rows r…r + 10 of the fourteen, for each of some fields that lie `apart`: together
// they keep the processor busy while each sum waits for its last term.
template <int FIELDS>
static inline void blur_down(const float* const* rows, int place, int apart, vfloat (*out)[ROWS]) {
    vfloat total[FIELDS][ROWS] = {};
#pragma GCC unroll 14
    for (int i = 0; i < ROWS + TAPS - 1; ++i)
#pragma GCC unroll 2
        for (int f = 0; f < FIELDS; ++f) {
            const vfloat row = load(rows[i] + place + f * apart);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; ++r)
                if (i >= r && i - r < TAPS) total[f][r] += row * tap(i - r);
        }
    for (int f = 0; f < FIELDS; ++f)
        for (int r = 0; r < ROWS; ++r) out[f][r] = total[f][r];
}

// The same for any number of fields.
template <int FIELDS>
static inline void blur_all_down(const float* const* rows, int place, int apart, vfloat (*out)[ROWS]) {
    constexpr int PAIRED = FIELDS / 2 * 2;
    for (int f = 0; f < PAIRED; f += 2) blur_down<2>(rows, place + f * apart, apart, out + f);
    if constexpr (PAIRED < FIELDS) blur_down<1>(rows, place + PAIRED * apart, apart, out + PAIRED);
}

template <typename T>
static inline void gather(const T* from, ptrdiff_t apart, float* to, int count) {
    // Known distances let the compiler use vectors.
    if (apart == 1)
        for (int i = 0; i < count; ++i) to[i] = from[i];
    else if (apart == 3)
        for (int i = 0; i < count; ++i) to[i] = from[3 * i];
    else if (apart == 4)
        for (int i = 0; i < count; ++i) to[i] = from[4 * i];
    else
        for (int i = 0; i < count; ++i) to[i] = from[i * apart];
}

static inline void gather(const Targets& targets, ptrdiff_t place, float* to, int count) {
    if (targets.are_bytes) gather(static_cast<const uint8_t*>(targets.first) + place, targets.column, to, count);
    else gather(static_cast<const float*>(targets.first) + place, targets.column, to, count);
}

// What SSIM and its slopes are made of, at the centres of a vector's windows.
struct Similarity {
    vfloat value;
    vfloat mean, squares, product;  // its derivatives by the blurred x, x² + y² and x·y
};

static inline Similarity similarity(const vfloat* blurred, vfloat mass) {
    const vfloat a = blurred[0], b = blurred[1], outside = 1.0f - mass;
    const vfloat mean_x = a + 0.5f * mass, mean_y = b + 0.5f * mass;
    const vfloat half_out = 0.5f * outside;
    // Variances, both together, and twice the covariance: E[x²] − E[x]² as it is with ½ added to x within the picture. Rounding
    // may take them out of their bounds where colours are far beyond 1, and SSIM would then have no bounds itself. NaN stays.
    const vfloat added = (a + b + mass * 0.5f) * outside;
    const vfloat variances = larger(vfloat{}, blurred[2] - a * a - b * b + added);
    const vfloat covariance = 2.0f * (blurred[3] - a * b) + added;
    const vfloat bounded = smaller(variances, larger(-variances, covariance));
    const vfloat a1 = 2.0f * mean_x * mean_y + C1, a2 = bounded + C2;
    const vfloat b1 = mean_x * mean_x + mean_y * mean_y + C1, b2 = variances + C2;
    const vfloat inverse = 1.0f / (b1 * b2);
    const vfloat value = a1 * a2 * inverse;
    const vfloat squares = -value * b1 * inverse, product = 2.0f * a1 * inverse;
    const vfloat mean = 2.0f * (mean_y * a2 - mean_x * value * b2) * inverse + squares * (outside - 2.0f * a) +
                        product * (half_out - b);
    return {value, mean, squares, product};
}

// Without a name, so that the linker does not take one instruction set's for all.
namespace {

template <bool WEIGHTED, bool GRADIENT>
class Strip {
public:
    Strip(const Pictures& pictures, int picture, int channel, int column, void* scratch)
        : p(pictures), s(*static_cast<Scratch*>(scratch)), column(column),
          width(p.width - column < COLUMNS ? p.width - column : COLUMNS) {
        const ptrdiff_t plane = static_cast<ptrdiff_t>(p.height) * p.width;
        const ptrdiff_t first = (static_cast<ptrdiff_t>(picture) * 3 + channel) * plane;
        image = p.images + first;
        gradient = GRADIENT ? p.gradient + first : nullptr;
        weights = WEIGHTED ? p.weights + picture * plane : nullptr;
        target = picture * p.targets.picture + channel * p.targets.channel;
        alpha = picture * p.targets.picture + 3 * p.targets.channel;
        background = p.background[picture * 3 + channel];
        std::memset(&s, 0, sizeof s);
        for (int i = 0; i < width + 4 * REACH; ++i) {
            const int at = column - 2 * REACH + i;
            s.inside[i] = -(at >= 0 && at < p.width);
            s.own[i] = -(i >= 2 * REACH && i < width + 2 * REACH);
        }
        for (int i = 0; i < width + 2 * REACH; ++i) {
            const int at = column - REACH + i;
            s.mass[i] = mass_at(at, p.width);
            s.counted[i] = -(at >= p.border && at < p.width - p.border);
            s.own_centers[i] = s.counted[i] & -(i >= REACH && i < width + REACH);
        }
    }

    Sums run() {
        const int behind = GRADIENT ? 2 * REACH : REACH;
        for (int row = 0; row - behind < p.height; row += ROWS) {
            for (int r = row; r < row + ROWS; ++r) take_pixels(r);
            compare(row - REACH);
            if constexpr (GRADIENT) descend(row - 2 * REACH);
        }
        return sums;
    }

private:
    static constexpr int TAKEN = WEIGHTED ? MOMENTS : MOMENTS - 1;

    static int slot(int row) { return row & (RING - 1); }

    static int vectors(int columns) { return (columns + LANES - 1) / LANES; }

    // One row of pixels, blurred along the row; nothing but zeros below the picture.
    void take_pixels(int row) {
        float(*moments)[CENTERS] = s.moments[slot(row)];
        if (row >= p.height) {
            std::memset(moments, 0, sizeof s.moments[0]);
            return;
        }
        float *x = s.x[slot(row)], *y = s.y[slot(row)], *w = s.weights[slot(row)];
        read_row(row, x, y, w);
        const bool is_clear = p.targets.channels == 4;
        vfloat absolute = {};
        for (int i = 0; i < vectors(width + 4 * REACH) * LANES; i += LANES) {
            vfloat value = load(y + i);
            if (p.targets.are_bytes) value /= 255.0f;
            if (is_clear) {
                vfloat share = load(s.squares + i);
                if (p.targets.are_bytes) share /= 255.0f;
                value = background + share * (value - background);
            }
            vint taken = load_mask(s.inside + i);
            if constexpr (WEIGHTED) taken &= load(w + i) > 0.0f;
            const vfloat a = only(taken, load(x + i) - 0.5f), b = only(taken, value - 0.5f);
            store(x + i, a);
            store(y + i, b);
            store(s.squares + i, a * a + b * b);
            store(s.products + i, a * b);
            if constexpr (WEIGHTED) store(s.seen + i, only(taken, spread(1.0f)));
            vfloat distance = larger(a - b, b - a);
            if constexpr (WEIGHTED) distance *= load(w + i);
            absolute += only(load_mask(s.own + i), distance);
        }
        sums.absolute += sum(absolute);
        const float* fields[MOMENTS] = {x, y, s.squares, s.products, s.seen};
        for (int f = 0; f < TAKEN; ++f) blur_along(fields[f], moments[f], vectors(width + 2 * REACH));
    }

    // Colours of the picture and the target as they are; opacities of the target go to `squares`.
    void read_row(int row, float* x, float* y, float* w) {
        const int low = column < 2 * REACH ? 2 * REACH - column : 0;
        const int left = p.width - column + 2 * REACH;
        const int count = (left < width + 4 * REACH ? left : width + 4 * REACH) - low;
        const int first = column - 2 * REACH + low;
        const ptrdiff_t place = static_cast<ptrdiff_t>(row) * p.width + first;
        std::memcpy(x + low, image + place, count * sizeof(float));
        if constexpr (WEIGHTED) std::memcpy(w + low, weights + place, count * sizeof(float));
        const ptrdiff_t from = row * p.targets.row + first * p.targets.column;
        gather(p.targets, target + from, y + low, count);
        if (p.targets.channels == 4) gather(p.targets, alpha + from, s.squares + low, count);
        if (row + ROWS < p.height) {
            fetch(image + place + static_cast<ptrdiff_t>(ROWS) * p.width, count * sizeof(float));
            const ptrdiff_t size = p.targets.are_bytes ? 1 : sizeof(float), later = target + from + ROWS * p.targets.row;
            fetch(static_cast<const char*>(p.targets.first) + later * size, count * p.targets.column * size);
        }
    }

    // Asks for a later row, since processors do not foresee that a strip jumps from row to row.
    static void fetch(const void* first, ptrdiff_t bytes) {
        for (ptrdiff_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(first) + i);
    }

    // Blurs moments down columns and compares: SSIM of the rows from `first` on, and its slopes blurred along rows.
    void compare(int first) {
        const float* rows[ROWS + TAPS - 1];
        for (int i = 0; i < ROWS + TAPS - 1; ++i) rows[i] = s.moments[slot(first - REACH + i)][0];
        const int low = p.border - first > 0 ? p.border - first : 0;
        const int high = p.height - p.border - first < ROWS ? p.height - p.border - first : ROWS;
        float mass_down[ROWS];
        for (int r = 0; r < ROWS; ++r) mass_down[r] = mass_at(first + r, p.height);
        vfloat dissimilarity = {};
        if (low < high)
            for (int i = 0; i < vectors(width + 2 * REACH) * LANES; i += LANES) {
                vfloat blurred[MOMENTS][ROWS];
                blur_all_down<TAKEN>(rows, i, CENTERS, blurred);
                for (int r = low; r < high; ++r) {
                    const vfloat moments[4] = {blurred[0][r], blurred[1][r], blurred[2][r], blurred[3][r]};
                    const Similarity found =
                        similarity(moments, WEIGHTED ? blurred[MOMENTS - 1][r] : load(s.mass + i) * mass_down[r]);
                    vfloat lost = 1.0f - found.value, share = spread(1.0f);
                    if constexpr (WEIGHTED) {
                        share = load(s.weights[slot(first + r)] + i + REACH);
                        lost *= share;
                    }
                    dissimilarity += only(load_mask(s.own_centers + i), lost);
                    if constexpr (GRADIENT) {
                        const vint counted = load_mask(s.counted + i);
                        store(s.maps[r][0] + i, only(counted, found.mean * share));
                        store(s.maps[r][1] + i, only(counted, found.squares * share));
                        store(s.maps[r][2] + i, only(counted, found.product * share));
                    }
                }
            }
        sums.dissimilarity += sum(dissimilarity);
        if constexpr (GRADIENT)
            for (int r = 0; r < ROWS; ++r) {
                float(*slopes)[COLUMNS] = s.slopes[slot(first + r)];
                if (r >= low && r < high)
                    for (int f = 0; f < SLOPES; ++f) blur_along(s.maps[r][f], slopes[f], vectors(width));
                else
                    std::memset(slopes, 0, sizeof s.slopes[0]);
            }
    }

    // Blurs slopes down columns: the gradient of the rows from `first` on.
    void descend(int first) {
        const float* rows[ROWS + TAPS - 1];
        for (int i = 0; i < ROWS + TAPS - 1; ++i) rows[i] = s.slopes[slot(first - REACH + i)][0];
        const int low = first < 0 ? -first : 0, high = p.height - first < ROWS ? p.height - first : ROWS;
        if (low >= high) return;
        for (int i = 0; i < width; i += LANES) {
            vfloat blurred[SLOPES][ROWS];
            blur_all_down<SLOPES>(rows, i, COLUMNS, blurred);
            for (int r = low; r < high; ++r) {
                const int row = first + r, at = 2 * REACH + i;
                const vfloat x = load(s.x[slot(row)] + at), y = load(s.y[slot(row)] + at);
                vfloat sign = only(x > y, spread(p.absolute_share)) - only(x < y, spread(p.absolute_share));
                vfloat slope = (blurred[0][r] + 2.0f * x * blurred[1][r] + y * blurred[2][r]) * p.similarity_share;
                if constexpr (WEIGHTED) {
                    const vfloat weight = load(s.weights[slot(row)] + at);
                    sign *= weight;
                    slope = only(weight > 0.0f, slope);
                }
                store_first(gradient + static_cast<ptrdiff_t>(row) * p.width + column + i, sign - slope,
                            width - i < LANES ? width - i : LANES);
            }
        }
    }

    const Pictures& p;
    Scratch& s;
    const int column, width;
    const float *image, *weights;
    float* gradient;
    ptrdiff_t target, alpha;
    float background;
    Sums sums = {};
};

}  // namespace

static Sums strip(const Pictures& pictures, int picture, int channel, int column, void* scratch) {
    if (pictures.weights && pictures.gradient) return Strip<true, true>(pictures, picture, channel, column, scratch).run();
    if (pictures.weights) return Strip<true, false>(pictures, picture, channel, column, scratch).run();
    if (pictures.gradient) return Strip<false, true>(pictures, picture, channel, column, scratch).run();
    return Strip<false, false>(pictures, picture, channel, column, scratch).run();
}

}  // namespace fitting
