// Sums of the splats of a block's list that are at hand, and where they go.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "../scene.h"

namespace splat {
namespace {

// A row of sums for each splat of a chunk. OWN: numbers of a row if known.
template <int OWN>
class ChunkRows {
  public:
    explicit ChunkRows(BlockRows& out) : out(out), values(new float[CHUNK * (OWN ? OWN : out.own)]) { out.others = 0; }

    float* of(int splat) const { return values.get() + splat * own(); }

    void begin(int count) const { std::fill_n(values.get(), count * own(), 0.0f); }

    // Brings the row that `end` may write to the cache.
    void prefetch(int32_t entry) const {
        __builtin_prefetch(row(entry), 1);
        __builtin_prefetch(row(entry) + out.width - 1, 1);
    }

    void end(const int32_t* list, int count) const {
        for (int i = 0; i < count; ++i) {
            if (is_first(list[i])) {
                write(row(list[i]), of(i));
            } else {
                std::memcpy(out.other_rows + out.others * own(), of(i), sizeof(float) * own());
                out.other_ids[out.others++] = list[i];
            }
        }
    }

    // For splats that no pixel sees any more.
    void skip(const int32_t* list, size_t count) const {
        std::fill_n(values.get(), own(), 0.0f);
        for (size_t i = 0; i < count; ++i)
            if (is_first(list[i])) write(row(list[i]), values.get());
    }

  private:
    int own() const { return OWN ? OWN : out.own; }
    float* row(int32_t entry) const { return out.rows + static_cast<size_t>(id_of(entry)) * out.width; }
    void write(float* to, const float* from) const {
        if (out.width == own()) {
            std::memcpy(to, from, sizeof(float) * own());
            return;
        }
        const bool is_first_pass = out.place == out.shared;
        const auto sum = [&](float* sums, const float* numbers, int count) {
            for (int i = 0; i < count; ++i) sums[i] = is_first_pass ? numbers[i] : sums[i] + numbers[i];
        };
        sum(to, from, out.shared);
        std::memcpy(to + out.place, from + out.shared, sizeof(float) * (own() - out.shared - out.tail));
        sum(to + out.width - out.tail, from + own() - out.tail, out.tail);
    }

    BlockRows& out;
    std::unique_ptr<float[]> values;
};

// Where nothing is summed.
struct NoRows {
    void begin(int) const {}
    void prefetch(int32_t) const {}
    void end(const int32_t*, int) const {}
    void skip(const int32_t*, size_t) const {}
};

}  // namespace
}  // namespace splat
