// Which of the instruction sets that something was compiled for are used on this processor: the one place for all extensions.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "tables.h"

// True for the baseline and for what the processor has.
inline bool is_usable(const std::string& name) {
#ifdef SPLAT_X86
    __builtin_cpu_init();
    if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (name == "avx512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl");
#endif
    return name == "baseline";
}

// One table for each usable instruction set, slowest first. `Table` has a `name`.
template <typename Table>
class InstructionSets {
  public:
    InstructionSets(std::initializer_list<const Table*> all) {
        for (const Table* table : all)
            if (is_usable(table->name)) usable.push_back(table);
        active = usable.back();
        // PyTorch's variable, so that one setting limits PyTorch's kernels and these.
        if (const char* limit = std::getenv("ATEN_CPU_CAPABILITY"))
            for (const Table* table : usable)
                if (name_of(limit) == table->name) active = table;
    }

    const Table* operator->() const { return active; }

    std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const Table* table : usable) found.emplace_back(table->name);
        return found;
    }

    // Raises std::invalid_argument, which Python sees as a ValueError, for a set that is not usable.
    void use(const std::string& name) {
        for (const Table* table : usable)
            if (name == table->name) {
                active = table;
                return;
            }
        throw std::invalid_argument("instruction set: this processor has no " + name);
    }

  private:
    static std::string name_of(const std::string& capability) { return capability == "default" ? "baseline" : capability; }

    std::vector<const Table*> usable;
    const Table* active;
};

// The functions by which Python reads and chooses the instruction set.
template <typename Table>
void bind_instruction_sets(nanobind::module_& m, InstructionSets<Table>& active) {
    m.def("instruction_sets", [&active] { return active.names(); });
    m.def("instruction_set", [&active] { return std::string(active->name); });
    m.def("use_instruction_set", [&active](const std::string& name) { active.use(name); }, nanobind::arg("name"));
}
