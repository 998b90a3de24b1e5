// The steps of a view over threads. Parts of the work are chosen from the data, never from the threads, wherever numbers are summed:
// results are the same bit for bit at any number of threads.
#include "scene_view.h"

#include <omp.h>

#include <algorithm>
#include <cmath>

#include "../common/caught.h"
#include "sort.h"

namespace splat {
namespace {

constexpr int PROJECTED = 2048;      // Gaussians of a task of projection
constexpr int FEWEST_BLOCKS = 32;    // of a wave of the backward pass
constexpr size_t SMALLEST_PART = 1 << 13;
constexpr uint64_t FIRST_KEY = static_cast<uint32_t>(FIRST);  // the mark of a list's entry, in its key
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
    const bool has_colors = view.lens.model != Model::PANORAMA && view.formula != Formula::SURFEL && channels - view.depth_channels == 3;
    shown = {records.get(), colors.get(), ranges.get(), channels, has_colors && view.depth_channels <= 1};
    columns = (view.width + BLOCK_WIDTH - 1) / BLOCK_WIDTH, rows = (view.height + BLOCK_HEIGHT - 1) / BLOCK_HEIGHT;

    Clock clock;
    const int tasks = tasks_of(count);
    const auto keys = take_room<uint64_t>(count);
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
    for (int task = 0; task < tasks; ++task)
        for (int i = 0; i < visible[task].count; ++i) ids[places[task] + i] = static_cast<int32_t>(visible[task].keys[i]);
    took.project = clock.lap();
    const Room<uint64_t> entries = bin(visible, threads);
    took.bin = clock.lap();
    sort(entries.get(), threads);
    took.sort = clock.lap();
}

// Scatters the keys of the visible to the blocks that they meet, in the order of the set, and returns them. Scattering by counts is
// stable: there is one result.
Room<uint64_t> SceneView::bin(const std::vector<Visible>& visible, int threads) {
    const size_t tasks = visible.size(), parts = parts_of(seen, SMALLEST_PART, threads), all = static_cast<size_t>(blocks());
    const auto counts = take_room<size_t>(parts * all);
    const auto each = [&](size_t part, auto use) {
        size_t* own = counts.get() + part * all;
        for (size_t task = tasks * part / parts; task < tasks * (part + 1) / parts; ++task)
            for (int i = 0; i < visible[task].count; ++i) {
                const uint64_t key = visible[task].keys[i];
                const Range range = ranges[static_cast<int32_t>(key)];
                // Beyond the last column follows the first, which is that of the first block then.
                const int first_column = range.last_column < columns ? range.first_column : 0;
                // Most meet one block: a branch that is foreseen well, where those of loops are not.
                if (range.first_row == range.last_row && range.first_column == range.last_column) {
                    use(own[static_cast<size_t>(range.first_row) * columns + first_column], key | FIRST_KEY);
                    continue;
                }
                for (int row = range.first_row; row <= range.last_row; ++row)
                    for (int column = range.first_column; column <= range.last_column; ++column) {
                        const int here = column < columns ? column : column - columns;
                        const bool is_marked = row == range.first_row && here == first_column;
                        use(own[static_cast<size_t>(row) * columns + here], is_marked ? key | FIRST_KEY : key);
                    }
            }
    };
    offsets.assign(all + 1, 0);
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(parts))
    for (size_t part = 0; part < parts; ++part) {
        std::fill_n(counts.get() + part * all, all, 0);
        each(part, [](size_t& place, uint64_t) { ++place; });
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
    auto entries = take_room<uint64_t>(sum);
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(parts))
    for (size_t part = 0; part < parts; ++part) each(part, [&](size_t& place, uint64_t entry) { entries[place++] = entry; });
    return entries;
}

// Fills the lists of the blocks from their entries, sorted by depth.
void SceneView::sort(uint64_t* entries, int threads) {
    lists = take_room<int32_t>(intersections());
    std::vector<size_t> others(blocks());
    Caught caught;
#pragma omp parallel num_threads(threads)
    {
        Room<uint64_t> room;
        size_t has = 0;
#pragma omp for schedule(dynamic)
        for (int index = 0; index < blocks(); ++index)
            caught.run([&] {
                const size_t begin = offsets[index], length = offsets[index + 1] - begin;
                if (has < length) room = take_room<uint64_t>(has = length);
                const uint64_t* sorted = sort_by_upper_half(entries + begin, room.get(), length);
                size_t unmarked = 0;
                for (size_t i = 0; i < length; ++i) {
                    const int32_t entry = static_cast<int32_t>(sorted[i]);
                    lists[begin + i] = entry;
                    unmarked += !is_first(entry);
                }
                others[index] = unmarked;
            });
    }
    caught.rethrow();
    other_offsets.assign(1, 0);
    for (size_t each : others) other_offsets.push_back(other_offsets.back() + each);
}

void SceneView::fill_visible(int64_t* ids_out, float* radii_out, float* weights_out, int threads) const {
    const size_t parts = parts_of(seen, SMALLEST_PART, threads);
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(parts))
    for (size_t part = 0; part < parts; ++part)
        for (size_t i = seen * part / parts; i < seen * (part + 1) / parts; ++i) {
            const size_t id = ids[i];
            if (i + AHEAD < seen) __builtin_prefetch(records.get() + static_cast<size_t>(ids[i + AHEAD]) * RECORD + W);
            ids_out[i] = ids[i], radii_out[i] = radius(ids[i]);
            for (int k = 0; weights_out && k < WEIGHTS; ++k) weights_out[k * seen + i] = weights[id * WEIGHTS + k];
        }
}

float SceneView::radius(int32_t id) const {
    const float* record = records.get() + static_cast<size_t>(id) * RECORD;
    if (view.lens.model == Model::PANORAMA || view.formula == Formula::SURFEL) return record[RADIUS];
    return std::sqrt(record[REACH] / std::min(record[W], record[NARROWING]));
}

Block SceneView::block(int index) const {
    const int left = index % columns * BLOCK_WIDTH, top = index / columns * BLOCK_HEIGHT;
    return {lists.get() + offsets[index], offsets[index + 1] - offsets[index], left, top, std::min(BLOCK_WIDTH, view.width - left),
            std::min(BLOCK_HEIGHT, view.height - top)};
}

// Calls work(block, where its rows go) for all blocks, and afterwards add(row, numbers) for what blocks have to add to the row of a
// splat, in their order. This goes in waves of blocks, so that memory does not grow with the splats that meet many blocks.
template <typename Work, typename Add>
void SceneView::sum_blocks(const BlockRows& layout, int threads, Work work, Add add) const {
    std::vector<int> waves{0};
    size_t most = 0;
    for (int index = 0; index < blocks(); ++index) {
        const size_t length = other_offsets[index + 1] - other_offsets[waves.back()];
        most = std::max(most, length);
        if (index + 1 == blocks() || (length >= seen / 2 && index + 1 - waves.back() >= FEWEST_BLOCKS)) waves.push_back(index + 1);
    }
    const auto other_rows = take_room<float>(most * layout.own);
    const auto other_ids = take_room<int32_t>(most);
    std::vector<size_t> others(blocks());
    Caught caught;
    for (size_t wave = 0; wave + 1 < waves.size(); ++wave) {
        const int first = waves[wave], last = waves[wave + 1];
        const size_t begin = other_offsets[first];
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (int index = first; index < last; ++index)
            caught.run([&] {
                BlockRows own = layout;
                own.other_rows = other_rows.get() + (other_offsets[index] - begin) * layout.own;
                own.other_ids = other_ids.get() + (other_offsets[index] - begin);
                work(index, own);
                others[index] = own.others;
            });
        caught.rethrow();
        // One thread adds all that a splat has.
        const int parts = static_cast<int>(parts_of(other_offsets[last] - begin, SMALLEST_PART, threads));
#pragma omp parallel for schedule(static) num_threads(parts)
        for (int part = 0; part < parts; ++part) {
            const int32_t from = static_cast<int32_t>(static_cast<int64_t>(count) * part / parts);
            const int32_t to = static_cast<int32_t>(static_cast<int64_t>(count) * (part + 1) / parts);
            for (int index = first; index < last; ++index) {
                const int32_t* own_ids = other_ids.get() + (other_offsets[index] - begin);
                const float* own_rows = other_rows.get() + (other_offsets[index] - begin) * layout.own;
                for (size_t i = 0; i < others[index]; ++i) {
                    if (i + AHEAD < others[index])
                        __builtin_prefetch(layout.rows + static_cast<size_t>(own_ids[i + AHEAD]) * layout.width, 1);
                    if (own_ids[i] >= from && own_ids[i] < to)
                        add(layout.rows + static_cast<size_t>(own_ids[i]) * layout.width, own_rows + i * layout.own);
                }
            }
        }
    }
}

void SceneView::forward(const SceneKernel& kernel, const float* background, float* color, float* transmittance, bool weighs,
                        int threads) {
    const size_t pixels = static_cast<size_t>(view.height) * view.width;
    Clock clock;
    if (weighs) weights = take_room<float>(static_cast<size_t>(count) * WEIGHTS);
    Caught caught;
    for (int first = 0; first < shown.channels; first += MAX_CHANNELS) {
        const Pass pass{first, std::min(MAX_CHANNELS, shown.channels - first), background + first};
        const Images images{color + first * pixels, transmittance};
        if (weighs && first == 0) {
            sum_blocks({weights.get(), WEIGHTS, WEIGHTS, 0, 0, 0, nullptr, nullptr, 0}, threads,
                       [&](int index, BlockRows& rows) { kernel.forward(shown, view, block(index), pass, images, &rows); },
                       [](float* to, const float* from) { to[0] += from[0], to[1] = std::max(to[1], from[1]), to[2] += from[2]; });
            continue;
        }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (int index = 0; index < blocks(); ++index)
            caught.run([&] { kernel.forward(shown, view, block(index), pass, images, nullptr); });
        caught.rethrow();
    }
    took.forward = clock.lap();
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
    const int tail = numbers_of(view.formula) + (absolute ? ABSOLUTES : 0), moment_count = moments_of(view.formula);
    const int width = moment_count + shown.channels + tail;
    const auto sums = take_room<float>(static_cast<size_t>(count) * width);
    std::fill_n(background_gradient, shown.channels, 0.0f);
    const auto backgrounds = take_room<float>(static_cast<size_t>(blocks()) * MAX_CHANNELS);
    const size_t counted_once = shown.channels > MAX_CHANNELS ? pixels : 0;
    const auto nothing = take_room<float>(counted_once);
    std::fill_n(nothing.get(), counted_once, 0.0f);
    for (int first = 0; first < shown.channels; first += MAX_CHANNELS) {
        const Pass pass{first, std::min(MAX_CHANNELS, shown.channels - first), background + first};
        const int own = moment_count + pass.channels + tail, place = moment_count + first;
        const ImageGradients part{images.color + first * pixels, images.transmittance, images.by_color + first * pixels,
                                  first == 0 ? images.by_transmittance : nothing.get()};
        sum_blocks({sums.get(), width, own, moment_count, place, tail, nullptr, nullptr, 0}, threads,
                   [&](int index, BlockRows& rows) {
                       kernel.backward(shown, view, block(index), pass, part, absolute, rows,
                                       backgrounds.get() + static_cast<size_t>(index) * MAX_CHANNELS);
                   },
                   [=](float* to, const float* from) {
                       for (int i = 0; i < moment_count; ++i) to[i] += from[i];
                       for (int i = moment_count; i < own - tail; ++i) to[place - moment_count + i] += from[i];
                       for (int i = 1; i <= tail; ++i) to[width - i] += from[own - i];
                   });
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
        SourceGradients own = out;
        if (out.means2d) own.means2d += 2 * static_cast<size_t>(first);
        if (out.absolute) own.absolute += 2 * static_cast<size_t>(first);
        kernel.project_backward(source, given, shown, ids.get() + first, length, sums.get(), width, absolute, unseen, own,
                                camera ? parts.data() + static_cast<size_t>(task) * CAMERA_SUMS : nullptr);
    }
    took.project_backward = clock.lap();
    if (!camera) return;
    std::fill_n(camera, CAMERA_SUMS, 0.0);
    for (int task = 0; task < tasks; ++task)
        for (int i = 0; i < CAMERA_SUMS; ++i) camera[i] += parts[static_cast<size_t>(task) * CAMERA_SUMS + i];
}

}  // namespace splat
