"""Terms between several masks of an image and within each (MI-MAE, arXiv 2502.19718).

The paper says neither how tokens are pooled nor whether there is a projector: both are options. Letters in shapes:
M masks, B images, A images of all processes, T tokens, D width, X numbers of a pooled input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from splatlearn.core.errors import InputError
from splatlearn.models.classifier import Pooling
from splatlearn.models.heads.gaussian_numbers import at_least_float32
from splatlearn.models.masked_autoencoder import MaskedOutput
from splatlearn.models.masking import Mask
from splatlearn.models.nn.sizes import grid_of
from splatlearn.objectives.bounds import contrastive_loss
from splatlearn.objectives.estimators import Estimate, Estimator
from splatlearn.objectives.processes import gather_images, process_and_count


def info_nce(latents: Float[Tensor, "M B D"], temperature: float = 0.07) -> Float[Tensor, ""]:
    """InfoNCE between the masks of an image: its latents under two masks find each other among other images.

    - `latents`: of B images under M masks; they are compared by their cosine over the temperature.

    Averaged over all ordered pairs of masks, so that it is symmetric. The negatives are the other images of the batch,
    in all processes, under the partner's mask; that of an image which is there twice cannot fall below log 2. log A
    minus the loss is a lower bound, in nats, on the mutual information between masks. Computed in at least float32.

    Raises InputError for fewer than two masks or (over all processes) images, and for a temperature that is not
    positive.
    """
    count = latents.shape[0]
    if count < 2:
        raise InputError(f"latents: expected at least 2 masks of each image to compare, got {count}")
    if not temperature > 0:
        raise InputError(f"temperature: expected a number above 0, got {temperature}")
    with torch.autocast(latents.device.type, enabled=False):
        mine = F.normalize(at_least_float32(latents), dim=-1)
        everyone = gather_images(mine)
        scores = torch.einsum("mbd,nad->mnba", mine, everyone) / temperature
        different = ~torch.eye(count, dtype=torch.bool, device=latents.device)
        return contrastive_loss(scores[different], first=process_and_count()[0] * latents.shape[1])


def pool_latent(latent: Float[Tensor, "B T D"], pooling: Pooling) -> Float[Tensor, "B D"]:
    """The class token, or the mean of the patches' tokens."""
    return latent[:, 0] if pooling == "cls" else latent[:, 1:].mean(dim=1)


def pool_visible(images: Float[Tensor, "B C H W"], mask: Mask, patch_size: int) -> Float[Tensor, "B X"]:
    """The mean of the visible patches' pixels, with zero mean and about unit variance for ordinary images."""
    rows, columns = grid_of(images.shape[2], images.shape[3], patch_size)
    cut = images.unflatten(3, (columns, patch_size)).unflatten(2, (rows, patch_size))
    image = torch.arange(len(images), device=images.device).unsqueeze(1)
    # Only the visible patches are copied, [B, V, C, P, P]; `patchify` would rearrange the whole images.
    visible = cut[image, :, mask.visible // columns, :, mask.visible % columns].float()
    return (visible.mean(dim=1).permute(0, 2, 3, 1).flatten(1) - 0.5) / 0.25


@dataclass(frozen=True, eq=False)
class MaximizeTerm:
    """InfoNCE between the pooled latents of the masks of each image, which a projector may map first."""

    masks: int
    temperature: float
    pooling: Pooling
    projector: nn.Module

    def __call__(self, reconstruction: MaskedOutput, target: Float[Tensor, "B C H W"]) -> Float[Tensor, ""]:
        """The loss of a reconstruction of all masks, mask after mask, as `join_masks` puts them."""
        pooled = self.projector(at_least_float32(pool_latent(reconstruction.latent, self.pooling)))
        return info_nce(pooled.unflatten(0, (self.masks, -1)), self.temperature)


@dataclass(frozen=True, eq=False)
class MinimizeTerm:
    """A bound on the mutual information between a mask's pooled latent and its pooled visible input."""

    masks: int
    patch_size: int
    pooling: Pooling
    estimator: Estimator

    def __call__(self, reconstruction: MaskedOutput, target: Float[Tensor, "B C H W"]) -> Float[Tensor, ""]:
        """The bound for a reconstruction of all masks, mask after mask; see `frozen_bound`."""
        return frozen_bound(self.estimator, *self.samples(reconstruction, target))

    def samples(
        self, reconstruction: MaskedOutput, target: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "M b X"], Float[Tensor, "M b D"]]:
        """Pooled inputs and latents, mask by mask."""
        inputs = pool_visible(target, reconstruction.mask, self.patch_size)
        latents = pool_latent(reconstruction.latent, self.pooling)
        return inputs.unflatten(0, (self.masks, -1)), latents.unflatten(0, (self.masks, -1))


def frozen_bound(
    estimator: Estimator, inputs: Float[Tensor, "M B X"], latents: Float[Tensor, "M B D"]
) -> Float[Tensor, ""]:
    """The estimator's bound, with a gradient to the latents and none to the estimator's weights.

    Over several processes it is the bound of their joint batch, the same in all of them.

    It is 0 without a gradient while the estimator describes the batch no better than it did untrained, or with numbers
    that are not finite: a bound from a network that has diverged would drive the encoder anywhere.
    """
    weights = {name: value.detach() for name, value in estimator.named_parameters()}
    inputs, gated = gather_images(inputs), gather_images(latents.view_as(latents))
    estimate = functional_call(estimator, weights, (inputs, gated))
    assert isinstance(estimate, Estimate)
    fits = (estimate.fit.detach() > 0) & torch.isfinite(estimate.bound.detach())
    if gated.requires_grad:
        # Zeros that come out of `where` may still meet an infinity on their way back.
        gated.register_hook(lambda gradient: torch.where(fits, gradient, 0.0))
    return torch.where(fits, estimate.bound, 0.0)
