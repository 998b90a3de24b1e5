// Denormal numbers read and written as 0 while an object lives, in the thread that made it; its earlier mode returns afterwards.
//
// Numbers that decay step by step, such as an optimiser's moments, would end in denormals, which processors compute a hundred
// times more slowly. Processors without such a mode compute with denormals.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace splat {

class DenormalsAreZero {
public:
    DenormalsAreZero() : before(read()) { write(before | FLUSH); }
    ~DenormalsAreZero() { write(before); }
    DenormalsAreZero(const DenormalsAreZero&) = delete;
    DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

private:
#if defined(__SSE2__)
    using Mode = unsigned int;
    static constexpr Mode FLUSH = 0x8040;  // results (FTZ) and operands (DAZ)
    static Mode read() { return _mm_getcsr(); }
    static void write(Mode mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
    using Mode = uint64_t;
    static constexpr Mode FLUSH = 1u << 24;  // FZ: results and operands
    static Mode read() {
        Mode mode;
        __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
        return mode;
    }
    static void write(Mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
    using Mode = int;
    static constexpr Mode FLUSH = 0;
    static Mode read() { return 0; }
    static void write(Mode) {}
#endif

    const Mode before;
};

}  // namespace splat
