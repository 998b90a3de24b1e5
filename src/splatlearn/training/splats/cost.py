"""The cost of a batch of splat sets: groups, masks, and a reconstruction or prediction of what is hidden."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splatlearn.core.attributes import ATTRIBUTES
from splatlearn.core.errors import InputError
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data.splat_sets.dataset import SplatBatch
from splatlearn.models.masking import Mask
from splatlearn.models.masking.sets import group_salience, mask_groups
from splatlearn.models.splats.encoder import GroupedSets
from splatlearn.models.splats.presets import SplatModel
from splatlearn.models.splats.splat_jepa import PredictedTokens, SplatJEPA
from splatlearn.models.splats.splat_mae import SplatOutput, in_place
from splatlearn.models.tokenizers.groups import take
from splatlearn.objectives import ObjectiveValue
from splatlearn.objectives.splat_sets import attribute_errors, rendered_error, set_camera
from splatlearn.runs.tensor_files import TensorFiles
from splatlearn.training.loop.cost import Cost
from splatlearn.training.pretraining.recipe import Recipe
from splatlearn.training.splats.target import MovingTarget


class SplatCost(Cost):
    """The objective of a resolved recipe for a model of splat sets.

    Splat-mae: the sum of the attributes' errors, each with weight 1, and the error of pictures with its own.
    Splat-jepa: smooth absolute errors of tokens. Raises InputError for a rendered loss that cannot be had.
    """

    def __init__(self, recipe: Recipe, model: SplatModel, device: torch.device, precision: str) -> None:
        super().__init__(device, precision)
        self.recipe, self.splats = recipe, recipe.splats
        self.config = model.config
        jepa = isinstance(model, SplatJEPA)
        if self.splats.rendered and (jepa or self.config.encoder.scale_numbers == "paper"):
            raise InputError(
                "rendered: expected 0 for splat-jepa and for paper scale numbers, which do not say how large a "
                f"Gaussian is, got {self.splats.rendered}"
            )
        self.target = MovingTarget(model.encoder, self.splats.average) if isinstance(model, SplatJEPA) else None
        if self.target is not None:
            self.target.encoder.to(device)

    def __call__(self, model: nn.Module, batch: SplatBatch, epoch: int, place: int) -> ObjectiveValue:
        sets = batch.sets.to(self.device, non_blocking=True)
        encoder = _plain(model).encoder
        grouped = encoder.group(sets)
        mask = self.mask(grouped, batch.noise.to(self.device, non_blocking=True))
        with self.autocast():
            output = model(grouped, mask)
        if isinstance(output, PredictedTokens):
            return self._predicted(output)
        return self._reconstructed(output, epoch, place)

    def mask(self, grouped: GroupedSets, noise: Tensor) -> Mask:
        """The mask of each set."""
        ratio = self.recipe.objective.mask_ratio
        assert ratio is not None
        salience = None
        if self.splats.hide == "salience":
            members = take(grouped.sets, grouped.groups.members)
            salience = group_salience(members[..., 3], members[..., ATTRIBUTES["scales"]])
        return mask_groups(grouped.groups.centers, noise, ratio, self.splats.hide, salience)

    def _reconstructed(self, output: SplatOutput, epoch: int, place: int) -> ObjectiveValue:
        errors = attribute_errors(output.predicted, output.target, getattr(self.config, "matching", "nearest"))
        if self.splats.rendered:
            direction = generator(self.recipe.run.seed, epoch, place, Purpose.NOISE).normal(size=3)
            camera = set_camera(torch.from_numpy(np.asarray(direction)), self.splats.rendered_size)
            reach = self.config.encoder.reach
            made, wanted = (in_place(each, output, reach) for each in (output.predicted, output.target))
            errors["rendered"] = rendered_error(made, wanted, camera.to(self.device))
        weights = {"rendered": self.splats.rendered}
        loss = torch.stack([weights.get(name, 1.0) * error for name, error in errors.items()]).sum()
        return ObjectiveValue(loss, {name: error.detach() for name, error in errors.items()})

    def _predicted(self, output: PredictedTokens) -> ObjectiveValue:
        assert self.target is not None
        wanted = self.target.tokens(output.grouped, output.mask)
        loss = F.smooth_l1_loss(output.predicted, wanted)
        # Of sets that all look alike to the encoder it would be 0.
        spread = F.layer_norm(output.latent[:, 1:].float().mean(dim=1), output.latent.shape[-1:]).std(dim=0).mean()
        return ObjectiveValue(loss, {}, measures={"spread": spread.detach()})

    def networks(self) -> dict[str, Tensor]:
        """The weights of the moving average."""
        return {} if self.target is None else self.target.tensors()

    def restore(self, files: TensorFiles) -> None:
        """Restore the state that `networks` returned."""
        if self.target is not None:
            self.target.restore(files)


def _plain(model: nn.Module) -> SplatModel:
    """The model inside a wrapper of distributed training."""
    inner = getattr(model, "module", model)
    return inner  # pyright: ignore[reportReturnType]
