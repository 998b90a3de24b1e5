// What the driver hands to a kernel, and the table of functions that each instruction set fills in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "../common/tables.h"

namespace splat {

constexpr int TILE = 64;          // rows of a tile, which is one vector wide
constexpr int MOMENTS = 6;        // 1, x, y, xx, xy, yy
constexpr int MAX_CHANNELS = 16;
constexpr int ABSOLUTES = 2;      // sums over pixels of the absolute gradients of means2d, x and y
constexpr int WEIGHTS = 3;        // sum and maximum of a splat's blending weights, and the pixels in which it is seen

// The formula's constants; splatlearn/rendering/formula.py has the same, and a test compares them.
constexpr float ALPHA_MAX = 0.999f;
constexpr float ALPHA_MIN = 1.0f / 255.0f;
constexpr float TRANSMITTANCE_MIN = 1e-4f;

constexpr double LOG2_E = 1.4426950408889634;
constexpr float HALF = static_cast<float>(0.5 * LOG2_E);  // from a quadratic form to a power in log2 units

// One image's splats, near to far, as they come from PyTorch: row-major, contiguous.
struct Scene {
    const float* means2d;     // [count, 2]
    const float* conics;      // [count, 3]
    const float* opacities;   // [count]
    const float* colors;      // [count, channels]
    const float* background;  // [channels]
    int count, channels, height, width;
};

// How α of a splat is evaluated.
enum Path : int32_t {
    RECURRENCE,  // wide down the rows: two multiplications a row
    DIRECT,      // narrow down the rows: an exponential a row
    GENERAL,     // conic not positive definite: the plain quadratic, clamped at 0
};

// Splats that can colour a pixel at all, in the order of depth, as arrays of equal length `count` padded to PAD.
// The power in units of log 2 is (u·dx + v·dy)² + w·dy²: sums of squares, so thin tilted splats lose no digits.
// - level: log₂ of the opacity; reach: the largest power that is still seen; extent_x, extent_y: half the sides of the
//   smallest box around the ellipse of that power.
// - slope_x·dx is the dy at which a column's power is least; peak is the dx of the ellipse's lowest point on the image.
// - step: the constant ratio of ratios down a column, less 1: near 1 a float could not tell wide splats apart.
// - narrowing·dx² is the least power of a column, and sqrt((reach − that)·flatness) half its height in the ellipse.
struct Prepared {
    static constexpr int PAD = 16;     // the widest vector: the last one may reach past the end
    static constexpr int ARRAYS = 17;  // of floats and whole numbers
    int count = 0;
    bool finite = true;
    std::unique_ptr<float[]> storage;
    std::unique_ptr<int32_t[]> whole_storage;
    float *x, *y, *u, *v, *w, *level, *reach, *extent_x, *extent_y, *slope_x, *peak, *step, *narrowing, *flatness;
    int32_t *index;  // place in the input
    int32_t *path;
    int32_t *block;  // rows between restarts of the recurrence

    std::array<float*, 14> arrays() const {
        return {x, y, u, v, w, level, reach, extent_x, extent_y, slope_x, peak, step, narrowing, flatness};
    }

    // Room for `length` splats, not filled.
    void allocate(int length) {
        const std::size_t padded = static_cast<std::size_t>(length) + PAD;
        storage.reset(new float[padded * 14]);
        whole_storage.reset(new int32_t[padded * 3]);
        float** floats[] = {&x,        &y,        &u,       &v,    &w,    &level,     &reach,
                            &extent_x, &extent_y, &slope_x, &peak, &step, &narrowing, &flatness};
        for (std::size_t i = 0; i < 14; ++i) *floats[i] = storage.get() + i * padded;
        index = whole_storage.get();
        path = index + padded;
        block = path + padded;
    }
};

struct Rows {
    int first, last;  // pixel rows [first, last) of a band; first is a multiple of TILE
};

struct SceneKernel;

struct Kernel {
    const char* name;
    void (*prepare)(const Scene&, Prepared&);
    // Writes the rows of color [C, H, W] and transmittance [H, W].
    void (*forward)(const Scene&, const Prepared&, Rows, float* color, float* transmittance);
    // Adds to moments [count, MOMENTS + C] and background_gradient [C] what the rows contribute.
    void (*backward)(const Scene&, const Prepared&, Rows, const float* color, const float* transmittance,
                     const float* color_gradient, const float* transmittance_gradient, float* moments,
                     float* background_gradient);
    const SceneKernel* scenes;
};

DECLARE_TABLES(Kernel, _kernel);

}  // namespace splat
