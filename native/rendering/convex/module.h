// What Python sees of convexes.
#pragma once

#include <nanobind/nanobind.h>

#include "../../common/instruction_sets.h"
#include "../kernel.h"

void bind_convexes(nanobind::module_& m, const InstructionSets<splat::Kernel>& active);
