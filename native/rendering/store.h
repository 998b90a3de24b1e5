// Memory for large arrays, kept for the next call: fresh pages cost as much as blending does.
#pragma once

#include <cstddef>
#include <memory>

namespace splat {

// Returns memory to the store.
struct Returned {
    void operator()(void* memory) const;
};

// An array that is not filled, at the start of a line of the cache.
template <typename T>
using Room = std::unique_ptr<T[], Returned>;

// At least `bytes`; throws OutOfMemory. Thread-safe.
void* take_memory(std::size_t bytes);

// Frees what is kept; returns the number of bytes.
std::size_t free_kept_memory();

template <typename T>
Room<T> take_room(std::size_t count) {
    return Room<T>(static_cast<T*>(take_memory(count * sizeof(T))));
}

}  // namespace splat
