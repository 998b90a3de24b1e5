"""The known depths that supervise a run: those of its capture, and with a prior depth maps from elsewhere."""

from __future__ import annotations

from dataclasses import replace

from splatlearn.captures.photographs import Photo, Photographs
from splatlearn.core.errors import InputError
from splatlearn.fitting.priors.prior import Alignment, DepthPrior, PriorKind, PriorMap, alignment_of
from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.recipes.term_options import SWEEP
from splatlearn.reconstruction.results.known_depths import Depths, KnownDepths
from splatlearn.reconstruction.running import messages
from splatlearn.reconstruction.running.planes import MOST_MAPS, SweptPrior
from splatlearn.reconstruction.running.starting import cameras_of
from splatlearn.runs.log import note


class PriorDepths:
    """Known depths of photographs with the maps of a prior, in the frame of a fit.

    - `known`: depths of the capture, such as those of its points, by which the maps are aligned.

    A photograph without a map, or with one that cannot be aligned, has what the capture knows.
    """

    def __init__(self, prior: DepthPrior, known: KnownDepths) -> None:
        self.prior, self.known = prior, known
        self._alignments: dict[str, Alignment | None] = {}

    def of(self, photo: Photo) -> DepthTargets | None:
        """Return the known depths of a photograph, as targets of a step with this view alone, or None."""
        # Its map is the prior's, if it has one.
        known, found = self.known.of(replace(photo, depth=None)), self.prior(photo)
        if found is None:
            return known
        if photo.name not in self._alignments:
            self._alignments[photo.name] = alignment_of(found, known)
        if (alignment := self._alignments[photo.name]) is None:
            return known
        return replace(alignment.depths(found), points=None if known is None else known.points)


class ReadPrior:
    """The maps that photographs were read with, as a prior: they were undistorted with them."""

    def __init__(self, kind: PriorKind) -> None:
        self.kind: PriorKind = kind

    def __call__(self, photo: Photo) -> PriorMap | None:
        """Return the map of a photograph, or None."""
        return None if photo.depth is None else PriorMap(photo.depth, self.kind)


def supervising_depths(recipe: SceneRecipe, known: KnownDepths, photographs: Photographs) -> Depths | None:
    """Return the depths that supervise the steps of a run, None where none do.

    - `recipe`: resolved; `known`: the depths of the capture; `photographs`: that are fitted.

    Raises InputError for a prior that the capture cannot take, before anything is fitted.
    """
    terms = recipe.terms
    if terms.depth_weight == 0:
        return None
    if terms.depth_prior is None:
        return known
    if known.source == "sensor":
        raise InputError(
            "depth_prior: expected a capture without depth maps of its own, got one with them; leave it out"
        )
    if terms.depth_prior == SWEEP:
        note(messages.sweeping(min(MOST_MAPS, len(photographs)), "find depth maps (--depth-prior sweep)"))
        return PriorDepths(SweptPrior(photographs, cameras_of(photographs)), known)
    if known.source is None:
        raise InputError(
            f"depth_prior: expected a capture with points that photographs observe, which give maps their scale, got "
            f"none; use {SWEEP}"
        )
    count = sum(view.depth_path is not None for view in photographs.views)
    note(f"depth maps of {terms.depth_prior} for {count} of {len(photographs)} photographs")
    return PriorDepths(ReadPrior(terms.depth_prior_kind), known)
