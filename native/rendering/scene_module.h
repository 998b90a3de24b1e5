// What Python sees of scenes.
#pragma once

#include <nanobind/nanobind.h>

#include "../common/instruction_sets.h"
#include "kernel.h"

void bind_scenes(nanobind::module_& m, const InstructionSets<splat::Kernel>& active);
