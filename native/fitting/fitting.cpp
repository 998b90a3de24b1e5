// The loss and the optimiser of one instruction set: this file is compiled once for each.
#include "fitting.h"

#include "adam.h"
#include "photometric.h"

namespace fitting {

const Fitting TABLE(_fitting) = {SET_NAME, sizeof(Scratch), strip, adam};

}  // namespace fitting
