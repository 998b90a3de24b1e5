// What the driver of a fit's loss and optimiser hands to an instruction set, and the table that each one fills in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../common/tables.h"

namespace fitting {

constexpr int TAPS = 11;           // of the Gaussian window of SSIM
constexpr int REACH = TAPS / 2;    // pixels on either side of a window's centre
constexpr int COLUMNS = 128;       // of a strip: its rows stay in the nearest caches
constexpr int WIDEST = 16;         // the most floats of a vector

// Targets as they lie in memory; distances between neighbours in numbers.
struct Targets {
    const void* first;
    bool are_bytes;           // 0…255 for 0…1; otherwise floats
    int channels;             // 3, or 4 with an opacity
    ptrdiff_t picture, channel, row, column;
};

struct Pictures {
    const float* images;      // [B, 3, H, W]
    Targets targets;
    const float* background;  // [B, 3], where targets are seen through
    const float* weights;     // [B, H, W], or null
    int height, width;
    int border;               // windows whose centres are fewer pixels from a side are left out
    float absolute_share, similarity_share;  // of one value: what the sums are multiplied by in the loss
    float* gradient;          // [B, 3, H, W], or null
};

// Over the pixels of a strip, weighted: of |x − y| and of 1 − SSIM.
struct Sums {
    double absolute, dissimilarity;
};

struct Moments {
    float* parameters;
    const float* gradients;
    float *first, *second;
};

// A step of Adam: parameters −= rate·first/(√second·root_scale + epsilon), where `rates` includes first's correction of its bias.
struct Step {
    const float* rates;    // [width + WIDEST], from any of the first `width` on those of a vector's numbers
    ptrdiff_t width;       // numbers of a row
    float decay_first, gain_first, decay_second, gain_second;  // each pair sums to 1
    float root_scale, epsilon;
};

struct Fitting {
    const char* name;
    size_t room;  // bytes of scratch that a strip needs
    Sums (*strip)(const Pictures& pictures, int picture, int channel, int column, void* scratch);
    // Rows [first, last); those that are not seen stay as they are, where `seen` is not null.
    void (*adam)(const Step& step, const Moments& moments, const uint8_t* seen, ptrdiff_t first, ptrdiff_t last);
};

DECLARE_TABLES(Fitting, _fitting);

}  // namespace fitting
