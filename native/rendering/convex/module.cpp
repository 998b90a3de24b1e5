// Drives convexes: finds the tiles that they meet, spreads tiles over threads, and binds to Python.
#include "module.h"

#include <nanobind/ndarray.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../../common/caught.h"
#include "../arrays.h"
#include "convexes.h"

namespace nb = nanobind;
using namespace splat;

namespace {


constexpr const ConvexKernel* KERNELS[] = {ALL_TABLES(_convexes)};

// The one of the instruction set in use.
const ConvexKernel& kernel_of(const InstructionSets<Kernel>& active) {
    for (const ConvexKernel* kernel : KERNELS)
        if (std::strcmp(kernel->name, active->name) == 0) return *kernel;
    return *KERNELS[0];
}

struct Batch {
    Input<3> means2d, packed, colors, boxes;
    Input<2> opacities, background;
    int height, width, stride, left, top;

    int images() const { return static_cast<int>(means2d.shape(0)); }
    int count() const { return static_cast<int>(means2d.shape(1)); }
    int channels() const { return static_cast<int>(background.shape(1)); }
    int edges() const { return (static_cast<int>(packed.shape(2)) - FIRST_EDGE) / 3; }
    size_t pixels() const { return static_cast<size_t>(height) * width; }

    Convexes image(int index) const {
        const size_t n = static_cast<size_t>(index) * count();
        return {means2d.data() + 2 * n, packed.data() + n * packed.shape(2), opacities.data() + n, colors.data() + n * channels(),
                background.data() + static_cast<size_t>(index) * channels(), count(), edges(), channels(), height, width,
                stride, left, top};
    }
};

void check(const Batch& batch) {
    const int numbers = static_cast<int>(batch.packed.shape(2));
    if (numbers < FIRST_EDGE + 9 || numbers > FIRST_EDGE + 3 * MOST_EDGES || (numbers - FIRST_EDGE) % 3 != 0)
        throw nb::value_error("packed: expected 5 numbers and 3 of each of 3 to 8 edges");
    if (batch.channels() > MAX_CHANNELS) throw nb::value_error("colors: expected at most 16 channels");
}

// The lists of an image's tiles. A convex's rows of sums lie side by side, in the order of its tiles.
struct Lists {
    int across = 0, down = 0;
    bool finite = true;
    std::vector<size_t> first;      // [tiles + 1] into `convexes` and `rows`
    std::vector<size_t> first_row;  // [count + 1]
    std::vector<int32_t> convexes;
    std::vector<size_t> rows;

    ConvexTile tile(int index) const {
        const size_t at = first[index];
        return {convexes.data() + at, rows.data() + at, first[index + 1] - at, index / across, index % across};
    }
};

bool all_finite(const float* values, size_t count) {
    return std::all_of(values, values + count, [](float value) { return std::isfinite(value); });
}

// The tiles [from, to) along an axis that a box meets.
struct Span {
    int from, to;

    Span(double middle, double half, int offset, int stride, int tiles) {
        const double side = static_cast<double>(stride) * CONVEX_TILE;
        const double low = (middle - half - offset) / side, high = (middle + half - offset) / side;
        from = static_cast<int>(std::clamp(std::floor(low), 0.0, static_cast<double>(tiles)));
        to = half < 0.0 ? from : static_cast<int>(std::clamp(std::floor(high) + 1.0, 0.0, static_cast<double>(tiles)));
    }
};

Lists lists_of(const Convexes& all, const float* boxes) {
    Lists lists;
    lists.across = (all.width + CONVEX_TILE - 1) / CONVEX_TILE, lists.down = (all.height + CONVEX_TILE - 1) / CONVEX_TILE;
    lists.first.assign(static_cast<size_t>(lists.across) * lists.down + 1, 0);
    lists.first_row.assign(static_cast<size_t>(all.count) + 1, 0);
    const size_t count = all.count;
    lists.finite = all_finite(all.means2d, 2 * count) && all_finite(all.packed, count * all.numbers()) &&
                   all_finite(all.opacities, count) && all_finite(all.colors, count * all.channels) &&
                   all_finite(all.background, all.channels);
    if (!lists.finite) return lists;
    const auto visit = [&](size_t k, auto&& see) {
        const Span x(all.means2d[2 * k], boxes[2 * k], all.left, all.stride, lists.across);
        const Span y(all.means2d[2 * k + 1], boxes[2 * k + 1], all.top, all.stride, lists.down);
        for (int row = y.from; row < y.to; ++row)
            for (int column = x.from; column < x.to; ++column) see(static_cast<size_t>(row) * lists.across + column);
    };
    for (size_t k = 0; k < count; ++k) {
        lists.first_row[k + 1] = lists.first_row[k];
        visit(k, [&](size_t tile) { ++lists.first[tile + 1], ++lists.first_row[k + 1]; });
    }
    for (size_t tile = 1; tile < lists.first.size(); ++tile) lists.first[tile] += lists.first[tile - 1];
    lists.convexes.resize(lists.first.back()), lists.rows.resize(lists.first.back());
    std::vector<size_t> next(lists.first.begin(), lists.first.end() - 1);
    for (size_t k = 0; k < count; ++k) {
        size_t row = lists.first_row[k];
        visit(k, [&](size_t tile) {
            lists.convexes[next[tile]] = static_cast<int32_t>(k);
            lists.rows[next[tile]++] = row++;
        });
    }
    return lists;
}

std::vector<Lists> all_lists(const Batch& batch, int threads) {
    std::vector<Lists> lists(batch.images());
    Caught caught;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int image = 0; image < batch.images(); ++image)
        caught.run([&] {
            lists[image] = lists_of(batch.image(image), batch.boxes.data() + static_cast<size_t>(image) * 2 * batch.count());
        });
    caught.rethrow();
    return lists;
}

constexpr float NOT_A_NUMBER = std::numeric_limits<float>::quiet_NaN();

void forward(const ConvexKernel& kernel, const Batch& batch, float* color, float* transmittance, int threads) {
    const std::vector<Lists> lists = all_lists(batch, threads);
    const int tiles = lists.empty() ? 0 : lists[0].across * lists[0].down;
    const size_t pixels = batch.pixels(), channels = batch.channels();
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int task = 0; task < batch.images() * tiles; ++task) {
        const int image = task / tiles, tile = task % tiles;
        float* out = color + image * channels * pixels;
        if (lists[image].finite) {
            kernel.forward(batch.image(image), lists[image].tile(tile), out, transmittance + image * pixels);
        } else if (tile == 0) {
            // What is not finite stays visible: a guard downstream must see it.
            std::fill_n(out, channels * pixels, NOT_A_NUMBER);
            std::fill_n(transmittance + image * pixels, pixels, NOT_A_NUMBER);
        }
    }
}

struct Gradients {
    float *means2d, *packed, *opacities, *colors, *background;

    Gradients image(const Batch& batch, int index) const {
        const size_t n = static_cast<size_t>(index) * batch.count();
        return {means2d + 2 * n, packed + n * batch.packed.shape(2), opacities + n, colors + n * batch.channels(),
                background + static_cast<size_t>(index) * batch.channels()};
    }
};

// Adds the rows of one convex in order.
void finish(const Convexes& all, size_t k, const Lists& lists, const float* sums, const Gradients& out) {
    const int width = convex_sums(all.edges, all.channels), numbers = all.numbers();
    float total[3 * MOST_EDGES + 3 + MAX_CHANNELS] = {};
    for (size_t row = lists.first_row[k]; row < lists.first_row[k + 1]; ++row)
        for (int i = 0; i < width; ++i) total[i] += sums[row * width + i];
    float* packed = out.packed + k * numbers;
    std::fill_n(packed, SMOOTHNESS, 0.0f);
    packed[SMOOTHNESS] = total[3 * all.edges], packed[SHARPNESS] = total[3 * all.edges + 1];
    out.opacities[k] = total[3 * all.edges + 2];
    float x = 0.0f, y = 0.0f;
    for (int edge = 0; edge < all.edges; ++edge) {
        const float* line = all.packed + k * numbers + FIRST_EDGE + 3 * edge;
        std::copy_n(total + 3 * edge, 3, packed + FIRST_EDGE + 3 * edge);
        x -= line[0] * total[3 * edge + 2], y -= line[1] * total[3 * edge + 2];
    }
    out.means2d[2 * k] = x, out.means2d[2 * k + 1] = y;
    std::copy_n(total + 3 * all.edges + 3, all.channels, out.colors + k * all.channels);
}

void fill_not_finite(const Convexes& all, const Gradients& out) {
    const size_t count = all.count;
    std::fill_n(out.means2d, 2 * count, NOT_A_NUMBER);
    std::fill_n(out.packed, count * all.numbers(), NOT_A_NUMBER);
    std::fill_n(out.opacities, count, NOT_A_NUMBER);
    std::fill_n(out.colors, count * all.channels, NOT_A_NUMBER);
    std::fill_n(out.background, all.channels, NOT_A_NUMBER);
}

void backward_image(const ConvexKernel& kernel, const Batch& batch, int index, const Lists& lists, const ConvexPictures& pictures,
                    const Gradients& out, int threads) {
    const Convexes all = batch.image(index);
    if (!lists.finite) return fill_not_finite(all, out);
    const int tiles = lists.across * lists.down, width = convex_sums(all.edges, all.channels);
    const auto sums = room_for<float>(lists.rows.size() * width);
    const auto backgrounds = room_for<float>(static_cast<size_t>(tiles) * all.channels);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic)
        for (int tile = 0; tile < tiles; ++tile)
            kernel.backward(all, lists.tile(tile), pictures, sums.get(),
                            backgrounds.get() + static_cast<size_t>(tile) * all.channels);
#pragma omp for schedule(static)
        for (int k = 0; k < all.count; ++k) finish(all, k, lists, sums.get(), out);
    }
    std::fill_n(out.background, all.channels, 0.0f);
    for (int tile = 0; tile < tiles; ++tile)
        for (int c = 0; c < all.channels; ++c) out.background[c] += backgrounds[static_cast<size_t>(tile) * all.channels + c];
}

}  // namespace

void bind_convexes(nb::module_& m, const InstructionSets<Kernel>& active) {
    m.def(
        "convex_forward",
        [&active](Input<3> means2d, Input<3> packed, Input<2> opacities, Input<3> colors, Input<2> background, Input<3> boxes,
                  int stride, int left, int top, Output<4> color, Output<3> transmittance, int threads) {
            const Batch batch{means2d, packed, colors, boxes, opacities, background, static_cast<int>(color.shape(2)),
                              static_cast<int>(color.shape(3)), stride, left, top};
            check(batch);
            nb::gil_scoped_release unlocked;
            forward(kernel_of(active), batch, color.data(), transmittance.data(), threads);
        },
        nb::arg("means2d").noconvert(), nb::arg("packed").noconvert(), nb::arg("opacities").noconvert(),
        nb::arg("colors").noconvert(), nb::arg("background").noconvert(), nb::arg("boxes").noconvert(), nb::arg("stride"),
        nb::arg("left"), nb::arg("top"), nb::arg("color").noconvert(), nb::arg("transmittance").noconvert(), nb::arg("threads"));
    m.def(
        "convex_backward",
        [&active](Input<3> means2d, Input<3> packed, Input<2> opacities, Input<3> colors, Input<2> background, Input<3> boxes,
                  int stride, int left, int top, Input<4> color, Input<3> transmittance, Input<4> by_color,
                  Input<3> by_transmittance, Output<3> means2d_out, Output<3> packed_out, Output<2> opacities_out, Output<3> colors_out,
                  Output<2> background_out, int threads) {
            const Batch batch{means2d, packed, colors, boxes, opacities, background, static_cast<int>(color.shape(2)),
                              static_cast<int>(color.shape(3)), stride, left, top};
            check(batch);
            const Gradients out{means2d_out.data(), packed_out.data(), opacities_out.data(), colors_out.data(),
                                background_out.data()};
            nb::gil_scoped_release unlocked;
            const std::vector<Lists> lists = all_lists(batch, threads);
            for (int image = 0; image < batch.images(); ++image) {
                const size_t plane = image * batch.pixels(), pixels = plane * batch.channels();
                const ConvexPictures pictures{color.data() + pixels, transmittance.data() + plane, by_color.data() + pixels,
                                              by_transmittance.data() + plane};
                backward_image(kernel_of(active), batch, image, lists[image], pictures, out.image(batch, image), threads);
            }
        },
        nb::arg("means2d").noconvert(), nb::arg("packed").noconvert(), nb::arg("opacities").noconvert(),
        nb::arg("colors").noconvert(), nb::arg("background").noconvert(), nb::arg("boxes").noconvert(), nb::arg("stride"),
        nb::arg("left"), nb::arg("top"), nb::arg("color").noconvert(), nb::arg("transmittance").noconvert(),
        nb::arg("by_color").noconvert(), nb::arg("by_transmittance").noconvert(), nb::arg("means2d_out").noconvert(),
        nb::arg("packed_out").noconvert(), nb::arg("opacities_out").noconvert(), nb::arg("colors_out").noconvert(),
        nb::arg("background_out").noconvert(), nb::arg("threads"));
}
