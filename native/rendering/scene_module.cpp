// Binds scenes to Python: arrays in, a view in between, arrays out.
#include "scene_module.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arrays.h"
#include "lens.h"
#include "scene_view.h"

namespace nb = nanobind;
using namespace splat;

namespace {

using Places = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename Array>
auto data_of(const std::optional<Array>& array) {
    return array ? array->data() : nullptr;
}

Source source_of(const Input<2>& means, const Input<2>& scales, const Input<2>& quaternions, const Input<1>& opacities,
                 const std::optional<Input<2>>& colors, const std::optional<Input<3>>& sh,
                 const std::optional<Input<2>>& shapes) {
    const int features = colors ? static_cast<int>(colors->shape(1)) : 3;
    const int degree = sh ? static_cast<int>(std::lround(std::sqrt(static_cast<double>(sh->shape(1))))) - 1 : 0;
    return {means.data(), scales.data(), quaternions.data(), opacities.data(), data_of(colors), data_of(sh), data_of(shapes),
            static_cast<int>(means.shape(0)), features, degree};
}

Formula formula_of(const std::string& name) {
    if (name == "gaussian") return Formula::GAUSSIAN;
    if (name == "ges") return Formula::EXPONENTIAL;
    if (name == "surfel") return Formula::SURFEL;
    if (name == "gaussian-analytic") return Formula::ANALYTIC;
    throw nb::value_error(
        ("formula: the compiled kernels know gaussian, gaussian-analytic, ges and surfel, got " + name).c_str());
}

View view_of(const Input<2>& matrix, const Input<1>& origin, const std::string& model, const std::vector<float>& lens, float far,
             bool is_parallel, int depth_channels, const std::string& formula, int height, int width) {
    const View view{matrix.data(), origin.data(), lens_of(model, lens), far, is_parallel, depth_channels, formula_of(formula), height,
                    width};
    if (view.formula == Formula::SURFEL && view.lens.model != Model::PINHOLE)
        throw nb::value_error("camera: surfels are drawn before pinhole cameras alone");
    return view;
}

}  // namespace

void bind_scenes(nb::module_& m, const InstructionSets<Kernel>& active) {
    nb::class_<SceneView>(m, "SceneView")
        .def_prop_ro("intersections", &SceneView::intersections)
        .def_prop_ro("blocks", &SceneView::blocks)
        .def_prop_ro("not_finite", &SceneView::not_finite)
        .def_prop_ro("doubtful", &SceneView::doubtful)
        .def_prop_ro("visible", [](const SceneView& view) { return view.visible_count(); })
        .def_prop_ro("seconds", [](const SceneView& view) {
            const StepSeconds& took = view.seconds();
            return std::vector<double>{took.project, took.sort, took.bin, took.forward, took.backward, took.project_backward};
        })
        .def("fill_visible", [](const SceneView& view, Places ids_out, Output<1> radii_out, std::optional<Output<2>> weights_out,
                                int threads) {
            nb::gil_scoped_release unlocked;
            view.fill_visible(ids_out.data(), radii_out.data(), data_of(weights_out), threads);
        }, nb::arg("ids_out").noconvert(), nb::arg("radii_out").noconvert(), nb::arg("weights_out").noconvert().none(),
             nb::arg("threads"));

    m.def("free_kept_memory", &free_kept_memory);
    m.def(
        "room",
        [](const std::vector<size_t>& shape) {
            size_t count = 1;
            for (size_t each : shape) count *= each;
            float* memory = take_room<float>(count).release();
            const nb::capsule owner(memory, [](void* given) noexcept { Returned()(given); });
            return nb::ndarray<nb::numpy, float>(memory, shape.size(), shape.data(), owner);
        },
        nb::arg("shape"));
    m.def(
        "scene_forward",
        [&active](Input<2> means, Input<2> scales, Input<2> quaternions, Input<1> opacities, std::optional<Input<2>> colors,
                  std::optional<Input<3>> sh, std::optional<Input<2>> shapes, Input<2> matrix, Input<1> origin, const std::string& model,
                  const std::vector<float>& lens, float far, bool is_parallel, int depth_channels, const std::string& formula,
                  Input<1> background,
                  Output<3> color_out, Output<2> transmittance_out, bool weighs, int threads) {
            const Source source = source_of(means, scales, quaternions, opacities, colors, sh, shapes);
            const View view = view_of(matrix, origin, model, lens, far, is_parallel, depth_channels, formula,
                                      static_cast<int>(color_out.shape(1)), static_cast<int>(color_out.shape(2)));
            const SceneKernel& kernel = *active->scenes;
            nb::gil_scoped_release unlocked;
            auto made = std::make_unique<SceneView>(kernel, source, view, threads);
            made->forward(kernel, background.data(), color_out.data(), transmittance_out.data(), weighs, threads);
            return made.release();  // Python owns it from here
        },
        nb::arg("means").noconvert(), nb::arg("scales").noconvert(), nb::arg("quaternions").noconvert(),
        nb::arg("opacities").noconvert(), nb::arg("colors").noconvert().none(), nb::arg("sh").noconvert().none(),
        nb::arg("shapes").noconvert().none(),
        nb::arg("matrix").noconvert(), nb::arg("origin").noconvert(), nb::arg("model"), nb::arg("lens"), nb::arg("far"),
        nb::arg("is_parallel"), nb::arg("depth_channels"), nb::arg("formula"), nb::arg("background").noconvert(),
        nb::arg("color_out").noconvert(), nb::arg("transmittance_out").noconvert(), nb::arg("weighs"), nb::arg("threads"),
        nb::rv_policy::take_ownership);

    m.def(
        "scene_median",
        [&active](const SceneView& made, Output<2> median_out, int threads) {
            nb::gil_scoped_release unlocked;
            made.median(*active->scenes, median_out.data(), threads);
        },
        nb::arg("made"), nb::arg("median_out").noconvert(), nb::arg("threads"));

    m.def(
        "scene_backward",
        [&active](const SceneView& made, Input<2> means, Input<2> scales, Input<2> quaternions, Input<1> opacities,
                  std::optional<Input<2>> colors, std::optional<Input<3>> sh, std::optional<Input<2>> shapes, Input<2> matrix,
                  Input<1> origin, const std::string& model, const std::vector<float>& lens, float far, bool is_parallel,
                  int depth_channels, const std::string& formula, Input<1> background, Input<3> color,
                  Input<2> transmittance, Input<3> by_color, Input<2> by_transmittance,
                  Output<2> means_out, Output<2> scales_out, Output<2> quaternions_out, Output<1> opacities_out,
                  std::optional<Output<2>> colors_out, std::optional<Output<3>> sh_out, std::optional<Output<2>> shapes_out,
                  Output<1> background_out,
                  std::optional<nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>> camera_out,
                  std::optional<Output<2>> means2d_out, std::optional<Output<2>> absolute_out, bool is_first_view, int threads) {
            const Source source = source_of(means, scales, quaternions, opacities, colors, sh, shapes);
            const View view = view_of(matrix, origin, model, lens, far, is_parallel, depth_channels, formula,
                                      static_cast<int>(color.shape(1)), static_cast<int>(color.shape(2)));
            const SourceGradients out{means_out.data(), scales_out.data(), quaternions_out.data(), opacities_out.data(),
                                      data_of(colors_out), data_of(sh_out), data_of(shapes_out), data_of(means2d_out),
                                      data_of(absolute_out)};
            nb::gil_scoped_release unlocked;
            made.backward(*active->scenes, source, view, background.data(),
                          {color.data(), transmittance.data(), by_color.data(), by_transmittance.data()}, out, is_first_view,
                          background_out.data(), data_of(camera_out), threads);
        },
        nb::arg("made"), nb::arg("means").noconvert(), nb::arg("scales").noconvert(), nb::arg("quaternions").noconvert(),
        nb::arg("opacities").noconvert(), nb::arg("colors").noconvert().none(), nb::arg("sh").noconvert().none(),
        nb::arg("shapes").noconvert().none(),
        nb::arg("matrix").noconvert(), nb::arg("origin").noconvert(), nb::arg("model"), nb::arg("lens"), nb::arg("far"),
        nb::arg("is_parallel"), nb::arg("depth_channels"), nb::arg("formula"), nb::arg("background").noconvert(),
        nb::arg("color").noconvert(), nb::arg("transmittance").noconvert(), nb::arg("by_color").noconvert(),
        nb::arg("by_transmittance").noconvert(),
        nb::arg("means_out").noconvert(), nb::arg("scales_out").noconvert(), nb::arg("quaternions_out").noconvert(),
        nb::arg("opacities_out").noconvert(), nb::arg("colors_out").noconvert().none(), nb::arg("sh_out").noconvert().none(),
        nb::arg("shapes_out").noconvert().none(), nb::arg("background_out").noconvert(), nb::arg("camera_out").noconvert().none(),
        nb::arg("means2d_out").noconvert().none(), nb::arg("absolute_out").noconvert().none(), nb::arg("is_first_view"),
        nb::arg("threads"));
}
