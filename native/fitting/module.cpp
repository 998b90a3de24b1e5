// The driver of a fit's loss and optimiser: chooses the instruction set, spreads work over threads, and binds to Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <omp.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "../common/caught.h"
#include "../common/denormals.h"
#include "../common/instruction_sets.h"
#include "fitting.h"

namespace nb = nanobind;
using namespace fitting;

namespace {

template <int D>
using Input = nb::ndarray<const float, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
template <typename T, int D>
using Output = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
using AnyTargets = nb::ndarray<nb::ro, nb::ndim<4>, nb::device::cpu>;

InstructionSets<Fitting> active{ALL_TABLES(_fitting)};

void expect(bool fits, const char* what) {
    if (!fits) throw nb::value_error(what);
}

template <typename Array, typename... Sizes>
bool has_shape(const Array& array, Sizes... sizes) {
    size_t axis = 0;
    return ((array.shape(axis++) == static_cast<size_t>(sizes)) && ...);
}

Targets targets_of(const AnyTargets& array) {
    const bool are_bytes = array.dtype() == nb::dtype<uint8_t>();
    expect(are_bytes || array.dtype() == nb::dtype<float>(), "targets: expected uint8 or float32");
    return {array.data(), are_bytes, static_cast<int>(array.shape(1)),
            array.stride(0), array.stride(1), array.stride(2), array.stride(3)};
}

// Writes each picture's sums of weighted |x − y| and 1 − SSIM to `sums` [B, 2] and, where `gradient` is not empty, the gradient of
// absolute_share·Σ|x − y| + similarity_share·Σ(1 − SSIM). Strips depend on the width alone and their sums are added in order, so
// that results are the same for any number of threads.
void photometric(Input<4> images, AnyTargets targets, Input<2> background, std::optional<Input<3>> weights, int border,
                 float absolute_share, float similarity_share, Output<double, 2> sums, std::optional<Output<float, 4>> gradient,
                 int threads) {
    const ptrdiff_t count = images.shape(0);
    const int height = static_cast<int>(images.shape(2)), width = static_cast<int>(images.shape(3));
    expect(images.shape(1) == 3 && (has_shape(targets, count, 3, height, width) || has_shape(targets, count, 4, height, width)) &&
               has_shape(background, count, 3) && (!weights || has_shape(*weights, count, height, width)) &&
               has_shape(sums, count, 2) && (!gradient || has_shape(*gradient, count, 3, height, width)),
           "expected images [B, 3, H, W], targets [B, 3 or 4, H, W], background [B, 3], weights [B, H, W], sums [B, 2]");
    const Pictures pictures = {images.data(), targets_of(targets), background.data(), weights ? weights->data() : nullptr,
                               height, width, border, absolute_share, similarity_share,
                               gradient ? gradient->data() : nullptr};
    double* const out = sums.data();

    nb::gil_scoped_release unlocked;
    const ptrdiff_t strips = (width + COLUMNS - 1) / COLUMNS, each = 3 * strips;
    const size_t room = (active->room + 63) / 64 * 64;
    const auto scratch = splat::room_for<char>(room * threads);
    const auto found = splat::room_for<Sums>(count * each);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (ptrdiff_t i = 0; i < count * each; ++i)
        found[i] = active->strip(pictures, static_cast<int>(i / each), static_cast<int>(i % each / strips),
                                 static_cast<int>(i % strips) * COLUMNS, scratch.get() + room * omp_get_thread_num());
    for (ptrdiff_t picture = 0; picture < count; ++picture) {
        out[2 * picture] = out[2 * picture + 1] = 0.0;
        for (ptrdiff_t i = picture * each; i < (picture + 1) * each; ++i) {
            out[2 * picture] += found[i].absolute;
            out[2 * picture + 1] += found[i].dissimilarity;
        }
    }
}

constexpr ptrdiff_t CHUNK = 1 << 15;  // numbers that a thread takes at a time
constexpr ptrdiff_t ROWS = 1 << 12;   // rows that it looks through

using Flat = Output<float, 1>;
using Seen = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Rows [K, width] of one kind of parameters, all flat. `rates` has one for each number of a row.
void adam(Flat parameters, Input<1> gradients, Flat first, Flat second, Input<1> rates,
          std::optional<Seen> seen, std::pair<double, double> betas, double root_scale, double epsilon, int threads) {
    const ptrdiff_t width = rates.size(), size = parameters.size(), count = width ? size / width : 0;
    expect(count * width == size && gradients.size() == parameters.size() && first.size() == parameters.size() &&
               second.size() == parameters.size() && (!seen || seen->size() == static_cast<size_t>(count)),
           "expected parameters, gradients and moments of one size, a rate for each number of a row and `seen` for each row");
    const Moments moments = {parameters.data(), gradients.data(), first.data(), second.data()};
    const uint8_t* const rows_seen = seen ? seen->data() : nullptr;

    nb::gil_scoped_release unlocked;
    // Repeated, so that a vector can be loaded from any of them.
    const auto pattern = splat::room_for<float>(width + WIDEST);
    for (ptrdiff_t i = 0; i < width + WIDEST; ++i) pattern[i] = rates.data()[i % width];
    const Step step = {pattern.get(), width,
                       static_cast<float>(betas.first), static_cast<float>(1.0 - betas.first),
                       static_cast<float>(betas.second), static_cast<float>(1.0 - betas.second),
                       static_cast<float>(root_scale), static_cast<float>(epsilon)};
    // A multiple of every vector, so that threads share none.
    const ptrdiff_t some = (CHUNK / width + WIDEST) / WIDEST * WIDEST;
#pragma omp parallel num_threads(threads)
    {
        const splat::DenormalsAreZero mode;
#pragma omp for schedule(static)
        for (ptrdiff_t row = 0; row < count; row += some) active->adam(step, moments, rows_seen, row, std::min(row + some, count));
    }
}

// Sets `seen` [K] to 1 for each row in which a gradient is not 0, NaN among them, and leaves the others as they are.
void mark_seen(Input<1> gradients, Output<uint8_t, 1> seen, int threads) {
    const ptrdiff_t count = seen.size(), width = count ? gradients.size() / count : 0;
    expect(count * width == static_cast<ptrdiff_t>(gradients.size()), "expected gradients [K·width] and seen [K]");
    const uint32_t* const bits = reinterpret_cast<const uint32_t*>(gradients.data());
    uint8_t* const out = seen.data();
    nb::gil_scoped_release unlocked;
#pragma omp parallel for schedule(static, ROWS) num_threads(threads)
    for (ptrdiff_t row = 0; row < count; ++row) {
        if (out[row]) continue;
        uint32_t any = 0;
        // Without the sign, for −0 is 0.
        for (ptrdiff_t i = row * width; i < (row + 1) * width; ++i) any |= bits[i] << 1;
        out[row] = any != 0;
    }
}

}  // namespace

NB_MODULE(_fitting, m) {
    m.def("photometric", &photometric, nb::arg("images").noconvert(), nb::arg("targets").noconvert(),
          nb::arg("background").noconvert(), nb::arg("weights").noconvert().none(), nb::arg("border"), nb::arg("absolute_share"),
          nb::arg("similarity_share"), nb::arg("sums").noconvert(), nb::arg("gradient").noconvert().none(), nb::arg("threads"));
    m.def("adam", &adam, nb::arg("parameters").noconvert(), nb::arg("gradients").noconvert(), nb::arg("first").noconvert(),
          nb::arg("second").noconvert(), nb::arg("rates").noconvert(), nb::arg("seen").noconvert().none(),
          nb::arg("betas"), nb::arg("root_scale"), nb::arg("epsilon"), nb::arg("threads"));
    m.def("mark_seen", &mark_seen, nb::arg("gradients").noconvert(), nb::arg("seen").noconvert(), nb::arg("threads"));
    bind_instruction_sets(m, active);
}
