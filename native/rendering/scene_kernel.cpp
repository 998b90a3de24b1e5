// Scenes for one instruction set: this file is compiled once for each.
#include "scene.h"

#include "scene/backward.h"
#include "scene/forward.h"
#include "scene/project.h"

namespace splat {

const SceneKernel TABLE(_scenes) = {SET_NAME, project_scene, forward_scene, backward_scene, project_scene_backward};

}  // namespace splat
