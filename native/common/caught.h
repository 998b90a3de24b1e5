// Exceptions of parallel regions, which none may leave: the first is kept and thrown again behind the region.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <new>

namespace splat {

// Python's MemoryError with this text.
struct OutOfMemory : std::bad_alloc {
    const char* what() const noexcept override {
        return "not enough memory for these images and Gaussians or tokens; take fewer at a time";
    }
};

class Caught {
public:
    // Runs `work` unless an earlier one has failed.
    template <typename Work>
    void run(Work&& work) noexcept {
        if (failed.load(std::memory_order_relaxed)) return;
        try {
            work();
        } catch (...) {
            if (!failed.exchange(true)) first = std::current_exception();
        }
    }

    // Outside of the region, whose end orders `first` before this.
    void rethrow() const {
        if (!first) return;
        try {
            std::rethrow_exception(first);
        } catch (const std::bad_alloc&) {
            throw OutOfMemory();
        }
    }

private:
    std::atomic<bool> failed{false};
    std::exception_ptr first;
};

// An array that is not filled.
template <typename T>
std::unique_ptr<T[]> room_for(std::size_t count) {
    std::unique_ptr<T[]> array;
    Caught caught;
    caught.run([&] { array.reset(new T[count]); });
    caught.rethrow();
    return array;
}

}  // namespace splat
