// One Gaussian at a time, in the arithmetic of the specification (backends/torch/project.py); the backward pass recomputes what it needs.
#include "gaussian.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace splat {
namespace {

// Near to far, equal depths in the order they came, NaN last.
void sort_by_depth(const Cloud& cloud, const Pose& pose, int32_t* order) {
    std::vector<uint64_t> keys(cloud.count);
    for (int i = 0; i < cloud.count; ++i) {
        const float depth = pose.apply(load_vector(cloud.means + 3 * i)).z + 0.0f;  // -0 becomes 0
        uint32_t bits;
        std::memcpy(&bits, &depth, sizeof bits);
        // Unsigned integers in the order of the floats; the place behind them keeps ties apart.
        bits = std::isnan(depth) ? ~0u : bits >> 31 ? ~bits : bits | 0x80000000u;
        keys[i] = static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(i);
    }
    std::sort(keys.begin(), keys.end());
    for (int k = 0; k < cloud.count; ++k) order[k] = static_cast<int32_t>(keys[k] & 0xffffffffu);
}

Placed<float> placed_of(const Cloud& cloud, const Pose& pose, const Lens& lens, int i) {
    const float* q = cloud.quaternions + 4 * i;
    return {pose.apply(load_vector(cloud.means + 3 * i)), load_vector(cloud.scales + 3 * i), {q[0], q[1], q[2], q[3]}, pose, lens};
}

}  // namespace

void project(const Cloud& cloud, const Lens& lens, const Sorted& out) {
    const Pose pose(cloud.view);
    sort_by_depth(cloud, pose, out.order);
    for (int k = 0; k < cloud.count; ++k) {
        const int i = out.order[k];
        const Placed<float> placed = placed_of(cloud, pose, lens, i);
        out.means2d[2 * k] = placed.mean_x(lens);
        out.means2d[2 * k + 1] = placed.mean_y(lens);
        const Conic<float> conic(placed.m1, placed.m2, lens.eps2d);
        store_vector(out.conics + 3 * k, {conic.a, conic.b, conic.c});
        out.depths[k] = placed.point.z;
        const float opacity = lens.compensates ? cloud.opacities[i] * conic.compensation() : cloud.opacities[i];
        out.opacities[k] = placed.drawn ? opacity : 0.0f;
        std::copy_n(cloud.colors + static_cast<size_t>(i) * cloud.channels, cloud.channels,
                    out.colors + static_cast<size_t>(k) * cloud.channels);
    }
}

void project_backward(const Cloud& cloud, const Lens& lens, const SortedGradients& in, const CloudGradients& out) {
    const Pose pose(cloud.view);
    for (int k = 0; k < cloud.count; ++k) {
        const int i = in.order[k];
        const Placed<float> placed = placed_of(cloud, pose, lens, i);
        float by_opacity = placed.drawn ? in.opacities[k] : 0.0f, by_log = 0.0f;
        if (lens.compensates) {
            by_opacity *= Conic<float>(placed.m1, placed.m2, lens.eps2d).compensation();
            by_log = by_opacity * cloud.opacities[i];
        }
        const PlacedGradients<float> by = backward_of(placed, lens, in.means2d[2 * k], in.means2d[2 * k + 1],
                                                      load_vector(in.conics + 3 * k), in.depths[k], lens.compensates ? &by_log : nullptr);
        store_vector(out.means + 3 * i, pose.back(by.point));
        store_vector(out.scales + 3 * i, by.scales);
        const Quaternion<float> q = placed.rotation.backward(pose.back(by.axes));
        float* quaternion = out.quaternions + 4 * i;
        quaternion[0] = q.w, quaternion[1] = q.x, quaternion[2] = q.y, quaternion[3] = q.z;
        out.opacities[i] = by_opacity;
        std::copy_n(in.colors + static_cast<size_t>(k) * cloud.channels, cloud.channels,
                    out.colors + static_cast<size_t>(i) * cloud.channels);
    }
}

}  // namespace splat
