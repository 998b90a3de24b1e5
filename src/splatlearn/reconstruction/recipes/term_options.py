"""Options of a reconstruction: further terms of its loss, and robustness."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.runs.recipe import check_range


@dataclass(frozen=True)
class TermOptions:
    """Further terms of the loss, and robustness."""

    depth_weight: float = 0.0
    """Weight of the difference between rendered inverse depths and those of a depth camera, or else of the capture's
    points; it falls to a tenth over the run. 0.2 suits depth cameras, 0.05 points. 0: no supervision of depth."""
    smooth_depth: float = 0.0
    """Weight of the total variation of inverse depth, weakened across edges of photographs. For few photographs."""
    distortion: float = 0.0
    """Weight of how far Gaussians are spread along a pixel's ray. For few photographs."""
    entropy: float = 0.0
    """Weight of the entropy of opacities, which pulls them to 0 and 1. For few photographs."""

    robust: bool = False
    """Give less weight to places of photographs that stay far from the renderings: passers-by, cars, hands."""
    remove_floaters: bool = False
    """After a half, three quarters and nine tenths of the steps, remove Gaussians that hang in space by themselves or
    that no photograph's view shows."""

    def of_whole_pictures(self) -> list[str]:
        """The options in use whose terms compare neighbouring pixels or need every one."""
        return [name for name in ("depth_weight", "smooth_depth", "distortion", "entropy") if getattr(self, name) > 0]

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_range(
            "a number ≥ 0", lambda value: value >= 0,
            depth_weight=self.depth_weight, smooth_depth=self.smooth_depth, distortion=self.distortion,
            entropy=self.entropy,
        )  # fmt: skip
