"""Depth maps that another program made: what they are, where they lie, and how they come to a capture's scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.captures.photographs import Photo
from splatlearn.captures.photographs.depths import decode_depth
from splatlearn.core.errors import MissingError
from splatlearn.fitting.terms.targets import DepthTargets

PriorKind = Literal["inverse", "depth"]
ENDINGS = (".npy", ".png")
FEWEST = 8
"""Known depths that an alignment needs."""
ROUNDS = 20
"""Number of iterations of reweighted least squares."""


@dataclass(frozen=True, eq=False)
class PriorMap:
    """Depths of one photograph from a prior, up to a scale and a shift.

    - `values` [H, W]: of the photograph's size; 0 or less where it has no depth.
    - `kind`: "inverse" for inverse depths (disparities), which most networks give, "depth" for depths.
    - `confidence` [H, W]: at least 0; None: all count alike.
    - `is_scaled`: whether the depths are those of the camera's world already, with neither scale nor shift to find.
    """

    values: Float[Tensor, "H W"]
    kind: PriorKind = "inverse"
    confidence: Float[Tensor, "H W"] | None = None
    is_scaled: bool = False


@runtime_checkable
class DepthPrior(Protocol):
    """Anything that is called with a photograph and returns a map of it, or None: a network, a folder, a sweep."""

    def __call__(self, photo: Photo) -> PriorMap | None:
        """Return the map of a photograph, or None if the prior has none."""
        ...


@dataclass(frozen=True)
class FolderPrior:
    """The maps in a folder, called as the photographs are: `x.npy` (numbers) or `x.png` (8 or 16 bits, grey).

    A map may have any size; of the photograph's pixels each takes the nearest. Raises MissingError for a folder that is
    not there, and UnreadableImage, when a map is asked for, for one that is damaged.
    """

    folder: Path
    kind: PriorKind = "inverse"

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise MissingError(f"folder: expected a folder of depth maps, found none at {self.folder}")

    def __call__(self, photo: Photo) -> PriorMap | None:
        """Return the map of a photograph, None where the folder has none."""
        if (path := self.path_of(photo.name)) is None:
            return None
        size = (photo.camera.width, photo.camera.height)
        values = decode_depth(path.read_bytes(), f"the depth map {path.name}", 1.0, size, size)
        return PriorMap(torch.from_numpy(values), self.kind)

    def path_of(self, name: str) -> Path | None:
        """Return the file of a photograph of this name, None where the folder has none."""
        called = PurePosixPath(name)
        for ending in ENDINGS:
            for path in (self.folder / called.with_suffix(ending), self.folder / f"{called.stem}{ending}"):
                if path.is_file():
                    return path
        return None


class Alignment(NamedTuple):
    """The line from the values of a prior to inverse depths, or to depths, of the camera's world."""

    scale: float = 1.0
    shift: float = 0.0

    def depths(self, prior: PriorMap) -> DepthTargets:
        """Return the depths of a prior; values that would be negative or infinite have none."""
        values = self.scale * prior.values.double() + self.shift
        usable = (prior.values > 0) & (values > 1e-9)
        depth = torch.where(usable, 1.0 / values.clamp_min(1e-9) if prior.kind == "inverse" else values, 0.0).float()
        return DepthTargets(depth[None], None if prior.confidence is None else prior.confidence[None].float())


def aligned(prior: PriorMap, known: DepthTargets | None) -> DepthTargets | None:
    """Return a prior as depths of the camera's world, or None where too little is known to find its scale.

    - `known`: depths of this view alone, such as those of triangulated points.

    See `alignment_of`. Weights of the result are confidences. Values whose depth would be negative or infinite have
    none.
    """
    found = alignment_of(prior, known)
    return None if found is None else found.depths(prior)


def alignment_of(prior: PriorMap, known: DepthTargets | None) -> Alignment | None:
    """Return the scale and the shift of a prior, or None where too little is known of them.

    Inverse depths (or depths, as the prior is) are fitted by a scale above 0 and a shift: least squares whose weights
    follow the residuals, so that single wrong points do not pull (Huber 1964).
    """
    if prior.is_scaled:
        return Alignment()
    if known is None:
        return None
    height, width = prior.values.shape
    places = known.known((height, width))
    here = prior.values[places.rows, places.columns].double()
    counts = (here > 0) & (places.weights > 0)
    if int(counts.sum()) < FEWEST:
        return None
    x, weights = here[counts], places.weights[counts].double()
    depths = places.depths[counts].double()
    found = Alignment(*_line(x, 1.0 / depths if prior.kind == "inverse" else depths, weights))
    return found if found.scale > 0 else None


def _line(x: Tensor, y: Tensor, weights: Tensor) -> tuple[float, float]:
    """The scale and shift of y ≈ scale·x + shift with Huber's weights, their threshold at 1.345 robust deviations."""
    share = weights.clone()
    scale = shift = 0.0
    for _ in range(ROUNDS):
        total = share.sum()
        mean_x, mean_y = (share @ x) / total, (share @ y) / total
        spread = share @ (x - mean_x).square()
        if not bool(spread > 0):
            return 0.0, float(mean_y)
        scale = float((share @ ((x - mean_x) * (y - mean_y))) / spread)
        shift = float(mean_y - scale * mean_x)
        residuals = (y - scale * x - shift).abs()
        limit = 1.345 * 1.4826 * float(residuals.median())
        share = weights * (limit / residuals.clamp_min(1e-12)).clamp_max(1.0) if limit > 0 else weights
    return scale, shift
