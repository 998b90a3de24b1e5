// Least significant digit first, in as many passes as there are digits that differ.
#include "sort.h"

#include <utility>

namespace splat {
namespace {

constexpr size_t FEW = 32, MANY = 4096;  // keys that are inserted one by one; keys that are worth long digits

void insert_each(uint64_t* keys, size_t count) {
    for (size_t i = 1; i < count; ++i) {
        const uint64_t key = keys[i];
        size_t place = i;
        for (; place && keys[place - 1] >> 32 > key >> 32; --place) keys[place] = keys[place - 1];
        keys[place] = key;
    }
}

template <int BITS>
uint64_t* sort_by_digits(uint64_t* keys, uint64_t* room, size_t count) {
    constexpr int DIGITS = 1 << BITS, PASSES = (32 + BITS - 1) / BITS;
    const auto digit = [](uint64_t key, int pass) { return static_cast<size_t>(key >> (32 + pass * BITS)) & (DIGITS - 1); };
    uint32_t counts[PASSES][DIGITS] = {};
    for (size_t i = 0; i < count; ++i)
        for (int pass = 0; pass < PASSES; ++pass) ++counts[pass][digit(keys[i], pass)];
    for (int pass = 0; pass < PASSES; ++pass) {
        uint32_t* places = counts[pass];
        if (places[digit(keys[0], pass)] == count) continue;
        uint32_t sum = 0;
        for (int d = 0; d < DIGITS; ++d) {
            const uint32_t here = places[d];
            places[d] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; ++i) room[places[digit(keys[i], pass)]++] = keys[i];
        std::swap(keys, room);
    }
    return keys;
}

}  // namespace

uint64_t* sort_by_upper_half(uint64_t* keys, uint64_t* room, size_t count) {
    if (count > FEW) return count < MANY ? sort_by_digits<8>(keys, room, count) : sort_by_digits<11>(keys, room, count);
    insert_each(keys, count);
    return keys;
}

}  // namespace splat
