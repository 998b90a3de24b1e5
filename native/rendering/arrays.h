// Arrays as Python hands them over: contiguous, on the CPU.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace splat {

template <int D>
using Input = nanobind::ndarray<const float, nanobind::ndim<D>, nanobind::c_contig, nanobind::device::cpu>;
template <int D>
using Output = nanobind::ndarray<float, nanobind::ndim<D>, nanobind::c_contig, nanobind::device::cpu>;

}  // namespace splat
