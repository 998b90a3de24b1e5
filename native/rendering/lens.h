// A camera's lens as Python hands it over.
#pragma once

#include <nanobind/nanobind.h>

#include <string>
#include <vector>

#include "projection.h"

namespace splat {

// The names are those of the camera models in splatlearn/core/cameras/models.py.
inline Model model_of(const std::string& name) {
    if (name == "pinhole") return Model::PINHOLE;
    if (name == "orthographic") return Model::ORTHOGRAPHIC;
    if (name == "gmae") return Model::GMAE;
    const std::string known = "camera: the compiled projection knows the models pinhole, orthographic and gmae, got ";
    throw nanobind::value_error((known + name).c_str());
}

// `numbers` are fx, fy, cx, cy, near, limit_x, limit_y, and eps2d unless it is EPS2D.
inline Lens lens_of(const std::string& model, const std::vector<float>& numbers) {
    if (numbers.size() != 7 && numbers.size() != 8) throw nanobind::value_error("lens: expected 7 or 8 numbers");
    const float eps2d = numbers.size() == 8 ? numbers[7] : EPS2D;
    return {model_of(model), numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], eps2d};
}

}  // namespace splat
