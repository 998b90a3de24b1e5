"""Gaussians as splat files hold them: one set, with view-dependent colours and a named coordinate frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_floating, check_same_device, check_shape
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.frames import LIBRARY_FRAME, check_frame, frame_matrix, turn_quaternions
from splatlearn.core.geometry.harmonics import (
    C0,
    MAX_DEGREE,
    coefficient_count,
    degree_of,
    harmonics_basis,
    rotate_harmonics,
)
from splatlearn.core.kinds import check_kind

TENSORS = ("means", "scales", "quaternions", "opacities", "sh")


@dataclass(frozen=True, eq=False)
class SplatCloud:
    """K 3D Gaussians whose colours depend on the direction of view.

    - `means` [K, 3], `scales` [K, 3] (standard deviations), `quaternions` [K, 4] (w first), `opacities` [K] in [0, 1]:
      as in `Gaussians`, activated. Files hold logarithms of scales and, in PLY, logits of opacities.
    - `sh` [K, M, 3]: coefficients of red, green and blue, M = (degree + 1)² for degrees 0 to 4.
    - `frame`: where x, y and z point, by letters of right, left, up, down, front, back. Cameras are in "RDF".
    - `antialiased`: fitted with opacities that make up for the blur of small splats (Mip-Splatting, Yu et al. 2024).
      Files carry the mark; `render` does not make up for it.
    - `dropped`: the number of Gaussians of the file that could not be used and were dropped.

    Raises TypeError or ValueError naming the argument whose type, shape or device is wrong.
    """

    means: Float[Tensor, "K 3"]
    scales: Float[Tensor, "K 3"]
    quaternions: Float[Tensor, "K 4"]
    opacities: Float[Tensor, " K"]
    sh: Float[Tensor, "K M 3"]
    frame: str = LIBRARY_FRAME
    antialiased: bool = False
    dropped: int = 0

    def __post_init__(self) -> None:
        for name in TENSORS:
            check_floating(name, getattr(self, name))
        check_shape("means", self.means, ("K", 3))
        leading = (self.means.shape[0],)
        check_shape("scales", self.scales, (3,), leading)
        check_shape("quaternions", self.quaternions, (4,), leading)
        check_shape("opacities", self.opacities, (), leading)
        check_shape("sh", self.sh, ("M", 3), leading)
        if degree_of(self.sh.shape[1]) is None:
            counts = ", ".join(str(coefficient_count(degree)) for degree in range(MAX_DEGREE + 1))
            raise InputError(f"sh: expected one of {counts} coefficients, got {self.sh.shape[1]}")
        check_same_device(
            "means",
            self.means,
            scales=self.scales,
            quaternions=self.quaternions,
            opacities=self.opacities,
            sh=self.sh,
        )
        check_frame("frame", self.frame)

    @classmethod
    def from_gaussians(cls, gaussians: Gaussians) -> SplatCloud:
        """A cloud of degree 0 in the frame "RDF" from one set of Gaussians [K] with three colour channels.

        Raises InputError for a batch of sets and for other numbers of channels.
        """
        check_kind("gaussians", gaussians, Gaussians)
        if gaussians.batch_shape:
            raise InputError(
                f"gaussians: expected one set, means of shape [K, 3], "
                f"got {list(gaussians.means.shape)}; index the batch"
            )
        seen = gaussians.with_degree(0)
        assert seen.sh is not None
        return cls(seen.means, seen.scales, seen.quaternions, seen.opacities, seen.sh)

    @property
    def count(self) -> int:
        """K, the number of Gaussians."""
        return self.means.shape[0]

    @property
    def degree(self) -> int:
        """The degree of the harmonics, 0 for colours that do not depend on the view."""
        degree = degree_of(self.sh.shape[1])
        assert degree is not None
        return degree

    def colors(self, directions: Float[Tensor, "*B K 3"]) -> Float[Tensor, "*B K 3"]:
        """Colours of the Gaussians seen along directions [*B, K, 3] from the eye, in the cloud's frame.

        Half plus the sum of coefficients and harmonics, at least 0 and unbounded above (Kerbl et al. 2023).
        """
        basis = harmonics_basis(directions.to(self.sh), self.degree)
        return (torch.einsum("...km,kmc->...kc", basis, self.sh) + 0.5).clamp_min(0.0)

    def gaussians(self, camera: Camera | None = None) -> Gaussians:
        """The Gaussians as a camera sees them, in the frame "RDF", for `render(…, camera)`.

        The directions of view run from the centre of the camera to each mean, also for `"gmae"`; they are all along
        the axis of an orthographic camera. A camera with matrices [B, 4, 4] gives sets [B, K]. Without a camera the
        colours are those of degree 0.
        """
        cloud = self.in_frame(LIBRARY_FRAME)
        if camera is None or cloud.degree == 0:
            colors = (C0 * cloud.sh[:, 0] + 0.5).clamp_min(0.0)
        else:
            colors = cloud.colors(camera.directions(cloud.means))
        batch = () if camera is None else camera.batch_shape
        return Gaussians(
            means=cloud.means.expand(*batch, -1, -1),
            scales=cloud.scales.expand(*batch, -1, -1),
            quaternions=cloud.quaternions.expand(*batch, -1, -1),
            colors=colors.expand(*batch, -1, -1),
            opacities=cloud.opacities.expand(*batch, -1),
        )

    def in_frame(self, frame: str) -> SplatCloud:
        """The same scene in another coordinate frame; raises InputError for letters that name none."""
        check_frame("frame", frame)
        if frame == self.frame:
            return self
        matrix = frame_matrix(self.frame, frame).to(self.means)
        return replace(
            self,
            means=self.means @ matrix.T,
            quaternions=turn_quaternions(self.quaternions, matrix),
            sh=rotate_harmonics(self.sh, matrix, self.degree),
            frame=frame,
        )

    def with_degree(self, degree: int) -> SplatCloud:
        """The cloud with harmonics cut off above a degree, or filled up to it with zeros; raises InputError."""
        if not 0 <= degree <= MAX_DEGREE:
            raise InputError(f"degree: expected 0 to {MAX_DEGREE}, got {degree}")
        kept = self.sh[:, : coefficient_count(degree)]
        missing = coefficient_count(degree) - kept.shape[1]
        return replace(self, sh=torch.nn.functional.pad(kept, (0, 0, 0, missing)))

    def select(self, index: slice | Tensor) -> SplatCloud:
        """Keep the Gaussians that a slice, an index list or a boolean list [K] names."""
        return replace(self, **{name: getattr(self, name)[index] for name in TENSORS})

    def to(self, target: torch.device | str | torch.dtype) -> SplatCloud:
        """Move to a device or convert to a dtype."""
        return replace(self, **{name: getattr(self, name).to(target) for name in TENSORS})
