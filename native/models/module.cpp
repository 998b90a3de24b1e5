// The driver of the transformer's layers: chooses the instruction set, spreads work over threads, and binds to Python.
//
// Arrays come as addresses: making views that carry types and sizes took longer than the work on a few tokens. Their caller,
// splatlearn.models, is the only one and vouches for them.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <omp.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../common/caught.h"
#include "../common/instruction_sets.h"
#include "layers.h"

namespace nb = nanobind;
using namespace layers;

namespace {

// Of an array's first number.
using Address = uintptr_t;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

InstructionSets<Layers> active{ALL_TABLES(_layers)};

constexpr size_t CHUNK = 16384;  // numbers that a thread takes at a time, a multiple of every vector
constexpr ptrdiff_t ROWS = 64;   // rows that it takes

template <typename Work>
void in_chunks(size_t count, int threads, Work work) {
    nb::gil_scoped_release unlocked;
    const ptrdiff_t chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (ptrdiff_t chunk = 0; chunk < chunks; ++chunk) work(chunk * CHUNK, std::min(CHUNK, count - chunk * CHUNK));
}

// `work` gets the part, its first row, and how many.
template <typename Work>
void in_rows(ptrdiff_t rows, int threads, Work work) {
    const ptrdiff_t parts = (rows + ROWS - 1) / ROWS;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (ptrdiff_t part = 0; part < parts; ++part)
        work(part, part * ROWS, static_cast<int>(std::min(ROWS, rows - part * ROWS)));
}

// Sums over all rows in `length` places: those of each part by themselves, then in the order of the parts, so that the number of
// threads changes nothing. `work` gets the first row, how many, and where to add.
template <typename Work>
void summed(ptrdiff_t rows, size_t length, int threads, float* sums, Work work) {
    nb::gil_scoped_release unlocked;
    const ptrdiff_t parts = (rows + ROWS - 1) / ROWS;
    const auto partial = splat::room_for<float>(parts * length);
    in_rows(rows, threads, [&](ptrdiff_t part, ptrdiff_t first, int count) {
        std::fill_n(partial.get() + part * length, length, 0.0f);
        work(first, count, partial.get() + part * length);
    });
    std::fill(sums, sums + length, 0.0f);
    for (ptrdiff_t part = 0; part < parts; ++part)
        for (size_t c = 0; c < length; ++c) sums[c] += partial[part * length + c];
}

template <typename T>
void gelu(Address x, Address y, size_t count, int threads) {
    in_chunks(count, threads, [&](size_t first, size_t some) { active->of<T>().gelu(at<T>(x) + first, at<T>(y) + first, some); });
}

template <typename T>
void gelu_backward(Address x, Address gradient, Address out, size_t count, int threads) {
    in_chunks(count, threads, [&](size_t first, size_t some) {
        active->of<T>().gelu_backward(at<T>(x) + first, at<T>(gradient) + first, at<T>(out) + first, some);
    });
}

template <typename T>
void gelu_and_slope(Address x, Address bias, Address y, ptrdiff_t rows, int width, int threads) {
    nb::gil_scoped_release unlocked;
    in_rows(rows, threads, [&](ptrdiff_t, ptrdiff_t first, int count) {
        active->of<T>().gelu_and_slope(at<T>(x) + first * width, at<float>(bias), at<T>(y) + first * width, count, width);
    });
}

template <typename T>
void added(Address x, Address branch, Address bias, Address out, ptrdiff_t rows, int width, int threads) {
    nb::gil_scoped_release unlocked;
    in_rows(rows, threads, [&](ptrdiff_t, ptrdiff_t first, int count) {
        const ptrdiff_t place = first * width;
        active->of<T>().added(at<float>(x) + place, at<T>(branch) + place, at<float>(bias), at<float>(out) + place, count, width);
    });
}

// `statistics`: the rows' means, then their inverse deviations.
template <typename T>
void norm(Address x, Address scale, Address shift, float epsilon, Address out, Address statistics, ptrdiff_t rows, int width,
          int threads) {
    nb::gil_scoped_release unlocked;
    in_rows(rows, threads, [&](ptrdiff_t, ptrdiff_t first, int count) {
        const ptrdiff_t place = first * width;
        float* mean = at<float>(statistics) + first;
        active->of<T>().norm(
            {at<float>(x) + place, at<float>(scale), at<float>(shift), at<T>(out) + place, mean, mean + rows, width, epsilon},
            count);
    });
}

// `sums`: of the scale, then of the shift.
template <typename T>
void norm_backward(Address x, Address scale, Address statistics, Address gradient, Address past, Address out, Address sums,
                   ptrdiff_t rows, int width, int threads) {
    summed(rows, 2 * width, threads, at<float>(sums), [&](ptrdiff_t first, int count, float* partial) {
        const ptrdiff_t place = first * width;
        const float* mean = at<float>(statistics) + first;
        active->of<T>().norm_backward({at<float>(x) + place, at<float>(scale), mean, mean + rows, at<T>(gradient) + place,
                                       at<float>(past) + place, at<float>(out) + place, width},
                                      count, partial, partial + width);
    });
}

template <typename T>
void column_sums(Address x, Address sums, ptrdiff_t rows, int width, int threads) {
    summed(rows, width, threads, at<float>(sums), [&](ptrdiff_t first, int count, float* partial) {
        active->of<T>().column_sums(at<T>(x) + first * width, count, width, partial);
    });
}

template <typename T>
void narrowed(Address x, Address out, Address sums, ptrdiff_t rows, int width, int threads) {
    summed(rows, width, threads, at<float>(sums), [&](ptrdiff_t first, int count, float* partial) {
        active->of<T>().narrowed(at<float>(x) + first * width, at<T>(out) + first * width, count, width, partial);
    });
}

template <typename T>
void sloped(Address x, Address slope, Address sums, ptrdiff_t rows, int width, int threads) {
    summed(rows, width, threads, at<float>(sums), [&](ptrdiff_t first, int count, float* partial) {
        active->of<T>().sloped(at<T>(x) + first * width, at<T>(slope) + first * width, count, width, partial);
    });
}

// Tokens of images: a token's numbers lie together, its heads' behind one another.
struct Tokens {
    Address first;
    ptrdiff_t image, row;  // how far apart images and tokens lie, in numbers

    template <typename T>
    Rows<T> of(ptrdiff_t image_index, ptrdiff_t head, int width) const {
        return {at<std::remove_const_t<T>>(first) + image_index * image + head * width, row};
    }
};

struct Sizes {
    ptrdiff_t images, heads;
    int queries, keys, width;  // the width of a head
};

template <typename T>
Head<T> head_of(const Sizes& sizes, const Tokens& q, const Tokens& k, const Tokens& v, ptrdiff_t image, ptrdiff_t head) {
    return {q.of<const T>(image, head, sizes.width), k.of<const T>(image, head, sizes.width),
            v.of<const T>(image, head, sizes.width), sizes.queries, sizes.keys, sizes.width};
}

// Calls `work` with an image, a head and a buffer of `room` floats. Each thread has its own buffer, allocated before the
// parallel region, so that a failed allocation can still throw.
template <typename Work>
void for_heads(const Sizes& sizes, size_t room, int threads, Work work) {
    if (sizes.width % WIDTH_STEP || sizes.keys > MOST_KEYS || sizes.keys <= 0)
        throw nb::value_error("expected heads whose width 16 divides, and 1 to 512 keys");
    nb::gil_scoped_release unlocked;
    const auto scratch = splat::room_for<float>(room * threads);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (ptrdiff_t i = 0; i < sizes.images * sizes.heads; ++i)
        work(i / sizes.heads, i % sizes.heads, scratch.get() + room * omp_get_thread_num());
}

template <typename T>
void attend(const Sizes& sizes, const Tokens& q, const Tokens& k, const Tokens& v, const Tokens& out, int threads) {
    for_heads(sizes, scratch_forward(sizes.keys, sizes.width), threads, [&](ptrdiff_t image, ptrdiff_t head, float* scratch) {
        active->of<T>().attend(head_of<T>(sizes, q, k, v, image, head), out.of<T>(image, head, sizes.width), scratch);
    });
}

template <typename T>
void attend_backward(const Sizes& sizes, const Tokens& q, const Tokens& k, const Tokens& v, const Tokens& out_gradient,
                     const Tokens& q_out, const Tokens& k_out, const Tokens& v_out, int threads) {
    const size_t room = scratch_backward(sizes.queries, sizes.keys, sizes.width);
    for_heads(sizes, room, threads, [&](ptrdiff_t image, ptrdiff_t head, float* scratch) {
        active->of<T>().attend_backward(head_of<T>(sizes, q, k, v, image, head),
                                        out_gradient.of<const T>(image, head, sizes.width), q_out.of<T>(image, head, sizes.width),
                                        k_out.of<T>(image, head, sizes.width), v_out.of<T>(image, head, sizes.width), scratch);
    });
}

template <typename T>
void define(nb::module_ m) {
    m.def("gelu", &gelu<T>);
    m.def("gelu_backward", &gelu_backward<T>);
    m.def("gelu_and_slope", &gelu_and_slope<T>);
    m.def("added", &added<T>);
    m.def("norm", &norm<T>);
    m.def("norm_backward", &norm_backward<T>);
    m.def("column_sums", &column_sums<T>);
    m.def("narrowed", &narrowed<T>);
    m.def("sloped", &sloped<T>);
    m.def("attend", &attend<T>);
    m.def("attend_backward", &attend_backward<T>);
}

}  // namespace

NB_MODULE(_layers, m) {
    nb::class_<Tokens>(m, "Tokens").def("__init__", [](Tokens* made, Address first, ptrdiff_t image, ptrdiff_t row) {
        new (made) Tokens{first, image, row};
    });
    nb::class_<Sizes>(m, "Sizes").def(
        "__init__", [](Sizes* made, ptrdiff_t images, ptrdiff_t heads, int queries, int keys, int width) {
            new (made) Sizes{images, heads, queries, keys, width};
        });
    // The same functions for float32, and for bfloat16 as its bits.
    define<float>(m.def_submodule("float32"));
    define<uint16_t>(m.def_submodule("bfloat16"));
    bind_instruction_sets(m, active);
    m.attr("MOST_KEYS") = MOST_KEYS;
    m.attr("WIDTH_STEP") = WIDTH_STEP;
}
