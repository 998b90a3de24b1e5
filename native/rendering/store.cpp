#include "store.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "../common/caught.h"

namespace splat {
namespace {

constexpr std::size_t LINE = 64;                 // bytes of a line of the cache; before the memory stands its size
constexpr std::size_t HUGE_PAGE = 2u << 20;
constexpr std::size_t SMALLEST_KEPT = 64u << 10;  // what is smaller, malloc keeps
constexpr std::size_t MOST_KEPT = 24;            // arrays; two views hold fewer

struct Header {
    std::size_t bytes;
};

struct Store {
    std::mutex mutex;
    std::vector<Header*> kept;  // oldest first
};

// Never destroyed: Python may return memory after static objects are gone.
Store& store() {
    static Store* const one = new Store;
    return *one;
}

void* memory_of(Header* header) { return reinterpret_cast<char*>(header) + LINE; }

Header* header_of(void* memory) { return reinterpret_cast<Header*>(static_cast<char*>(memory) - LINE); }

Header* allocate(std::size_t bytes) {
    const bool is_huge = bytes >= 2 * HUGE_PAGE;
    const std::size_t alignment = is_huge ? HUGE_PAGE : LINE;
    const std::size_t rounded = (bytes + LINE + alignment - 1) / alignment * alignment;
    void* memory = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
    if (!memory) return nullptr;
#ifdef __linux__
    // Lists name records in any order: with small pages most of the time would go to finding the pages.
    if (is_huge) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    Header* header = static_cast<Header*>(memory);
    header->bytes = rounded - LINE;
    return header;
}

}  // namespace

void* take_memory(std::size_t bytes) {
    {
        const std::lock_guard<std::mutex> lock(store().mutex);
        auto& kept = store().kept;
        auto best = kept.end();
        for (auto each = kept.begin(); each != kept.end(); ++each)
            if ((*each)->bytes >= bytes && (*each)->bytes / 2 <= bytes && (best == kept.end() || (*each)->bytes < (*best)->bytes))
                best = each;
        if (best != kept.end()) {
            Header* found = *best;
            kept.erase(best);
            return memory_of(found);
        }
    }
    Header* made = allocate(bytes);
    if (!made && free_kept_memory()) made = allocate(bytes);
    if (!made) throw OutOfMemory();
    return memory_of(made);
}

std::size_t free_kept_memory() {
    std::vector<Header*> freed;
    {
        const std::lock_guard<std::mutex> lock(store().mutex);
        freed.swap(store().kept);
    }
    std::size_t bytes = 0;
    for (Header* each : freed) {
        bytes += each->bytes;
        std::free(each);
    }
    return bytes;
}

void Returned::operator()(void* memory) const {
    if (!memory) return;
    Header* header = header_of(memory);
    if (header->bytes >= SMALLEST_KEPT) {
        const std::lock_guard<std::mutex> lock(store().mutex);
        auto& kept = store().kept;
        try {
            kept.push_back(header);
            header = nullptr;
        } catch (const std::bad_alloc&) {
        }
        if (kept.size() > MOST_KEPT) {
            header = kept.front();
            kept.erase(kept.begin());
        }
    }
    std::free(header);
}

}  // namespace splat
