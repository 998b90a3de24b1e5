"""Poses of cameras that are fitted along with the scene.

Letters in shapes: N photographs, V views of a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.geometry.rotations import rotations_of
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.fitting.views.view_rows import Rate, ViewRows

ROTATION, TRANSLATION = "rotation", "translation"
"""Names of the parameters: vectors [N, 3], radians and world units, along the axes of the camera."""


@dataclass(frozen=True)
class PoseRates:
    """Rates of poses; `last` ones are a hundredth of the first, as in BAD-Gaussians (arXiv 2403.11831).

    - `rotation`: radians; `translation`: extents of the scene; `begin`: the fraction of the steps before which poses
      are held, until the scene has some shape.
    """

    rotation: float = 1e-3
    translation: float = 1e-3
    begin: float = 0.0


class PoseDeltas(ViewModel):
    """A rigid motion of each camera that follows the one of its given pose: a rotation vector and a translation.

    - `viewmats` [N, 4, 4]: the given poses of the photographs, from world to camera, in world units of the fit.
    - `extent`: of the scene, world units, by which the rate of translations is multiplied.
    - `rates`: see `PoseRates`.

    A camera turns about its own centre and shifts along its own axes: world-to-camera becomes [exp(ω) | τ] times it.

    Gauge: one similarity of scene and cameras together changes no picture, and steps leave it free. `gauge` is the one
    that leads back: it turns, scales and shifts the fitted cameras so that their mean rotation, their centre and their
    spread about it are those of the given cameras. `settled` cameras and Gaussians moved by `gauge` are the result of a
    fit, in the frame of the given poses.
    """

    name: ClassVar[str] = "poses"

    def __init__(self, viewmats: Float[Tensor, "N 4 4"], extent: float = 1.0, rates: PoseRates | None = None) -> None:
        if viewmats.ndim != 3 or not len(viewmats) or tuple(viewmats.shape[1:]) != (4, 4):
            raise InputError(f"viewmats: expected shape [N, 4, 4] of at least one, got {list(viewmats.shape)}")
        rates = rates or PoseRates()
        zeros = torch.zeros(len(viewmats), 3, device=viewmats.device)
        shift = extent * rates.translation
        super().__init__(
            ViewRows(
                {ROTATION: zeros, TRANSLATION: zeros},
                {
                    ROTATION: Rate(rates.rotation, rates.rotation / 100, rates.begin),
                    TRANSLATION: Rate(shift, shift / 100, rates.begin),
                },
            )
        )
        self.given = viewmats.detach().double().cpu().numpy()

    def cameras(self, seen: SeenViews, cameras: Camera) -> Camera:
        """Return the cameras of a step after their motions."""
        moves = rigid_motions(self.rows.of(ROTATION, seen.ids), self.rows.of(TRANSLATION, seen.ids))
        return replace(cameras, viewmats=moves.to(cameras.viewmats) @ cameras.viewmats)

    def fitted(self) -> Float64[np.ndarray, "N 4 4"]:
        """The poses as they are fitted, in the frame of the fit."""
        rows = (self.rows[name].detach().double().cpu() for name in (ROTATION, TRANSLATION))
        return rigid_motions(*rows).numpy() @ self.given

    @property
    def gauge(self) -> Similarity:
        """The similarity from the frame of the fit to that of the given poses; see the class."""
        return aligning(self.fitted(), self.given)

    def settled(self) -> Float64[np.ndarray, "N 4 4"]:
        """The fitted poses in the frame of the given ones."""
        return self.gauge.cameras(self.fitted())

    def moved(self) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
        """How far each camera moved, in the frame of the given poses: degrees, and world units between the centres."""
        return pose_errors(self.settled(), self.given)


def rigid_motions(rotation: Float[Tensor, "*B 3"], translation: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 4 4"]:
    """Return rigid motions [exp(ω) | τ] of rotation vectors and translations, with gradients."""
    top = torch.cat([rotations_of(rotation), translation.unsqueeze(-1)], dim=-1)
    last = top.new_tensor((0.0, 0.0, 0.0, 1.0)).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, last], dim=-2)


def aligning(moved: Float64[np.ndarray, "N 4 4"], onto: Float64[np.ndarray, "N 4 4"]) -> Similarity:
    """Return the similarity of the world that leads cameras to others in the mean.

    - `moved`, `onto`: world-to-camera matrices of the same photographs.

    Afterwards their centres have the same mean and the same spread about it, and the mean of the rotations between the
    cameras of a photograph is the identity. Cameras that all stand in one place keep their scale.
    """
    turns = np.einsum("nji,njk->ik", onto[:, :3, :3], moved[:, :3, :3])
    left, _, right = np.linalg.svd(turns)
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    here, there = camera_centers(moved), camera_centers(onto)
    spreads = [float(np.linalg.norm(each - each.mean(0))) for each in (here, there)]
    scale = spreads[1] / spreads[0] if min(spreads) > 1e-9 else 1.0
    return Similarity(scale, rotation, there.mean(0) - scale * rotation @ here.mean(0))


def pose_errors(
    poses: Float64[np.ndarray, "N 4 4"], others: Float64[np.ndarray, "N 4 4"]
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """Return the angles between the rotations of cameras, in degrees, and the distances between their centres."""
    # Importing SciPy's rotations is slow, and few callers need them.
    from scipy.spatial.transform import Rotation

    turns = poses[:, :3, :3] @ others[:, :3, :3].transpose(0, 2, 1)
    angles = np.degrees(Rotation.from_matrix(turns).magnitude())
    return angles, np.linalg.norm(camera_centers(poses) - camera_centers(others), axis=1)


def camera_centers(viewmats: Float64[np.ndarray, "N 4 4"]) -> Float64[np.ndarray, "N 3"]:
    """Return where cameras stand."""
    return -np.einsum("nji,nj->ni", viewmats[:, :3, :3], viewmats[:, :3, 3])
