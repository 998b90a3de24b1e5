"""The pose of a photograph in a scene that stands still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import interpolate

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.rotations import rotations_of
from splatlearn.core.numbers import check_whole
from splatlearn.fitting.cameras.poses import pose_errors, rigid_motions
from splatlearn.fitting.losses.photometric import photometric_loss
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

SCALES = (8, 4, 2, 1)
"""Divisors of the sides of the photograph, one after the other."""
SMALLEST = 24
"""Pixels of the longer side below which no photograph is scaled down."""
FIRST, LAST = 0.5, 0.02
"""Adam's first and last rate at each size, in pixels of that size by which a camera's turn moves the picture."""
COVERED = 0.5
"""Opacity of a pixel from which on its depth counts."""


@dataclass(frozen=True, eq=False)
class Localised:
    """A camera that was moved to where its photograph was taken.

    - `camera`: without a batch axis.
    - `loss`: of its rendering; `loss_before`: of that of the guess; both at the last size.
    - `degrees`: of the turn from the guess; `distance`: between the two places, world units.
    """

    camera: Camera
    loss: float
    loss_before: float
    degrees: float
    distance: float


def localise(
    gaussians: Gaussians,
    photo: Shaped[Tensor, "C H W"],
    guess: Camera,
    *,
    mask: Float[Tensor, "H W"] | None = None,
    background: Background = "black",
    scales: Sequence[int] = SCALES,
    steps: int = 50,
    filter: str = "point",
) -> Localised:
    """Find the pose of a photograph in a known scene, from one near by.

    - `gaussians` [K]: the scene, which stays as it is.
    - `photo` [3 or 4, H, W]: uint8, or floating-point in [0, 1].
    - `guess`: a camera of H × W pixels, in the scene's world, that shows about what the photograph does.
    - `mask` [H, W]: weights of pixels; pixels of weight 0 are ignored.
    - `background`: of the renderings.
    - `scales`: divisors of the photograph's sides, coarse to fine; `steps`: of Adam at each of them.
    - `filter`: that the scene was fitted with; see `render`.

    The six numbers of the pose follow the loss of 3D Gaussian Splatting (L1 and SSIM) through the camera's gradient:
    three of a turn of the camera, and three of a way around and towards the point ahead of it at the median depth of
    what the guess sees. The pose of the lowest loss at the last size is returned, which may be the guess. A guess may
    be off by a few pixels of the coarsest size. Raises InputError for shapes that do not fit.
    """
    if guess.batch_shape:
        raise InputError(f"guess: expected one camera, got a batch {list(guess.batch_shape)}")
    if photo.ndim != 3 or tuple(photo.shape[1:]) != (guess.height, guess.width):
        raise InputError(f"photo: expected shape [C, {guess.height}, {guess.width}], got {list(photo.shape)}")
    check_whole("steps", steps, 1)
    if not scales or min(scales) < 1:
        raise InputError(f"scales: expected whole numbers from 1 on, got {list(scales)}")
    scene = gaussians.detach()
    target = photo.float() / 255 if photo.dtype == torch.uint8 else photo
    target = target.to(scene.means)[None]
    weights = None if mask is None else mask.to(target)[None]
    start = guess.map(lambda each: each.to(scene.means.device))
    unit = _typical_depth(scene, start, filter)
    found, best, before = torch.zeros(2, 3, device=scene.means.device), math.inf, math.inf
    for scale in scales:
        search = _Search(scene, *_smaller(start, target, weights, scale), background, unit, filter)
        found, best = search.run(found, steps)
        before = search.loss(torch.zeros_like(found))
    if best > before:
        found, best = torch.zeros_like(found), before
    moved = replace(start, viewmats=_moved(start, found, unit))
    degrees, distance = pose_errors(*(each.viewmats.double().cpu().numpy()[None] for each in (moved, start)))
    return Localised(moved, best, before, float(degrees[0]), float(distance[0]))


class _Search:
    """The search for a pose at one size of the photograph."""

    def __init__(
        self,
        scene: Gaussians,
        camera: Camera,
        target: Tensor,
        weights: Tensor | None,
        background: Background,
        unit: float,
        filter: str,
    ) -> None:
        self.scene, self.camera, self.target, self.weights = scene, camera, target, weights
        self.background, self.unit, self.filter = background, unit, filter

    def run(self, start: Tensor, steps: int) -> tuple[Tensor, float]:
        """Return the best of the poses that Adam visits, and its loss."""
        pose = start.clone().requires_grad_()
        focal = float(torch.as_tensor(self.camera.fx))
        optimizer = torch.optim.Adam([pose], lr=FIRST / focal)
        best, lowest = start, math.inf
        for number in range(steps):
            optimizer.param_groups[0]["lr"] = FIRST / focal * (LAST / FIRST) ** (number / steps)
            loss = self._compare(pose)
            if float(loss.detach()) < lowest:
                best, lowest = pose.detach().clone(), float(loss.detach())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        final = self.loss(pose.detach())
        return (pose.detach(), final) if final < lowest else (best, lowest)

    @torch.no_grad()
    def loss(self, pose: Tensor) -> float:
        """Return the loss of a pose."""
        return float(self._compare(pose))

    def _compare(self, pose: Tensor) -> Tensor:
        camera = replace(self.camera, viewmats=_moved(self.camera, pose, self.unit)[None])
        color = render(self.scene, camera, self.background, depth=False, check=False, filter=self.filter).color
        return photometric_loss(color, self.target, self.background, self.weights)


def _moved(camera: Camera, pose: Float[Tensor, "2 3"], unit: float) -> Float[Tensor, "4 4"]:
    """The camera's pose after a turn about itself, and then a way around and towards the point `unit` ahead of it.

    Turns and ways move the picture alike where they are the same number, and a way around keeps the middle in place: a
    shift sideways and a turn would nearly cancel out, and leave a long valley to descend.
    """
    x, y, ahead = pose[1].unbind()
    around = rotations_of(torch.stack([x, y, torch.zeros_like(x)]))
    point = pose.new_tensor((0.0, 0.0, unit))
    shift = point - around @ point + unit * ahead * pose.new_tensor((0.0, 0.0, 1.0))
    top = torch.cat([around, shift[:, None]], dim=1)
    motion = torch.cat([top, pose.new_tensor([[0.0, 0.0, 0.0, 1.0]])])
    return (motion @ rigid_motions(pose[0], torch.zeros_like(point))).to(camera.viewmats) @ camera.viewmats


@torch.no_grad()
def _typical_depth(scene: Gaussians, camera: Camera, filter: str) -> float:
    """The median depth of what a camera sees; the distance to the scene's middle if it sees nothing."""
    small, _, _ = _smaller(camera, None, None, max(1, max(camera.height, camera.width) // 64))
    rendering = render(scene, small, "black", check=False, filter=filter)
    assert rendering.depth is not None
    depths = rendering.depth[rendering.alpha > COVERED]
    if not len(depths):
        return max(1e-6, float((scene.means.median(dim=0).values - camera.centers).norm()))
    return float(depths.median())


def _smaller(
    camera: Camera, target: Tensor | None, weights: Tensor | None, scale: int
) -> tuple[Camera, Tensor, Tensor | None]:
    """The camera, the photograph and the mask with their sides divided."""
    while scale > 1 and max(camera.height, camera.width) // scale < SMALLEST:
        scale -= 1
    size = max(1, camera.height // scale), max(1, camera.width // scale)
    if scale > 1:
        camera = camera.resized(*size)
    if target is None:
        return camera, torch.empty(0), None
    if scale > 1:
        target = interpolate(target, size, mode="area")
        weights = None if weights is None else interpolate(weights[None], size, mode="area")[0].eq(1).to(target)
    return camera, target, weights
