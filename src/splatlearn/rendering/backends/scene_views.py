"""What the `scene` module of a backend takes and fills: one set of Gaussians, one view of it, and their gradients.

Such a module names the camera models that it knows, `MODELS`, and the filters that it knows for each primitive,
`DRAWN`, and has these functions:

- `forward(inputs, view, outputs, weighs)` fills colour [C, H, W], with the view's channels of depths as the last ones,
  and transmittance [H, W]. It returns the state of the view, which has the numbers `not_finite`, `doubtful` and
  `intersections` (see `SceneInfo` and `Seen`), and keeps blending weights if `weighs`.
- `backward(state, inputs, view, outputs, gradients, results, is_first_view)` writes the gradients of a view to
  `results`, from the outputs of `forward` and their gradients.
- `visible(state, weighs)` returns the ids [N] of the Gaussians that are seen, ascending; their radii [N] in pixels; and
  the sum and the maximum of the blending weights of each, and its pixels, as one tensor [3, N], or None.
- `median(state, output)` fills the depths [H, W] at which half of the light is left, for a view with one channel of
  depths; only a module with `HAS_MEDIANS` has it.
- `empty_like(tensor)` returns a tensor for gradients that is not filled.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.formula import EPS2D

CAMERA_SUMS = 15
"""Numbers in the gradient of a view: three rows of its matrix, and the origin of directions."""

WEIGHTS = 3
"""Numbers of a Gaussian's blending weights: their sum and maximum, and the pixels in which it is visible."""


@dataclass(frozen=True)
class SceneLens:
    """What a view says beside its matrix.

    - `model`: the name of the camera model; `numbers`: fx, fy, cx, cy, near, and the limits of the Jacobian's slopes.
    - `far`: the far plane; `is_parallel`: whether all directions of view are the same.
    - `eps2d`: the variance of the filter, px² of the picture; `compensates`: whether opacities make up for it.
    - `formula`: the name of the formula of α; see the registry of primitives.
    """

    model: str
    numbers: list[float]
    far: float
    is_parallel: bool
    eps2d: float = EPS2D
    compensates: bool = False
    formula: str = GAUSSIAN


@dataclass(frozen=True)
class SceneView:
    """One view of a set: tensors are contiguous and float32.

    - `matrix` [4, 4]: from world to camera.
    - `origin` [3]: where directions of view begin; their direction if all are parallel.
    - `background` [C], with the channels of depths as its last ones.
    - `depth_channels`: 0; 1 for the depth; 2 for the inverse depth and its square.
    """

    matrix: Tensor
    origin: Tensor
    lens: SceneLens
    background: Tensor
    depth_channels: int


@dataclass(frozen=True)
class SceneInputs:
    """Contiguous float32 tensors: one set of K Gaussians with `colors` [K, C] or `sh` [K, M, 3], and their `shapes`."""

    means: Tensor
    scales: Tensor
    quaternions: Tensor
    opacities: Tensor
    colors: Tensor | None
    sh: Tensor | None
    shapes: Tensor | None = None

    def tensors(self) -> list[Tensor | None]:
        """The tensors in the order of the fields."""
        return list(vars(self).values())


@dataclass(frozen=True)
class SceneResults:
    """Where a backward pass writes.

    - `gaussians`: the gradients of the Gaussians, which the first view writes and the others add to.
    - `background` [C]; `camera`: float64 [CAMERA_SUMS], three rows of the matrix and the origin, or None.
    - `ids` [N]: the Gaussians that the view sees; `means2d`, `absolute` [N, 2]: the gradients of their means2d and the
      sums of the absolute values of these. None if they are not requested.
    """

    gaussians: SceneInputs
    background: Tensor
    camera: Tensor | None
    ids: Tensor | None
    means2d: Tensor | None
    absolute: Tensor | None
