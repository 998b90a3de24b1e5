// A camera's lens as Python hands it over.
#pragma once

#include <nanobind/nanobind.h>

#include <cmath>
#include <string>
#include <vector>

#include "projection.h"

namespace splat {

// The names are those of the camera models in splatlearn/core/cameras/models.py.
inline Model model_of(const std::string& name) {
    if (name == "pinhole") return Model::PINHOLE;
    if (name == "orthographic") return Model::ORTHOGRAPHIC;
    if (name == "gmae") return Model::GMAE;
    if (name == "panorama") return Model::PANORAMA;
    const std::string known = "camera: the compiled kernels know the models pinhole, orthographic, gmae and panorama, got ";
    throw nanobind::value_error((known + name).c_str());
}

// `numbers` are fx, fy, cx, cy, near, limit_x, limit_y; eps2d unless it is EPS2D; and after it 1 if opacities make up for it.
inline Lens lens_of(const std::string& model, const std::vector<float>& numbers) {
    if (numbers.size() < 7 || numbers.size() > 9) throw nanobind::value_error("lens: expected 7 to 9 numbers");
    const float eps2d = numbers.size() > 7 ? numbers[7] : EPS2D;
    Lens lens{model_of(model), numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], eps2d,
              numbers.size() == 9 && numbers[8] != 0.0f};
    if (lens.model == Model::PANORAMA) {
        lens.longitude = lens.fx, lens.latitude = lens.fy;
        lens.fx = lens.fy = std::sqrt(lens.longitude * lens.latitude);
    }
    return lens;
}

// Of a camera whose picture is a part of a plane, on which splats can lie.
inline Lens plane_lens_of(const std::string& model, const std::vector<float>& numbers) {
    const Lens lens = lens_of(model, numbers);
    if (lens.model == Model::PANORAMA) throw nanobind::value_error("camera: panoramas are rendered in one step, as scenes are");
    return lens;
}

}  // namespace splat
