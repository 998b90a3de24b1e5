// One view of a scene: its visible Gaussians, sorted and binned, kept from the forward to the backward pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "scene.h"
#include "store.h"

namespace splat {

// Seconds that the steps of a view took: project, sort, bin, forward; and of its backward pass: blend, project.
struct StepSeconds {
    double project = 0.0, sort = 0.0, bin = 0.0, forward = 0.0, backward = 0.0, project_backward = 0.0;
};

class SceneView {
  public:
    // Projects, sorts and bins. Nothing of `source` is kept; `view` is, but for what its pointers name.
    SceneView(const SceneKernel& kernel, const Source& source, const View& view, int threads);

    // color [channels, H, W], transmittance [H, W], background [channels]; whether to keep the weights of what is visible.
    void forward(const SceneKernel& kernel, const float* background, float* color, float* transmittance, bool weighs, int threads);

    // median [H, W]: depths at which half of the light is left, 0 where more is; of a view with one channel of depths.
    void median(const SceneKernel& kernel, float* out, int threads) const;

    // Writes the gradients if this is the first view, and adds to them if it is not; background_gradient [channels] and
    // camera [CAMERA_SUMS], or null, are written.
    void backward(const SceneKernel& kernel, const Source& source, const View& view, const float* background,
                  const ImageGradients& images, const SourceGradients& out, bool is_first_view, float* background_gradient,
                  double* camera, int threads) const;

    int channels() const { return shown.channels; }
    int not_finite() const { return dropped; }
    int doubtful() const { return strange; }
    // Visible Gaussians, in the order of the set.
    size_t visible_count() const { return seen; }
    // Of what is visible: ids and radii in pixels; and weights [WEIGHTS, visible_count], or null, if `forward` kept them.
    void fill_visible(int64_t* ids_out, float* radii_out, float* weights_out, int threads) const;
    size_t intersections() const { return offsets.back(); }
    int blocks() const { return columns * rows; }
    const StepSeconds& seconds() const { return took; }

  private:
    Block block(int index) const;
    float radius(int32_t id) const;  // pixels
    Room<uint64_t> bin(const std::vector<Visible>& visible, int threads);
    void sort(uint64_t* entries, int threads);
    template <typename Work, typename Add>
    void sum_blocks(const BlockRows& layout, int threads, Work work, Add add) const;

    View view;
    int count, columns, rows, dropped = 0, strange = 0;
    size_t seen = 0;
    Room<float> records, colors, weights;
    Room<Range> ranges;
    Shown shown;
    Room<int32_t> ids, lists;
    std::vector<size_t> offsets, other_offsets;  // of the blocks' lists, row by row; of their entries that are not marked
    mutable StepSeconds took;
};

}  // namespace splat
