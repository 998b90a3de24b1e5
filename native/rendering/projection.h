// Projection of one image's Gaussians to splats sorted near to far, and back: splatlearn/rendering/backends/torch/project.py, fused.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splat {

constexpr float EPS2D = 0.3f;  // splatlearn/rendering/formula.py has the same, and a test compares them

enum class Model { PINHOLE, ORTHOGRAPHIC, GMAE, PANORAMA };

struct Lens {
    Model model;
    float fx, fy, cx, cy, near;       // of a panorama, fx = fy is the focal length of tangent planes
    float limit_x, limit_y;           // of the tangents at which the perspective Jacobian is taken
    float eps2d = EPS2D;                // variance that is added to both axes, in px² of the picture that is rendered
    bool compensates = false;           // opacities make up for it: the filter "mip"
    float longitude = 0, latitude = 0;  // pixels per radian of a panorama's picture
    float full_turn() const { return 6.28318530717958648f * longitude; }  // pixels
    bool centers_shrink() const { return model == Model::PINHOLE || model == Model::PANORAMA; }
};

// One image's Gaussians and what turns the world to its camera, as they come from PyTorch: row-major, contiguous.
struct Cloud {
    const float* means;        // [count, 3]
    const float* scales;       // [count, 3]
    const float* quaternions;  // [count, 4]
    const float* colors;       // [count, channels]
    const float* opacities;    // [count]
    const float* view;         // [4, 4]
    int count, channels;
};

// Sorted near to far; order[k] is the place in the cloud of the k-th splat.
struct Sorted {
    float *means2d, *conics, *depths, *colors, *opacities;
    int32_t* order;
};

struct SortedGradients {
    const float *means2d, *conics, *depths, *colors, *opacities;
    const int32_t* order;
};

struct CloudGradients {
    float *means, *scales, *quaternions, *colors, *opacities;
};

void project(const Cloud& cloud, const Lens& lens, const Sorted& out);
// Does not read the cloud's colours, on which no gradient depends, and its opacities only if the lens compensates.
void project_backward(const Cloud& cloud, const Lens& lens, const SortedGradients& in, const CloudGradients& out);

}  // namespace splat
