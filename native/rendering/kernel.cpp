// The kernel of one instruction set: this file is compiled once for each. Tiles are one vector of LANES pixels wide and TILE rows
// high, and walk their splats near to far.
#include "kernel.h"

#include "kernel/backward.h"
#include "kernel/forward.h"
#include "kernel/prepare.h"

namespace splat {

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)
const Kernel JOIN(KERNEL, _kernel) = {TEXT(KERNEL), prepare, forward, backward};

}  // namespace splat
