"""Options of a reconstruction: further terms of its loss, and robustness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from splatlearn.core.errors import InputError
from splatlearn.runs.recipe import check_choices, check_range

SWEEP = "sweep"
"""The prior that needs no files."""
MapKind = Literal["inverse", "depth"]


@dataclass(frozen=True)
class TermOptions:
    """Further terms of the loss, and robustness."""

    depth_weight: float = 0.0
    """Weight of the difference between rendered inverse depths and those of a depth camera, or else of the capture's
    points; it falls to a tenth over the run. 0.2 suits depth cameras, 0.05 points. 0: no supervision of depth."""
    depth_prior: str | None = None
    """Depth maps from elsewhere for --depth-weight: a folder with x.npy or x.png for photographs called x, of any
    network, or sweep: plane sweeps over the photographs. The maps of a folder are brought to the capture's scale by its
    points. Default: what the capture knows of depths."""
    depth_prior_kind: MapKind = "inverse"
    """Numbers in the files of --depth-prior: inverse depths (disparities), which most networks give, or depths; up to a
    scale and a shift."""
    smooth_depth: float = 0.0
    """Weight of the total variation of inverse depth, weakened across edges of photographs. For few photographs."""
    distortion: float = 0.0
    """Weight of how far Gaussians are spread along a pixel's ray. For few photographs."""
    normals: float = 0.0
    """Weight of the angle between surfels and the surface that their depths make, from a quarter of the steps on, for
    the primitive surfel. 0.05 suits: smoother surfaces, somewhat less detail."""
    frequencies: float = 0.0
    """Weight of the mean absolute difference where the photograph has no detail, in the first half of the steps, and
    where it has some, in the second (the frequency-modulated loss of GES). 1, with --ssim-weight 0.4, are the published
    proportions."""
    entropy: float = 0.0
    """Weight of the entropy of opacities, which pulls them to 0 and 1. For few photographs."""

    robust: bool = False
    """Give less weight to places of photographs that stay far from the renderings: passers-by, cars, hands."""
    remove_floaters: bool = False
    """After a half, three quarters and nine tenths of the steps, remove Gaussians that hang in space by themselves or
    that no photograph's view shows."""

    def of_whole_pictures(self) -> list[str]:
        """The options in use whose terms compare neighbouring pixels or need every one."""
        return [
            name
            for name in ("depth_weight", "smooth_depth", "distortion", "normals", "frequencies", "entropy")
            if getattr(self, name) > 0
        ]

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_range(
            "a number ≥ 0", lambda value: value >= 0,
            depth_weight=self.depth_weight, smooth_depth=self.smooth_depth, distortion=self.distortion,
            normals=self.normals, frequencies=self.frequencies, entropy=self.entropy,
        )  # fmt: skip
        check_choices(depth_prior_kind=(self.depth_prior_kind, MapKind))
        if self.depth_prior is not None and self.depth_weight == 0:
            raise InputError("depth_prior: expected a depth_weight above 0, with which maps count, got 0; 0.1 is usual")
