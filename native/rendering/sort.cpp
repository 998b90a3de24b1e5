// Least significant digit first, three digits of 11 bits. A stable sort has one result, whatever the number of threads.
#include "sort.h"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "../common/caught.h"

namespace splat {
namespace {

constexpr int BITS = 11, DIGITS = 1 << BITS;
constexpr size_t SMALLEST_PART = 1 << 14;  // keys that are worth a thread

}  // namespace

uint64_t* sort_by_upper_half(uint64_t* keys, uint64_t* room, size_t count, int threads) {
    const size_t parts = std::clamp<size_t>(count / SMALLEST_PART, 1, std::max(1, threads));
    const auto counts = room_for<size_t>(parts * DIGITS);
    const auto first_of = [&](size_t part) { return count * part / parts; };
    for (int shift = 32; shift < 64; shift += BITS) {
        const auto digit = [shift](uint64_t key) { return static_cast<size_t>(key >> shift) & (DIGITS - 1); };
        bool is_one_digit = false;
#pragma omp parallel num_threads(static_cast<int>(parts))
        {
            // A runtime may give fewer threads than parts.
#pragma omp for schedule(static)
            for (size_t part = 0; part < parts; ++part) {
                size_t* own = counts.get() + part * DIGITS;
                std::fill_n(own, DIGITS, 0);
                for (size_t i = first_of(part); i < first_of(part + 1); ++i) ++own[digit(keys[i])];
            }
#pragma omp single
            {
                size_t sum = 0;
                for (size_t d = 0; d < DIGITS; ++d) {
                    const size_t before = sum;
                    for (size_t part = 0; part < parts; ++part) {
                        const size_t here = counts[part * DIGITS + d];
                        counts[part * DIGITS + d] = sum;
                        sum += here;
                    }
                    is_one_digit = is_one_digit || (sum - before == count);
                }
            }
            if (!is_one_digit) {
#pragma omp for schedule(static)
                for (size_t part = 0; part < parts; ++part) {
                    size_t* own = counts.get() + part * DIGITS;
                    for (size_t i = first_of(part); i < first_of(part + 1); ++i) room[own[digit(keys[i])]++] = keys[i];
                }
            }
        }
        if (!is_one_digit) std::swap(keys, room);
    }
    return keys;
}

}  // namespace splat
