// Scenes: one set of many Gaussians, seen by views one after the other. What the driver (scene.cpp) hands to the functions that are
// compiled for each instruction set (scene/), and their table.
//
// A view is rendered in steps: `project` culls and leaves a record for each visible Gaussian; the driver sorts the visible ones by
// depth and scatters them into the lists of blocks of pixels; `forward` and `backward` walk the list of a block;
// `project_backward` takes what the blocks have summed to the gradients of Gaussians and camera.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../common/tables.h"
#include "kernel.h"
#include "projection.h"

namespace splat {

// One set of Gaussians as it comes from PyTorch: row-major, contiguous. Either colors or sh is null.
struct Source {
    const float* means;        // [count, 3]
    const float* scales;       // [count, 3]
    const float* quaternions;  // [count, 4]
    const float* opacities;    // [count]
    const float* colors;       // [count, features]
    const float* sh;           // [count, (degree + 1)², 3]
    const float* shapes;       // [count, numbers of the formula]; null if it has none
    int count, features, degree;
};

// How α follows from a splat: the names of splatlearn/rendering/backends/torch/primitives/registry.py.
enum class Formula {
    GAUSSIAN,
    EXPONENTIAL,  // "ges": exp(−½ q^(β/2)), with the exponent β in `shapes`
    ANALYTIC,     // "gaussian-analytic": a Gaussian's integral over the window of a pixel
    SURFEL,       // a disc of the first two axes, met by rays: see scene/surfel.h
};

// Numbers of a Gaussian in `shapes`, and of its sums beside those of all formulas.
static inline int numbers_of(Formula formula) { return formula == Formula::EXPONENTIAL ? 1 : 0; }

struct View {
    const float* matrix;  // [4, 4]
    const float* origin;  // [3]: where directions of view begin, or the one direction of all if they are parallel
    Lens lens;
    float far;
    bool is_parallel;
    int depth_channels;  // the last ones: 0; 1 for the depth; 2 for the inverse depth and its square
    Formula formula;
    int height, width;
};

constexpr int BLOCK_WIDTH = 64, BLOCK_HEIGHT = 64;  // pixels
constexpr int RECORD = 16;       // numbers of a record: 64 bytes, a line of the cache
constexpr int CHUNK = 256;       // splats of a block's list that are at hand at a time

// The numbers of a record; as in `Prepared`, but for depth, and for the colours in place of the extents, which follow from reach, W and
// narrowing. Path and rows between restarts follow from the flatness. Colours of other than three features are not there. A formula
// without a recurrence has a number of its own in place of the step.
enum Field { X, Y, U, V, W, LEVEL, REACH, RED, GREEN, SLOPE_X, PEAK, STEP, NARROWING, FLATNESS, DEPTH, BLUE };
constexpr int RADIUS = BLUE;  // of the records of panoramas and surfels

// The numbers of a panorama's record: east and down of the tangent plane times its focal length; the power in log2 units as the sum
// of squares (u·x + v·y)² + w·y² of pixels there; and the box on the picture.
enum SphereField { EAST, DOWN = 3, SPHERE_U = 6, SPHERE_V, SPHERE_W, SPHERE_LEVEL, BOX_X, BOX_Y, BOX_WIDE, BOX_HIGH };
constexpr int BEND = STEP;  // of an exponential: β/2 − 1
// Of a Gaussian's integral over windows, see scene/analytic.h: cosine and sine of its axes, inverse deviations along them, and
// opacity · 2πσ₁σ₂.
constexpr int COSINE = U, SINE = V, INVERSE_FIRST = LEVEL, INVERSE_SECOND = STEP, AMPLITUDE = REACH;
static_assert(static_cast<int>(BOX_HIGH) < static_cast<int>(DEPTH), "the depth stands in one place for all");

// The numbers of a surfel's record: see scene/surfel.h. The ellipse around its disc has the middle, the half sides of its box, and the
// slope of the line on which columns have their middles.
enum SurfelField { DISC_X, DISC_Y, ACROSS, DOWNWARD = 4, LEAN = 6, DISC_LEVEL = 8, MIDDLE_X, MIDDLE_Y, WIDE, HIGH, SLOPE };
static_assert(static_cast<int>(SLOPE) < static_cast<int>(DEPTH), "depth and radius stand in one place for all");

// Sums of a surfel: of v = α ∂L/∂α, and of the gradients of the centre's picture, A, B, n (see scene/surfel.h) and the depth.
constexpr int SURFEL_MOMENTS = 10;
static inline int moments_of(Formula formula) { return formula == Formula::SURFEL ? SURFEL_MOMENTS : MOMENTS; }

// Blocks of pixels that a splat's box meets: [first, last] each way. Beyond the last column of a panorama follows the first.
struct Range {
    uint16_t first_column, last_column, first_row, last_row;
};

// What a camera makes of Gaussians; the entries of those that it does not see are not written.
struct Shown {
    float* records;  // [count, RECORD]
    float* colors;   // [count, channels]
    Range* ranges;   // [count]
    int channels;
    bool has_short_records;  // whether the records have all channels: three colours and at most a depth, of Gaussians in a plane
};

// The visible Gaussians among some, in their order, with the bits of their depths in the order of floats.
// - not_finite: those that were dropped because they, their colours or what the camera makes of them are not finite.
// - doubtful: those that were kept although their numbers are not valid: negative scales, opacities outside of [0, 1], a
//   quaternion of zeros.
struct Visible {
    uint64_t* keys;  // depth above, place in the set below
    int count, not_finite, doubtful;
};

// An entry of a list is a Gaussian's place in the set. It is marked in the first of the blocks that the Gaussian meets.
constexpr int32_t FIRST = INT32_MIN;
static inline bool is_first(int32_t entry) { return entry < 0; }
static inline int32_t id_of(int32_t entry) { return entry & INT32_MAX; }

struct Block {
    const int32_t* list;  // entries, near to far
    size_t length;
    int left, top, width, height;  // pixels
};

// A pass over at most MAX_CHANNELS of the channels of an image.
struct Pass {
    int first, channels;      // of `Shown::channels`
    const float* background;  // [channels] of this pass
};

struct Images {
    float* color;          // [channels of the pass, H, W]
    float* transmittance;  // [H, W], the same from each pass
};

struct ImageGradients {
    const float *color, *transmittance;           // what `forward` made
    const float *by_color, *by_transmittance;     // the latter is 0 in a pass that is not the first
};

// Where the sums of a block's splats go. The block that a splat meets first writes its row; those of others are added to it later, in
// the order of the blocks, and stand in `other_rows` until then.
// - own: the numbers that a pass over channels sums. The first `shared` and the last `tail` of them are summed over passes; those of
//   the channels begin at `place` of the row, which is `shared` in the first pass.
struct BlockRows {
    float* rows;  // [count, width]
    int width, own, shared, place, tail;
    float* other_rows;  // [others, own]
    int32_t* other_ids;
    size_t others;  // written
};

struct SourceGradients {
    float *means, *scales, *quaternions, *opacities, *colors, *sh, *shapes;  // written by the first view, added to by others
    float *means2d, *absolute;  // [visible, 2] in the order of the ids, or null; written
};

// The Gaussians [first, last) that a task is answerable for: the first view writes zeros for those that it does not see.
struct Unseen {
    bool is_first_view;
    int32_t first, last;
};

// Of a matrix's upper three rows, and of the origin.
constexpr int CAMERA_SUMS = 15;

struct SceneKernel {
    const char* name;
    // Of the Gaussians [first, last): records of those that are seen.
    void (*project)(const Source&, const View&, const Shown&, int first, int last, Visible&);
    // weights: rows of WEIGHTS, or null.
    void (*forward)(const Shown&, const View&, const Block&, const Pass&, const Images&, BlockRows* weights);
    // moments: rows of the formula's moments, channels of the pass, numbers of the formula, and ABSOLUTES if asked for. Writes
    // background_gradient [channels].
    void (*backward)(const Shown&, const View&, const Block&, const Pass&, const ImageGradients&, bool absolute, BlockRows& moments,
                     float* background_gradient);
    // sums [count, width] of Gaussians `ids`, in the order of the moments with all channels; camera: CAMERA_SUMS numbers, or null.
    void (*project_backward)(const Source&, const View&, const Shown&, const int32_t* ids, int length, const float* sums, int width,
                             bool absolute, const Unseen&, const SourceGradients&, double* camera);
    // Writes a block of median depths [H, W] of a view with one channel of depths.
    void (*median)(const Shown&, const View&, const Block&, float* out);
};

DECLARE_TABLES(SceneKernel, _scenes);

}  // namespace splat
