// A stable sort of keys by their upper 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splat {

// Sorts keys [count] by way of `room` [count]; returns the one of the two that holds the result.
uint64_t* sort_by_upper_half(uint64_t* keys, uint64_t* room, size_t count);

}  // namespace splat
