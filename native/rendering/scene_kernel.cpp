// Scenes for one instruction set: this file is compiled once for each.
#include "scene.h"

#include "scene/analytic.h"
#include "scene/backward.h"
#include "scene/forward.h"
#include "scene/gradients.h"
#include "scene/median.h"
#include "scene/project.h"
#include "scene/sphere_backward.h"
#include "scene/sphere_forward.h"
#include "scene/sphere_project.h"
#include "scene/surfel_backward.h"
#include "scene/surfel_forward.h"
#include "scene/surfel_project.h"

namespace splat {
namespace {

// A panorama's picture is no part of a plane: splats are evaluated on the sphere.
bool is_sphere(const View& view) { return view.lens.model == Model::PANORAMA; }

void project_scene(const Source& source, const View& view, const Shown& shown, int first, int last, Visible& out) {
    const auto run = view.formula == Formula::SURFEL ? project_surfels : is_sphere(view) ? project_sphere : project_plane;
    run(source, view, shown, first, last, out);
}

void forward_scene(const Shown& shown, const View& view, const Block& block, const Pass& pass, const Images& images,
                   BlockRows* weights) {
    const auto run = view.formula == Formula::SURFEL ? forward_surfels : is_sphere(view) ? forward_sphere : forward_plane;
    run(shown, view, block, pass, images, weights);
}

void backward_scene(const Shown& shown, const View& view, const Block& block, const Pass& pass, const ImageGradients& images,
                    bool absolute, BlockRows& moments, float* background_gradient) {
    const auto run = view.formula == Formula::SURFEL ? backward_surfels : is_sphere(view) ? backward_sphere : backward_plane;
    run(shown, view, block, pass, images, absolute, moments, background_gradient);
}

void project_scene_backward(const Source& source, const View& view, const Shown& shown, const int32_t* ids, int length,
                            const float* sums, int width, bool absolute, const Unseen& unseen, const SourceGradients& out,
                            double* camera) {
    const auto run = view.formula == Formula::SURFEL     ? project_all_backward<SurfelWay>
                     : view.formula == Formula::ANALYTIC ? project_all_backward<AnalyticWay>
                                                         : project_all_backward<GaussianWay>;
    run(source, view, shown, ids, length, sums, width, absolute, unseen, out, camera);
}

}  // namespace

const SceneKernel TABLE(_scenes) = {SET_NAME, project_scene, forward_scene, backward_scene, project_scene_backward, median_block};

}  // namespace splat
