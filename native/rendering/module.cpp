// The driver: chooses the instruction set, spreads images and bands over threads, and binds to Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/caught.h"
#include "../common/instruction_sets.h"
#include "arrays.h"
#include "convex/module.h"
#include "kernel.h"
#include "lens.h"
#include "projection.h"
#include "scene_module.h"

namespace nb = nanobind;
using namespace splat;

namespace {

template <typename T>
using Order = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

InstructionSets<Kernel> active{ALL_TABLES(_kernel)};

// Bands depend on the image's height alone, never on the threads: sums over bands are the same for any number of threads.
constexpr int BAND = TILE;
constexpr int MOST_BANDS = 8;

std::vector<Rows> bands_of(int height) {
    const int tiles = (height + TILE - 1) / TILE;
    const int count = std::min(MOST_BANDS, (height + BAND - 1) / BAND);
    std::vector<Rows> bands;
    for (int i = 0; i < count; ++i) {
        const int first = tiles * i / count * TILE, last = std::min(height, tiles * (i + 1) / count * TILE);
        if (first < last) bands.push_back({first, last});
    }
    return bands;
}

struct Batch {
    Input<3> means2d, conics, colors;
    Input<2> opacities, background;
    int height, width;

    int images() const { return static_cast<int>(means2d.shape(0)); }
    int count() const { return static_cast<int>(means2d.shape(1)); }
    int channels() const { return static_cast<int>(background.shape(1)); }

    Scene scene(int image) const {
        const size_t n = static_cast<size_t>(image) * count();
        return {means2d.data() + 2 * n, conics.data() + 3 * n, opacities.data() + n, colors.data() + n * channels(),
                background.data() + static_cast<size_t>(image) * channels(), count(), channels(), height, width};
    }
};

// Numbers that are held for the images at hand, a gibibyte: with more splats fewer images are taken at a time.
constexpr size_t MOST_NUMBERS = size_t{1} << 28;

int at_once(int images, size_t numbers) {
    return static_cast<int>(std::min<size_t>(images, std::max<size_t>(1, MOST_NUMBERS / std::max<size_t>(1, numbers))));
}

int prepared_at_once(const Batch& batch) {
    return at_once(batch.images(), Prepared::ARRAYS * (static_cast<size_t>(batch.count()) + Prepared::PAD));
}

// Of the images from `first` on, `here` of them.
std::vector<Prepared> prepare_some(const Batch& batch, int first, int here, int threads) {
    std::vector<Prepared> prepared(here);
    Caught caught;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int i = 0; i < here; ++i) caught.run([&] { active->prepare(batch.scene(first + i), prepared[i]); });
    caught.rethrow();
    return prepared;
}

constexpr float NOT_A_NUMBER = std::numeric_limits<float>::quiet_NaN();

void forward(Input<3> means2d, Input<3> conics, Input<2> opacities, Input<3> colors, Input<2> background, Output<4> color,
             Output<3> transmittance, int threads) {
    const Batch batch{means2d, conics, colors, opacities, background, static_cast<int>(color.shape(2)),
                      static_cast<int>(color.shape(3))};
    nb::gil_scoped_release unlocked;
    const std::vector<Rows> bands = bands_of(batch.height);
    const size_t pixels = static_cast<size_t>(batch.height) * batch.width;
    const int parts = static_cast<int>(bands.size()), some = prepared_at_once(batch);
    Caught caught;
    for (int first = 0; first < batch.images(); first += some) {
        const int here = std::min(some, batch.images() - first);
        const std::vector<Prepared> prepared = prepare_some(batch, first, here, threads);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (int task = 0; task < here * parts; ++task) {
            const int image = first + task / parts;
            const Rows rows = bands[task % parts];
            const Prepared& splats = prepared[task / parts];
            float* out = color.data() + image * batch.channels() * pixels;
            float* left = transmittance.data() + image * pixels;
            if (splats.finite) {
                caught.run([&] { active->forward(batch.scene(image), splats, rows, out, left); });
                continue;
            }
            // What is not finite stays visible: a guard downstream must see it.
            const size_t from = static_cast<size_t>(rows.first) * batch.width, to = static_cast<size_t>(rows.last) * batch.width;
            for (int c = 0; c < batch.channels(); ++c) std::fill(out + c * pixels + from, out + c * pixels + to, NOT_A_NUMBER);
            std::fill(left + from, left + to, NOT_A_NUMBER);
        }
        caught.rethrow();
    }
}

struct Gradients {
    float *means2d, *conics, *opacities, *colors, *background;
};

// Turns the moments of one image's splats, summed over its bands in order, into gradients.
void finish(const Scene& scene, const float* moments, const float* background, int bands, Gradients out) {
    const int width = MOMENTS + scene.channels;
    for (int k = 0; k < scene.count; ++k) {
        float sums[MOMENTS + MAX_CHANNELS] = {};
        for (int band = 0; band < bands; ++band) {
            const float* part = moments + (static_cast<size_t>(band) * scene.count + k) * width;
            for (int i = 0; i < width; ++i) sums[i] += part[i];
        }
        const float a = scene.conics[3 * k], b = scene.conics[3 * k + 1], c = scene.conics[3 * k + 2];
        out.means2d[2 * k] = a * sums[1] + b * sums[2];
        out.means2d[2 * k + 1] = b * sums[1] + c * sums[2];
        out.conics[3 * k] = -0.5f * sums[3];
        out.conics[3 * k + 1] = -sums[4];
        out.conics[3 * k + 2] = -0.5f * sums[5];
        out.opacities[k] = sums[0] == 0.0f ? 0.0f : sums[0] / scene.opacities[k];
        std::copy_n(sums + MOMENTS, scene.channels, out.colors + static_cast<size_t>(k) * scene.channels);
    }
    for (int c = 0; c < scene.channels; ++c) {
        out.background[c] = 0.0f;
        for (int band = 0; band < bands; ++band) out.background[c] += background[band * scene.channels + c];
    }
}

void backward(Input<3> means2d, Input<3> conics, Input<2> opacities, Input<3> colors, Input<2> background, Input<4> color,
              Input<3> transmittance, Input<4> color_gradient, Input<3> transmittance_gradient, Output<3> means2d_out,
              Output<3> conics_out, Output<2> opacities_out, Output<3> colors_out, Output<2> background_out, int threads) {
    const Batch batch{means2d, conics, colors, opacities, background, static_cast<int>(color.shape(2)),
                      static_cast<int>(color.shape(3))};
    nb::gil_scoped_release unlocked;
    const std::vector<Rows> bands = bands_of(batch.height);
    const size_t pixels = static_cast<size_t>(batch.height) * batch.width;
    const int count = batch.count(), channels = batch.channels(), parts = static_cast<int>(bands.size());
    const size_t part_size = static_cast<size_t>(count) * (MOMENTS + channels);
    const auto gradients = [&](int image) {
        const size_t n = static_cast<size_t>(image) * count;
        return Gradients{means2d_out.data() + 2 * n, conics_out.data() + 3 * n, opacities_out.data() + n,
                         colors_out.data() + n * channels, background_out.data() + static_cast<size_t>(image) * channels};
    };
    // As many images at a time as keep the threads busy: memory for moments does not grow with the batch.
    const int busy = std::max(1, (4 * threads + parts - 1) / std::max(1, parts));
    const int some = prepared_at_once(batch), summed = std::min(at_once(batch.images(), parts * part_size), busy);
    const auto moments = room_for<float>(summed * parts * part_size);
    const auto backgrounds = room_for<float>(static_cast<size_t>(summed) * parts * channels);
    Caught caught;
    const auto sum_up = [&](const Prepared* prepared, int first, int here) {
#pragma omp parallel num_threads(threads)
        {
#pragma omp for schedule(dynamic)
            for (int task = 0; task < here * parts; ++task) {
                const int image = first + task / parts;
                const Prepared& splats = prepared[task / parts];
                float* own = moments.get() + task * part_size;
                float* own_background = backgrounds.get() + static_cast<size_t>(task) * channels;
                std::fill_n(own, part_size, 0.0f);
                std::fill_n(own_background, channels, 0.0f);
                if (splats.finite)
                    caught.run([&] {
                        active->backward(batch.scene(image), splats, bands[task % parts],
                                         color.data() + image * channels * pixels, transmittance.data() + image * pixels,
                                         color_gradient.data() + image * channels * pixels,
                                         transmittance_gradient.data() + image * pixels, own, own_background);
                    });
            }
#pragma omp for schedule(static)
            for (int i = 0; i < here; ++i) {
                const int image = first + i;
                const Gradients out = gradients(image);
                if (prepared[i].finite) {
                    finish(batch.scene(image), moments.get() + i * parts * part_size,
                           backgrounds.get() + static_cast<size_t>(i) * parts * channels, parts, out);
                    continue;
                }
                std::fill_n(out.means2d, 2 * count, NOT_A_NUMBER);
                std::fill_n(out.conics, 3 * count, NOT_A_NUMBER);
                std::fill_n(out.opacities, count, NOT_A_NUMBER);
                std::fill_n(out.colors, count * channels, NOT_A_NUMBER);
                std::fill_n(out.background, channels, NOT_A_NUMBER);
            }
        }
        caught.rethrow();
    };
    for (int first = 0; first < batch.images(); first += some) {
        const int last = std::min(first + some, batch.images());
        const std::vector<Prepared> prepared = prepare_some(batch, first, last - first, threads);
        for (int image = first; image < last; image += summed)
            sum_up(prepared.data() + (image - first), image, std::min(summed, last - image));
    }
}

// Gaussians of a batch, each image with a view of its own or all with one.
struct Clouds {
    Input<3> means, scales, quaternions, colors;
    Input<2> opacities;
    Input<3> views;

    int images() const { return static_cast<int>(means.shape(0)); }
    int count() const { return static_cast<int>(means.shape(1)); }
    int channels() const { return static_cast<int>(colors.shape(2)); }
    size_t first(int image) const { return static_cast<size_t>(image) * count(); }

    Cloud cloud(int image) const {
        const size_t n = first(image), view = views.shape(0) == 1 ? 0 : image;
        return {means.data() + 3 * n, scales.data() + 3 * n, quaternions.data() + 4 * n, colors.data() + n * channels(),
                opacities.data() + n, views.data() + 16 * view, count(), channels()};
    }
};

void project_all(Input<3> means, Input<3> scales, Input<3> quaternions, Input<3> colors, Input<2> opacities, Input<3> views,
                 const std::string& model, const std::vector<float>& numbers, Output<3> means2d_out, Output<3> conics_out,
                 Output<2> depths_out, Output<3> colors_out, Output<2> opacities_out, Order<int32_t> order_out, int threads) {
    const Clouds clouds{means, scales, quaternions, colors, opacities, views};
    const Lens lens = plane_lens_of(model, numbers);
    nb::gil_scoped_release unlocked;
    Caught caught;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int image = 0; image < clouds.images(); ++image) {
        const size_t n = clouds.first(image);
        const Sorted out{means2d_out.data() + 2 * n, conics_out.data() + 3 * n, depths_out.data() + n,
                         colors_out.data() + n * clouds.channels(), opacities_out.data() + n, order_out.data() + n};
        caught.run([&] { project(clouds.cloud(image), lens, out); });
    }
    caught.rethrow();
}

// No gradient depends on the clouds' colours, and on their opacities only if the lens compensates: else those of the splats'
// gradients fill their places.
void project_all_backward(Input<3> means, Input<3> scales, Input<3> quaternions, Input<3> views, Order<const int32_t> order,
                          const std::string& model, const std::vector<float>& numbers, Input<3> means2d, Input<3> conics,
                          Input<2> depths, Input<3> colors, Input<2> opacities, Output<3> means_out, Output<3> scales_out,
                          Output<3> quaternions_out, Output<3> colors_out, Output<2> opacities_out, int threads,
                          std::optional<Input<2>> cloud_opacities) {
    const Clouds clouds{means, scales, quaternions, colors, cloud_opacities.value_or(opacities), views};
    const Lens lens = plane_lens_of(model, numbers);
    nb::gil_scoped_release unlocked;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int image = 0; image < clouds.images(); ++image) {
        const size_t n = clouds.first(image), c = n * clouds.channels();
        project_backward(clouds.cloud(image), lens,
                         {means2d.data() + 2 * n, conics.data() + 3 * n, depths.data() + n, colors.data() + c,
                          opacities.data() + n, order.data() + n},
                         {means_out.data() + 3 * n, scales_out.data() + 3 * n, quaternions_out.data() + 4 * n,
                          colors_out.data() + c, opacities_out.data() + n});
    }
}

}  // namespace

NB_MODULE(_native, m) {
    // A picture that a global variable still names when Python ends is no leak.
    nb::set_leak_warnings(false);
    // noconvert: a silent copy would receive the results in place of the caller's array.
    m.def("forward", &forward, nb::arg("means2d").noconvert(), nb::arg("conics").noconvert(), nb::arg("opacities").noconvert(),
          nb::arg("colors").noconvert(), nb::arg("background").noconvert(), nb::arg("color").noconvert(),
          nb::arg("transmittance").noconvert(), nb::arg("threads"));
    m.def("backward", &backward, nb::arg("means2d").noconvert(), nb::arg("conics").noconvert(),
          nb::arg("opacities").noconvert(), nb::arg("colors").noconvert(), nb::arg("background").noconvert(),
          nb::arg("color").noconvert(), nb::arg("transmittance").noconvert(), nb::arg("color_gradient").noconvert(),
          nb::arg("transmittance_gradient").noconvert(), nb::arg("means2d_out").noconvert(), nb::arg("conics_out").noconvert(),
          nb::arg("opacities_out").noconvert(), nb::arg("colors_out").noconvert(), nb::arg("background_out").noconvert(),
          nb::arg("threads"));
    m.def("project", &project_all, nb::arg("means").noconvert(), nb::arg("scales").noconvert(),
          nb::arg("quaternions").noconvert(), nb::arg("colors").noconvert(), nb::arg("opacities").noconvert(),
          nb::arg("views").noconvert(), nb::arg("model"), nb::arg("lens"), nb::arg("means2d_out").noconvert(),
          nb::arg("conics_out").noconvert(), nb::arg("depths_out").noconvert(), nb::arg("colors_out").noconvert(),
          nb::arg("opacities_out").noconvert(), nb::arg("order_out").noconvert(), nb::arg("threads"));
    m.def("project_backward", &project_all_backward, nb::arg("means").noconvert(), nb::arg("scales").noconvert(),
          nb::arg("quaternions").noconvert(), nb::arg("views").noconvert(), nb::arg("order").noconvert(), nb::arg("model"),
          nb::arg("lens"), nb::arg("means2d").noconvert(), nb::arg("conics").noconvert(), nb::arg("depths").noconvert(),
          nb::arg("colors").noconvert(), nb::arg("opacities").noconvert(), nb::arg("means_out").noconvert(),
          nb::arg("scales_out").noconvert(), nb::arg("quaternions_out").noconvert(), nb::arg("colors_out").noconvert(),
          nb::arg("opacities_out").noconvert(), nb::arg("threads"), nb::arg("cloud_opacities").noconvert() = nb::none());
    bind_scenes(m, active);
    bind_convexes(m, active);
    bind_instruction_sets(m, active);
    m.attr("ALPHA_MAX") = ALPHA_MAX;
    m.attr("ALPHA_MIN") = ALPHA_MIN;
    m.attr("TRANSMITTANCE_MIN") = TRANSMITTANCE_MIN;
    m.attr("MAX_CHANNELS") = MAX_CHANNELS;
    m.attr("EPS2D") = EPS2D;
}
