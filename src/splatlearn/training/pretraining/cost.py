"""The cost of a pre-training batch: masks, a reconstruction and its objective."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.gaussians import Gaussians
from splatlearn.data.loading.batch import Batch
from splatlearn.models import GMAE, MAE, Mask, MaskedOutput, join_masks, orthogonal_masks_from_noise
from splatlearn.models.masking import Grid
from splatlearn.objectives import (
    ObjectiveValue,
    SoftOrder,
    Term,
    WeightedSum,
    masked_mse,
    masked_mse_and_pattern_error,
    masked_pattern_error,
)
from splatlearn.runs.tensor_files import TensorFiles
from splatlearn.training.loop.cost import Cost
from splatlearn.training.pretraining.mutual_information import MutualInformation
from splatlearn.training.pretraining.recipe import Recipe


class PretrainingCost(Cost):
    """The objective of a resolved recipe for a model; its masks are the ranks of the batch's noise.

    After a call, `gaussians` are those of the batch, where the model paints with them. Raises InputError where the
    masks do not fit.
    """

    joins_processes = True

    def __init__(self, recipe: Recipe, model: MAE | GMAE, device: torch.device, precision: str) -> None:
        super().__init__(device, precision)
        self.recipe = recipe
        self.patch_size = model.patch_size
        height, width = model.image_size
        self.whole = (height // model.patch_size, width // model.patch_size)
        self.patches = self.whole[0] * self.whole[1]
        for grid in growing_grids(self.whole, recipe.data.grow_from):
            self.grid = grid
            self.mask(torch.zeros(1, self.patches))
        self.mutual = MutualInformation(recipe.mutual, model, recipe.run.seed, device)
        self.soft_order = None
        if isinstance(model, GMAE) and model.config.depth == "soft-order":
            self.soft_order = SoftOrder(model.config)
        terms = {**reconstruction_term(recipe, model.patch_size), **self.mutual.terms}
        if self.soft_order is not None:
            terms["soft_order"] = (1.0, self.soft_order)
        self.objective = WeightedSum(terms)
        # Terms of mutual information compare images; the soft order's is a mean over all hidden pixels of a batch.
        self.comes_in_parts = not self.mutual.terms and self.mutual.estimator is None and self.soft_order is None
        self.gaussians: Gaussians | None = None
        # A MAE leaves out what has no weight; GMAE's image comes in one piece.
        self.asked = {"visible": False} if isinstance(model, MAE) and not recipe.objective.visible_weight else {}

    def mask(self, noise: Tensor) -> Mask:
        """All masks of a batch of images, mask after mask; of the noise [B, N], smaller grids use the first numbers."""
        count, ratio, pattern = (
            self.recipe.mutual.masks,
            self.recipe.objective.mask_ratio,
            self.recipe.mutual.mask_pattern,
        )
        assert count is not None and ratio is not None
        noise = noise[:, : self.grid[0] * self.grid[1]]
        return join_masks(orthogonal_masks_from_noise(noise, self.grid, count, ratio, pattern))

    def __call__(self, model: nn.Module, batch: Batch, epoch: int, place: int) -> ObjectiveValue:
        mask = self.mask(batch.noise.to(self.device, non_blocking=True))
        images = self.seen(batch.images.to(self.device, non_blocking=True).float() / 255)
        images = images.expand(mask.batch // len(images), *images.shape).flatten(0, 1)
        with self.autocast():
            reconstruction: MaskedOutput = model(images, mask, **self.asked)
        self.gaussians = None if reconstruction.gaussians is None else reconstruction.gaussians.detach()
        if self.mutual.estimator is None:
            return self.objective(reconstruction, images)
        fit = self.mutual.estimator.learn(reconstruction, images)
        return dataclasses.replace(self.objective(reconstruction, images), measures={"estimator_fit": fit})

    def seen(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """The images at the size that they are seen at now."""
        if self.grid == self.whole:
            return images
        size = (self.grid[0] * self.patch_size, self.grid[1] * self.patch_size)
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    def at(self, done: float, step: int) -> None:
        """Tell the size of the images and the term that changes while training goes on."""
        grids = growing_grids(self.whole, self.recipe.data.grow_from)
        grow_for = self.recipe.data.grow_for
        self.grid = (
            grids[min(len(grids) - 1, math.floor(done / grow_for * (len(grids) - 1)))] if grow_for else grids[-1]
        )
        if self.soft_order is not None:
            self.soft_order.at(done, step)

    def networks(self) -> dict[str, Tensor]:
        """Those of the terms between and within masks."""
        return self.mutual.tensors(None)

    def restore(self, files: TensorFiles) -> None:
        """Restore the state that `networks` returned; raises CheckpointError for networks of other sizes."""
        self.mutual.restore(files, None)


def growing_grids(whole: Grid, smallest: float) -> list[Grid]:
    """The grids of patches of a run whose images grow: from a share of the whole one's sides, longer by a patch each.

    The shorter side grows in proportion. The last is the whole grid, the only one for a share of 1.
    """
    longer = max(whole)
    sides = range(max(1, round(smallest * longer)), longer + 1)
    return [(max(1, round(whole[0] * side / longer)), max(1, round(whole[1] * side / longer))) for side in sides]


def reconstruction_term(recipe: Recipe, patch_size: int) -> dict[str, tuple[float, Term]]:
    """The masked error of a resolved recipe, as a weighted term."""
    options = recipe.objective

    def reconstruction(made: MaskedOutput, target: Tensor) -> Tensor:
        where = (made.image, target, made.mask, patch_size)
        weight = options.visible_weight or 0.0
        if options.error == "pattern":
            return masked_pattern_error(*where, weight)
        if options.error == "both":
            return masked_mse_and_pattern_error(*where, weight)
        return masked_mse(*where, bool(options.normalize_targets), weight)

    return {"reconstruction": (1.0, reconstruction)}
