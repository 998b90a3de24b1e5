"""Options of a reconstruction: its Gaussians, and how they are fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from splatlearn.core.errors import InputError
from splatlearn.runs.recipe import check_choices, check_range

StrategyName = Literal["mcmc", "default", "absgrad", "sharpness"]
BackgroundName = Literal["auto", "random", "black", "white", "sky"]
FilterName = Literal["point", "mip", "analytic"]
PrimitiveName = Literal["gaussian", "ges", "surfel", "convex"]
Start = Literal["auto", "points", "random", "hull", "planes"]


@dataclass(frozen=True)
class SceneOptions:
    """The Gaussians and how they are fitted."""

    steps: int | None = None
    """Number of steps. Default: fast 2000, default 7000, quality 15000, paper 30000. With --resume, a larger number
    extends a finished run."""
    minutes: float | None = None
    """Choose the number of steps, and with it all schedules, so that fitting takes about this time on this machine.
    Default: --steps decides."""
    strategy: StrategyName | None = None
    """How Gaussians are added and removed: mcmc (relocation and growth to a cap), default (clone, split, prune, reset),
    absgrad (default, with absolute gradients), or sharpness (for convexes alone: those whose sharpness the photographs
    pull at split into one for each point). Default: mcmc; fast and paper: default; convexes: sharpness."""
    max_gaussians: int | None = None
    """Largest number of Gaussians, never exceeded. Default: fast 30000, default 100000, quality 300000, paper 3000000;
    fewer if memory is short."""
    degree: int | None = None
    """Degree of the spherical harmonics, 0 to 3: how colours change with the direction of view. Default: 3; fast: 2."""
    start: Start = "auto"
    """The first Gaussians: the capture's points, random places, the visual hull of an object on transparent or
    masked photographs, or planes: places where windows of photographs agree. auto: points, if the capture has at
    least 100, else random."""
    random_start: int | None = None
    """Number of Gaussians of a random start, and largest number of those of hull and planes. Default: a fifth of
    --max-gaussians, at most 100000."""
    start_from: str | None = None
    """Splat file or run of reconstruct whose Gaussians are the first ones; they are in the capture's coordinates.
    Default: --start decides."""
    background: BackgroundName = "auto"
    """Background of the renderings. auto: a random colour in each step if photographs are transparent, else black; sky:
    a picture of all directions that is learned with the Gaussians, for captures outdoors."""
    filter: FilterName = "point"
    """What a pixel shows of Gaussians smaller than it. point: they are thickened to about a pixel. mip: their opacities
    make up for it, and none is smaller than the photographs can tell, so that the scene looks right from nearer and
    from farther away (Mip-Splatting). analytic: the integral over the pixel's square, for Gaussians and cameras other
    than panoramas (Analytic-Splatting); steps take longer, and other programs show the file with mip."""
    primitive: PrimitiveName = "gaussian"
    """What each Gaussian is drawn as. ges: a generalised exponential, whose exponent is fitted too: from peaked to flat
    with sharp edges. Its files are read by this library alone. surfel: a flat disc, whose depth at a pixel is that at
    which the pixel's ray meets it (2D Gaussian Splatting), for pinhole cameras and the filter point. convex: the hull
    of a few points with edges as sharp as the photographs are (3D Convex Splatting), for the filter point. It takes
    several times as long as the others, and the run keeps a folder scene/ in place of scene.ply."""
    convex_points: int = 6
    """Number of points of a convex, 3 to 8."""
    coarse: float | None = None
    """Fraction of the steps that see photographs at a quarter, then at half of their size. Default: 0.3; paper: 0."""
    ssim_weight: float = 0.2
    """Weight of 1 - SSIM in the loss; the mean absolute difference has the rest."""
    position_rate: float | None = None
    """First learning rate of positions, in extents of the scene; it falls to a hundredth. Default: fast 8e-4, default
    4e-4, quality and paper 1.6e-4."""
    rate: float | None = None
    """Factor of all other learning rates of 3D Gaussian Splatting. Default: fast 2, default 1.5, quality and paper
    1."""
    start_opacity: float | None = None
    """Opacity of first Gaussians that are points or random. Default: 0.5; hull and paper: 0.1."""
    start_scale: float | None = None
    """Size of first Gaussians that are points or random, in distances to their neighbours. Default: 0.4; hull and
    paper: 1."""

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_choices(
            strategy=(self.strategy, StrategyName),
            background=(self.background, BackgroundName),
            start=(self.start, Start),
            filter=(self.filter, FilterName),
            primitive=(self.primitive, PrimitiveName),
        )
        check_range(
            "a number above 0", lambda value: value > 0,
            steps=self.steps, minutes=self.minutes, max_gaussians=self.max_gaussians, random_start=self.random_start,
            position_rate=self.position_rate, rate=self.rate, start_scale=self.start_scale,
        )  # fmt: skip
        check_range("a number above 0, at most 1", lambda value: 0 < value <= 1, start_opacity=self.start_opacity)
        check_range("a whole number from 3 to 8", lambda value: value in range(3, 9), convex_points=self.convex_points)
        check_range("0, 1, 2 or 3", lambda value: value in (0, 1, 2, 3), degree=self.degree)
        check_range(
            "a number from 0 to 1", lambda value: 0 <= value <= 1, coarse=self.coarse, ssim_weight=self.ssim_weight
        )
        if self.start_from is not None and self.start != "auto":
            raise InputError("start, start_from: expected one of the two, got both")
