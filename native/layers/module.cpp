// The driver of the transformer's layers: chooses the instruction set, spreads work over threads, and binds to Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <omp.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "layers.h"

namespace nb = nanobind;
using namespace layers;

namespace {

// Of float, or of bfloat16 as its bits, since NumPy has no such numbers.
template <typename T>
using Numbers = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Results = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
// Images, heads, tokens, numbers; the numbers of a head lie together.
template <typename T>
using Tokens = nb::ndarray<const T, nb::ndim<4>, nb::device::cpu>;
template <typename T>
using TokensOut = nb::ndarray<T, nb::ndim<4>, nb::device::cpu>;

std::vector<const Layers*> usable() {
    std::vector<const Layers*> found{&baseline_layers};
#ifdef SPLAT_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2_layers);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        found.push_back(&avx512_layers);
#endif
    return found;
}

const Layers* active = usable().back();

constexpr size_t CHUNK = 16384;  // numbers that a thread takes at a time, a multiple of every vector

template <typename Work>
void in_chunks(size_t count, int threads, Work work) {
    nb::gil_scoped_release unlocked;
    const ptrdiff_t chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (ptrdiff_t chunk = 0; chunk < chunks; ++chunk) work(chunk * CHUNK, std::min(CHUNK, count - chunk * CHUNK));
}

template <typename T>
void gelu(Numbers<T> x, Results<T> y, int threads) {
    if (y.size() != x.size()) throw nb::value_error("y: expected as many numbers as x");
    in_chunks(x.size(), threads,
              [&](size_t first, size_t count) { active->of<T>().gelu(x.data() + first, y.data() + first, count); });
}

template <typename T>
void gelu_backward(Numbers<T> x, Numbers<T> gradient, Results<T> out, int threads) {
    if (gradient.size() != x.size() || out.size() != x.size())
        throw nb::value_error("gradient, out: expected as many numbers as x");
    in_chunks(x.size(), threads, [&](size_t first, size_t count) {
        active->of<T>().gelu_backward(x.data() + first, gradient.data() + first, out.data() + first, count);
    });
}

template <typename T, typename Array>
Rows<T> rows_of(const Array& array, ptrdiff_t image, ptrdiff_t head) {
    return {array.data() + image * array.stride(0) + head * array.stride(1), array.stride(2)};
}

template <typename Array>
void check(const char* name, const Array& array, size_t images, size_t heads, size_t tokens, size_t width) {
    if (array.shape(0) != images || array.shape(1) != heads || array.shape(2) != tokens || array.shape(3) != width ||
        array.stride(3) != 1)
        throw nb::value_error((std::string(name) + ": shape or strides do not fit the queries'").c_str());
}

template <typename T>
struct Heads {
    Tokens<T> q, k, v;

    Heads(Tokens<T> q, Tokens<T> k, Tokens<T> v) : q(q), k(k), v(v) {
        if (q.shape(3) % WIDTH_STEP || k.shape(2) > MOST_KEYS || k.shape(2) == 0 || q.stride(3) != 1)
            throw nb::value_error("q: expected heads whose width 16 divides, and at most 512 keys");
        check("k", k, q.shape(0), q.shape(1), k.shape(2), q.shape(3));
        check("v", v, q.shape(0), q.shape(1), k.shape(2), q.shape(3));
    }

    ptrdiff_t count() const { return static_cast<ptrdiff_t>(q.shape(0) * q.shape(1)); }
    ptrdiff_t image(ptrdiff_t i) const { return i / static_cast<ptrdiff_t>(q.shape(1)); }
    ptrdiff_t head(ptrdiff_t i) const { return i % static_cast<ptrdiff_t>(q.shape(1)); }

    Head<T> at(ptrdiff_t i) const {
        return {rows_of<const T>(q, image(i), head(i)), rows_of<const T>(k, image(i), head(i)),
                rows_of<const T>(v, image(i), head(i)), static_cast<int>(q.shape(2)), static_cast<int>(k.shape(2)),
                static_cast<int>(q.shape(3))};
    }
};

template <typename T>
void attend(Tokens<T> q, Tokens<T> k, Tokens<T> v, TokensOut<T> out, int threads) {
    const Heads<T> heads(q, k, v);
    check("out", out, q.shape(0), q.shape(1), q.shape(2), q.shape(3));
    const size_t room = scratch_forward(static_cast<int>(k.shape(2)), static_cast<int>(q.shape(3)));
    nb::gil_scoped_release unlocked;
#pragma omp parallel num_threads(threads)
    {
        const std::unique_ptr<float[]> scratch(new float[room]);
#pragma omp for schedule(static)
        for (ptrdiff_t i = 0; i < heads.count(); ++i)
            active->of<T>().attend(heads.at(i), rows_of<T>(out, heads.image(i), heads.head(i)), scratch.get());
    }
}

template <typename T>
void attend_backward(Tokens<T> q, Tokens<T> k, Tokens<T> v, Tokens<T> out_gradient, TokensOut<T> q_out, TokensOut<T> k_out,
                     TokensOut<T> v_out, int threads) {
    const Heads<T> heads(q, k, v);
    check("out_gradient", out_gradient, q.shape(0), q.shape(1), q.shape(2), q.shape(3));
    check("q_out", q_out, q.shape(0), q.shape(1), q.shape(2), q.shape(3));
    check("k_out", k_out, q.shape(0), q.shape(1), k.shape(2), q.shape(3));
    check("v_out", v_out, q.shape(0), q.shape(1), k.shape(2), q.shape(3));
    const size_t room =
        scratch_backward(static_cast<int>(q.shape(2)), static_cast<int>(k.shape(2)), static_cast<int>(q.shape(3)));
    nb::gil_scoped_release unlocked;
#pragma omp parallel num_threads(threads)
    {
        const std::unique_ptr<float[]> scratch(new float[room]);
#pragma omp for schedule(static)
        for (ptrdiff_t i = 0; i < heads.count(); ++i) {
            const ptrdiff_t image = heads.image(i), head = heads.head(i);
            active->of<T>().attend_backward(heads.at(i), rows_of<const T>(out_gradient, image, head),
                                            rows_of<T>(q_out, image, head), rows_of<T>(k_out, image, head),
                                            rows_of<T>(v_out, image, head), scratch.get());
        }
    }
}

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Layers* each : usable()) names.emplace_back(each->name);
    return names;
}

void use(const std::string& name) {
    for (const Layers* each : usable())
        if (name == each->name) {
            active = each;
            return;
        }
    throw nb::value_error(("instruction set: this processor has no " + name).c_str());
}

template <typename T>
void define(nb::module_& m) {
    // noconvert: a silent copy would receive the results in place of the caller's array.
    m.def("gelu", &gelu<T>, nb::arg("x").noconvert(), nb::arg("y").noconvert(), nb::arg("threads"));
    m.def("gelu_backward", &gelu_backward<T>, nb::arg("x").noconvert(), nb::arg("gradient").noconvert(),
          nb::arg("out").noconvert(), nb::arg("threads"));
    m.def("attend", &attend<T>, nb::arg("q").noconvert(), nb::arg("k").noconvert(), nb::arg("v").noconvert(),
          nb::arg("out").noconvert(), nb::arg("threads"));
    m.def("attend_backward", &attend_backward<T>, nb::arg("q").noconvert(), nb::arg("k").noconvert(),
          nb::arg("v").noconvert(), nb::arg("out_gradient").noconvert(), nb::arg("q_out").noconvert(),
          nb::arg("k_out").noconvert(), nb::arg("v_out").noconvert(), nb::arg("threads"));
}

}  // namespace

NB_MODULE(_layers, m) {
    define<float>(m);
    define<uint16_t>(m);
    m.def("instruction_sets", &instruction_sets);
    m.def("instruction_set", [] { return std::string(active->name); });
    m.def("use_instruction_set", &use, nb::arg("name"));
    m.attr("MOST_KEYS") = MOST_KEYS;
    m.attr("WIDTH_STEP") = WIDTH_STEP;
}
