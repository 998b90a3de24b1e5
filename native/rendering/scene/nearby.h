// The part of a block's list that is at hand, and the strips of pixels in which its splats are seen.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "../kernel/alpha.h"
#include "../scene.h"

namespace splat {
namespace {

constexpr int COLUMNS = BLOCK_WIDTH / LANES;
constexpr int AHEAD = CHUNK / 4;    // entries of a list between a prefetch and its use
constexpr int STRIPS = 16;        // that begin together, at least
constexpr int ROWS_UNSEEN = 512;  // rows of strips after which to look again what is opaque
constexpr int CELL_ROWS = 4;      // rows of a column that are opaque together, or not
constexpr uint32_t EVERY_CELL = ~0u >> 1;
static_assert(BLOCK_HEIGHT / CELL_ROWS < 31, "a bit for each cell of a column");

// The recurrence of a strip of n rows starts at an exponent above −FLUSH if a lane is seen in any of its rows: power is a square of
// distance, at most (√8 + (n − 1)√c)² at the first row where the curvature down the rows is c, in log2 units per row². Strips of
// splats with more curvature than NARROWEST are short anyway, and their power is computed anew in each row. With EPS2D none has so
// much. Between the first two rows power changes by less than 20√c < STEEPEST.
constexpr float LONGEST = 7.1f;    // rows of a strip less one, times √c
constexpr float NARROWEST = 6.0f;
constexpr int FEWEST_ROWS = 3;  // of a strip that goes on, by both
static_assert(LONGEST * LONGEST >= (FEWEST_ROWS - 1) * (FEWEST_ROWS - 1) * NARROWEST, "as many rows are close enough");

// Pixels of a column of a block in which a splat is seen: rows [first, last). If the splat's path is RECURRENCE, it need not start
// anew within them.
struct Strip {
    int32_t splat, first, last;
};

// For each byte the places of its bits that are set, lowest first, as bytes.
struct BitPlaces {
    uint64_t of[256] = {};
    constexpr BitPlaces() {
        for (int byte = 0; byte < 256; ++byte)
            for (int bit = 0, count = 0; bit < 8; ++bit)
                if (byte >> bit & 1) of[byte] |= static_cast<uint64_t>(bit) << 8 * count++;
    }
};
constexpr BitPlaces BIT_PLACES;

// The part of a block's list that is at hand, as the kernel takes it.
struct Nearby {
    Prepared splats;
    std::unique_ptr<float[]> colors{new float[CHUNK * MAX_CHANNELS]};  // channel by channel
    Strip strips[STRIPS + BLOCK_HEIGHT / FEWEST_ROWS];
    Column columns[STRIPS + BLOCK_HEIGHT / FEWEST_ROWS];  // where the recurrences of strips begin
    int length = 0;                                          // of both

    int32_t first_rows[CHUNK], last_rows[CHUNK];  // in which splats are seen in a column
    uint8_t seen[CHUNK + 8];                      // places of the splats that are
    static_assert(CHUNK <= 256, "a place is a byte");

    Nearby() { splats.allocate(CHUNK); }

    float* color_of(int channel) const { return colors.get() + channel * CHUNK; }

    // Whether records may have all colours of a pass of as many channels.
    static constexpr bool is_short(int channels) { return channels == 3 || channels == 4; }

    // C: channels of the pass if known. RECURS: whether α has a recurrence. `left` entries of the list follow, which are prefetched, and
    // so are the `rows` of those taken.
    template <int C, bool RECURS, typename Rows>
    void take(const Shown& shown, const int32_t* list, int count, size_t left, const Pass& pass, const Rows& rows) {
        const int channels = C ? C : pass.channels;
        const bool has_all = is_short(C) && shown.has_short_records;
        const auto arrays = splats.arrays();
        splats.count = count;
        for (int i = 0; i < count; i += LANES) {
            vfloat fields[RECORD];
            for (int lane = 0; lane < LANES; ++lane) {
                const size_t ahead = i + lane + AHEAD;
                if (ahead < left) {
                    const size_t later = id_of(list[ahead]);
                    __builtin_prefetch(shown.records + later * RECORD);
                    if (!has_all) __builtin_prefetch(shown.colors + later * shown.channels + pass.first);
                }
                const int32_t entry = list[std::min(i + lane, count - 1)];
                rows.prefetch(entry);
                const size_t id = id_of(entry);
                for (int part = 0; part < RECORD; part += LANES) fields[part + lane] = load(shown.records + id * RECORD + part);
            }
            for (int part = 0; part < RECORD; part += LANES) turn(fields + part);
            if (has_all) {
                store(color_of(0) + i, fields[RED]), store(color_of(1) + i, fields[GREEN]), store(color_of(2) + i, fields[BLUE]);
                if (C > 3) store(color_of(3) + i, fields[DEPTH]);
            }
            for (size_t j = 0; j < arrays.size(); ++j) store(arrays[j] + i, fields[j]);
            store(splats.extent_y + i, root(fields[REACH] / fields[W]));
            const vfloat flatness = fields[FLATNESS], most = spread(BLOCK_HEIGHT);
            const vint is_recurrent = RECURS ? flatness >= 1.0f / NARROWEST : vint{};
            const vint path = choose(is_recurrent, spread_whole(RECURRENCE), spread_whole(DIRECT));
            const vint longest = whole(select(is_recurrent, smaller(LONGEST * root(flatness) + 1.0f, most), most));
            std::memcpy(&splats.path[i], &path, sizeof path);
            std::memcpy(&splats.block[i], &longest, sizeof longest);
        }
        for (int i = 0; !has_all && i < count; ++i) {
            const float* from = shown.colors + static_cast<size_t>(id_of(list[i])) * shown.channels + pass.first;
            for (int c = 0; c < channels; ++c) color_of(c)[i] = from[c];
        }
    }

    // Finds the strips of a column of pixels, near to far, and calls use() with some of them at a time in `strips`. `left` and `top`
    // are the centre of the column's first pixel. Bits of `open` are cells that are not opaque. use() returns these anew, and 0 ends
    // the search; the function returns them as they are then.
    template <bool RECURS, typename Use>
    uint32_t each_strip(float left, float top, int height, uint32_t open, Use use) {
        const int count = find_seen(left, top, height);
        for (int k = 0; k < count; ++k) {
            const int splat = seen[k], first = first_rows[splat], last = last_rows[splat], longest = splats.block[splat];
            // Cells at both ends that are opaque are left out.
            const uint32_t until = (1u << ((last + CELL_ROWS - 1) / CELL_ROWS)) - 1;
            const uint32_t cells = open & until & (~0u << (first / CELL_ROWS));
            const int end = std::min(last, (32 - __builtin_clz(cells | 1u)) * CELL_ROWS);
            // If no cell is left, the row is beyond the end. What has no rows is written, and written over: a branch would be
            // foreseen badly.
            int row = std::max(first, __builtin_ctz(cells | 1u << 31) * CELL_ROWS);
            const auto add = [&] {
                strips[length] = {splat, row, std::min(row + longest, end)};
                length += row < end;
                row += longest;
            };
            add();
            add();
            while (row < end) add();
            if (length < STRIPS) continue;
            open = finish<RECURS>(left, top, use);
            if (!open) return 0;
        }
        return length ? finish<RECURS>(left, top, use) : open;
    }

  private:
    // Fills `seen` and the rows of each; returns their number.
    int find_seen(float left, float top, int height) {
        const vfloat bottom = spread(static_cast<float>(height));
        int found = 0;
        for (int i = 0; i < splats.count; i += LANES) {
            const vfloat from = left - load(splats.x + i);
            const RowSpans rows = rows_seen(splats, i, from, from + (LANES - 1.0f), top, bottom);
            std::memcpy(first_rows + i, &rows.first, sizeof rows.first);
            std::memcpy(last_rows + i, &rows.last, sizeof rows.last);
            unsigned here = lane_bits(rows.somewhere);
            if (splats.count - i < LANES) here &= (1u << (splats.count - i)) - 1;
            for (int first = 0; first < LANES; first += 8, here >>= 8) {
                const uint64_t places = BIT_PLACES.of[here & 255] + (i + first) * 0x0101010101010101u;
                for (int k = 0; k < 8; ++k) seen[found + k] = static_cast<uint8_t>(places >> 8 * k);
                found += __builtin_popcount(here & 255);
            }
        }
        return found;
    }

    // Starts the strips together: several exponentials are under way at once, and none waits for the end of a walk.
    template <bool RECURS, typename Use>
    uint32_t finish(float left, float top, Use use) {
        for (int n = 0; RECURS && n < length; ++n) {
            const int i = strips[n].splat;
            columns[n] = column_at(splats, i, lane_distances(splats, i, left), top - splats.y[i] + strips[n].first);
        }
        const uint32_t open = use();
        length = 0;
        return open;
    }
};

}  // namespace
}  // namespace splat
