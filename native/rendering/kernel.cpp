// The kernel of one instruction set: this file is compiled once for each. Tiles are one vector of LANES pixels wide and TILE rows
// high, and walk their splats near to far.
#include "kernel.h"

#include "kernel/backward.h"
#include "kernel/forward.h"
#include "kernel/prepare.h"
#include "scene.h"

namespace splat {

const Kernel TABLE(_kernel) = {SET_NAME, prepare, forward, backward, &TABLE(_scenes)};

}  // namespace splat
