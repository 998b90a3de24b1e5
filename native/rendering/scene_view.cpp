// The steps of a view over threads. Parts of the work are chosen from the data, never from the threads, wherever numbers are summed:
// results are the same bit for bit at any number of threads.
#include "scene_view.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "../common/caught.h"
#include "sort.h"

namespace splat {
namespace {

constexpr int PROJECTED = 2048;      // Gaussians of a task of projection
constexpr int FEWEST_BLOCKS = 32;    // of a wave of the backward pass
constexpr size_t SMALLEST_PART = 1 << 13;
constexpr size_t AHEAD = 16;         // entries of a list between a prefetch and its use

size_t parts_of(size_t count, size_t smallest, int threads) { return std::clamp<size_t>(count / smallest, 1, std::max(1, threads)); }

// Seconds since the last call.
class Clock {
  public:
    double lap() {
        const double now = omp_get_wtime(), passed = now - last;
        last = now;
        return passed;
    }

  private:
    double last = omp_get_wtime();
};

int tasks_of(size_t count) { return static_cast<int>((count + PROJECTED - 1) / PROJECTED); }

}  // namespace

SceneView::SceneView(const SceneKernel& kernel, const Source& source, const View& given, int threads)
    : view(given), count(source.count), records(take_room<float>(static_cast<size_t>(source.count) * RECORD)) {
    const int channels = (source.sh ? 3 : source.features) + view.depth_channels;
    colors = take_room<float>(static_cast<size_t>(count) * channels);
    ranges = take_room<Range>(count);
    shown = {records.get(), colors.get(), ranges.get(), channels};
    columns = (view.width + BLOCK_WIDTH - 1) / BLOCK_WIDTH, rows = (view.height + BLOCK_HEIGHT - 1) / BLOCK_HEIGHT;

    Clock clock;
    const int tasks = tasks_of(count);
    const auto keys = take_room<uint64_t>(count), others = take_room<uint64_t>(count);
    std::vector<Visible> visible(tasks);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int task = 0; task < tasks; ++task) {
        const int first = task * PROJECTED;
        visible[task].keys = keys.get() + first;
        kernel.project(source, view, shown, first, std::min(count, first + PROJECTED), visible[task]);
    }
    std::vector<size_t> places(tasks + 1, 0);
    for (int task = 0; task < tasks; ++task) {
        places[task + 1] = places[task] + visible[task].count;
        dropped += visible[task].not_finite;
        strange += visible[task].doubtful;
    }
    seen = places[tasks];
    ids = take_room<int32_t>(seen);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int task = 0; task < tasks; ++task) {
        std::copy_n(visible[task].keys, visible[task].count, others.get() + places[task]);
        for (int i = 0; i < visible[task].count; ++i) ids[places[task] + i] = static_cast<int32_t>(visible[task].keys[i]);
    }
    took.project = clock.lap();
    const uint64_t* order = sort_by_upper_half(others.get(), keys.get(), seen, threads);
    took.sort = clock.lap();
    bin(order, threads);
    took.bin = clock.lap();
}

// Scatters the sorted Gaussians to the lists of the blocks that they meet. Scattering by counts is stable: there is one result.
void SceneView::bin(const uint64_t* order, int threads) {
    const size_t length = seen, parts = parts_of(length, SMALLEST_PART, threads), all = static_cast<size_t>(blocks());
    const auto counts = take_room<size_t>(parts * all);
    const auto each = [&](size_t part, auto use) {
        size_t* own = counts.get() + part * all;
        for (size_t i = length * part / parts; i < length * (part + 1) / parts; ++i) {
            if (i + AHEAD < length) __builtin_prefetch(&ranges[static_cast<int32_t>(order[i + AHEAD])]);
            const int32_t id = static_cast<int32_t>(order[i]);
            const Range range = ranges[id];
            for (int row = range.first_row; row <= range.last_row; ++row)
                for (int column = range.first_column; column <= range.last_column; ++column)
                    use(own[static_cast<size_t>(row) * columns + (column < columns ? column : column - columns)], id);
        }
    };
    offsets.assign(all + 1, 0);
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(parts))
    for (size_t part = 0; part < parts; ++part) {
        std::fill_n(counts.get() + part * all, all, 0);
        each(part, [](size_t& place, int32_t) { ++place; });
    }
    size_t sum = 0;
    for (size_t block = 0; block < all; ++block) {
        for (size_t part = 0; part < parts; ++part) {
            const size_t here = counts[part * all + block];
            counts[part * all + block] = sum;
            sum += here;
        }
        offsets[block + 1] = sum;
    }
    lists = take_room<int32_t>(sum);
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(parts))
    for (size_t part = 0; part < parts; ++part) each(part, [&](size_t& place, int32_t id) { lists[place++] = id; });
}

Block SceneView::block(int index) const {
    const int left = index % columns * BLOCK_WIDTH, top = index / columns * BLOCK_HEIGHT;
    return {lists.get() + offsets[index], offsets[index + 1] - offsets[index], left, top, std::min(BLOCK_WIDTH, view.width - left),
            std::min(BLOCK_HEIGHT, view.height - top)};
}

// Calls prefetch(id) some places ahead, and add(id, place in `lists`) for the lists' places [first, last), one thread for all that an
// id has, in their order.
template <typename Prefetch, typename Add>
void SceneView::flush(size_t first, size_t last, int threads, Prefetch prefetch, Add add) const {
    const int parts = static_cast<int>(parts_of(last - first, SMALLEST_PART, threads));
#pragma omp parallel for schedule(static) num_threads(parts)
    for (int part = 0; part < parts; ++part) {
        const int32_t from = static_cast<int32_t>(static_cast<int64_t>(count) * part / parts);
        const int32_t to = static_cast<int32_t>(static_cast<int64_t>(count) * (part + 1) / parts);
        for (size_t place = first; place < last; ++place) {
            if (place + AHEAD < last) prefetch(lists[place + AHEAD]);
            const int32_t id = lists[place];
            if (id >= from && id < to) add(id, place);
        }
    }
}

void SceneView::forward(const SceneKernel& kernel, const float* background, float* color, float* transmittance, float* weights,
                        int threads) const {
    const size_t pixels = static_cast<size_t>(view.height) * view.width;
    Clock clock;
    const auto of_places = take_room<float>(weights ? intersections() * WEIGHTS : 0);
    Caught caught;
    for (int first = 0; first < shown.channels; first += MAX_CHANNELS) {
        const Pass pass{first, std::min(MAX_CHANNELS, shown.channels - first), background + first};
        const bool weighs = weights && first == 0;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (int index = 0; index < blocks(); ++index)
            caught.run([&] {
                kernel.forward(shown, view, block(index), pass, {color + first * pixels, transmittance},
                               weighs ? of_places.get() + offsets[index] * WEIGHTS : nullptr);
            });
        caught.rethrow();
    }
    took.forward = clock.lap();
    if (!weights) return;
    std::fill_n(weights, static_cast<size_t>(count) * WEIGHTS, 0.0f);
    flush(0, intersections(), threads, [&](int32_t id) { __builtin_prefetch(weights + static_cast<size_t>(id) * WEIGHTS, 1); },
          [&](int32_t id, size_t place) {
        const float* from = of_places.get() + place * WEIGHTS;
        float* to = weights + static_cast<size_t>(id) * WEIGHTS;
        to[0] += from[0], to[1] = std::max(to[1], from[1]), to[2] += from[2];
    });
}

void SceneView::median(const SceneKernel& kernel, float* out, int threads) const {
    Caught caught;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int index = 0; index < blocks(); ++index) caught.run([&] { kernel.median(shown, view, block(index), out); });
    caught.rethrow();
}

void SceneView::backward(const SceneKernel& kernel, const Source& source, const View& given, const float* background,
                         const ImageGradients& images, const SourceGradients& out, bool is_first_view, float* background_gradient,
                         double* camera, int threads) const {
    const size_t pixels = static_cast<size_t>(view.height) * view.width;
    Clock clock;
    const bool absolute = out.absolute;
    const int more = numbers_of(view.formula), last = more + (absolute ? ABSOLUTES : 0);
    const int moment_count = moments_of(view.formula), width = moment_count + shown.channels + last;
    const auto sums = take_room<float>(static_cast<size_t>(count) * width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t i = 0; i < seen; ++i) std::fill_n(sums.get() + static_cast<size_t>(ids[i]) * width, width, 0.0f);
    std::fill_n(background_gradient, shown.channels, 0.0f);

    // Waves of blocks, so that memory does not grow with the splats that meet many blocks.
    std::vector<int> waves{0};
    size_t most = 0;
    for (int index = 0; index < blocks(); ++index) {
        const size_t length = offsets[index + 1] - offsets[waves.back()];
        most = std::max(most, length);
        if (index + 1 == blocks() || (length >= seen / 2 && index + 1 - waves.back() >= FEWEST_BLOCKS))
            waves.push_back(index + 1);
    }
    const int widest = moment_count + std::min(MAX_CHANNELS, shown.channels) + last;
    const auto moments = take_room<float>(most * widest);
    const auto backgrounds = take_room<float>(static_cast<size_t>(blocks()) * MAX_CHANNELS);
    const size_t counted_once = shown.channels > MAX_CHANNELS ? pixels : 0;
    const auto nothing = take_room<float>(counted_once);
    std::fill_n(nothing.get(), counted_once, 0.0f);
    Caught caught;
    for (int first = 0; first < shown.channels; first += MAX_CHANNELS) {
        const Pass pass{first, std::min(MAX_CHANNELS, shown.channels - first), background + first};
        const int own = moment_count + pass.channels + last;
        const ImageGradients part{images.color + first * pixels, images.transmittance, images.by_color + first * pixels,
                                  first == 0 ? images.by_transmittance : nothing.get()};
        for (size_t wave = 0; wave + 1 < waves.size(); ++wave) {
            const size_t begin = offsets[waves[wave]], end = offsets[waves[wave + 1]];
#pragma omp parallel for schedule(dynamic) num_threads(threads)
            for (int index = waves[wave]; index < waves[wave + 1]; ++index)
                caught.run([&] {
                    kernel.backward(shown, view, block(index), pass, part, absolute, moments.get() + (offsets[index] - begin) * own,
                                    backgrounds.get() + static_cast<size_t>(index) * MAX_CHANNELS);
                });
            caught.rethrow();
            const auto prefetch = [&](int32_t id) { __builtin_prefetch(sums.get() + static_cast<size_t>(id) * width, 1); };
            flush(begin, end, threads, prefetch, [&](int32_t id, size_t place) {
                const float* from = moments.get() + (place - begin) * own;
                float* to = sums.get() + static_cast<size_t>(id) * width;
                for (int i = 0; i < moment_count; ++i) to[i] += from[i];
                for (int c = 0; c < pass.channels; ++c) to[moment_count + first + c] += from[moment_count + c];
                for (int i = 0; i < last; ++i) to[width - last + i] += from[own - last + i];
            });
        }
        for (int index = 0; index < blocks(); ++index)
            for (int c = 0; c < pass.channels; ++c)
                background_gradient[first + c] += backgrounds[static_cast<size_t>(index) * MAX_CHANNELS + c];
    }

    took.backward = clock.lap();
    const int tasks = std::max(1, tasks_of(seen));
    std::vector<double> parts(camera ? static_cast<size_t>(tasks) * CAMERA_SUMS : 0);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int task = 0; task < tasks; ++task) {
        const int first = task * PROJECTED, length = std::min(PROJECTED, static_cast<int>(seen) - first);
        const Unseen unseen{is_first_view, task == 0 ? 0 : ids[first], task + 1 == tasks ? count : ids[first + length]};
        kernel.project_backward(source, given, shown, ids.get() + first, length, sums.get(), width, absolute, unseen, out,
                                camera ? parts.data() + static_cast<size_t>(task) * CAMERA_SUMS : nullptr);
    }
    took.project_backward = clock.lap();
    if (!camera) return;
    std::fill_n(camera, CAMERA_SUMS, 0.0);
    for (int task = 0; task < tasks; ++task)
        for (int i = 0; i < CAMERA_SUMS; ++i) camera[i] += parts[static_cast<size_t>(task) * CAMERA_SUMS + i];
}

}  // namespace splat
