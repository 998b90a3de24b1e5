"""Scores of the reconstruction of hidden pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from splatlearn.core.device import in_float64
from splatlearn.core.errors import InputError
from splatlearn.fitting.losses.metrics import psnr
from splatlearn.models.masked_autoencoder import MaskedAutoencoder
from splatlearn.models.masking import Mask
from splatlearn.models.nn.patches import patchify, unpatchify
from splatlearn.models.nn.sizes import grid_of
from splatlearn.objectives.reconstruction import denormalize_patches


def hidden_psnr(
    prediction: Float[Tensor, "B 3 H W"], images: Float[Tensor, "B 3 H W"], hidden_pixels: Bool[Tensor, "B H W"]
) -> Float[Tensor, " B"]:
    """PSNR of each image on its hidden pixels in dB, computed in float64 (see `splatlearn.fitting.psnr`).

    Raises InputError when the shapes differ or an image has no hidden pixel.
    """
    return psnr(in_float64(prediction), in_float64(images), weights=in_float64(hidden_pixels.to(prediction.device)))


def mean_of_visible(images: Float[Tensor, "B C H W"], hidden_pixels: Bool[Tensor, "B H W"]) -> Float[Tensor, "B C H W"]:
    """Paint each image all over with the mean colour of its visible pixels: the baseline of a reconstruction.

    Raises InputError when the shapes differ or an image has no visible pixel.
    """
    visible = ~hidden_pixels
    counts = _counts(visible, images[:, 0], "hidden_pixels")
    sums = (images * visible.unsqueeze(1)).sum(dim=(2, 3))
    return (sums / counts.unsqueeze(1))[:, :, None, None].expand_as(images)


def shown_image(
    prediction: Float[Tensor, "B C H W"], images: Float[Tensor, "B C H W"], patch_size: int, normalized: bool = False
) -> Float[Tensor, "B C H W"]:
    """The prediction of a model as an image clipped to [0, 1], as any viewer shows it.

    - `images`: the originals, in [0, 1].
    - `normalized`: the prediction is in units of each original patch's mean and standard deviation, as a model
      learns it whose targets are normalised (He et al. 2022, section 4.1); undone with those of the originals.
    """
    prediction = prediction.float()
    if normalized:
        patches = denormalize_patches(patchify(prediction, patch_size), patchify(images.float(), patch_size))
        prediction = unpatchify(patches, patch_size, grid_of(images.shape[-2], images.shape[-1], patch_size))
    return prediction.clamp(0.0, 1.0)


def masked_psnr(
    model: MaskedAutoencoder, images: Float[Tensor, "B 3 H W"], mask: Mask, normalized: bool = False
) -> dict[str, float]:
    """PSNR on hidden pixels in dB, averaged over images: of the model, and of the mean colour of what it sees.

    - `images`: in [0, 1].
    - `normalized`: the model's targets were normalised patches (see `shown_image`).

    Returns `masked_psnr_model` and `masked_psnr_mean`. The model runs as in evaluation, without gradients. Raises
    ValueError when the mask does not fit the images.
    """
    hidden = mask.hidden_pixels(model.patch_size)
    with evaluating(model):
        predicted = shown_image(model(images, mask).image, images, model.patch_size, normalized)
    return {
        "masked_psnr_model": float(hidden_psnr(predicted, images, hidden).mean()),
        "masked_psnr_mean": float(hidden_psnr(mean_of_visible(images, hidden), images, hidden).mean()),
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within this context the model is in evaluation mode and no gradient is recorded; afterwards all is as before."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _counts(pixels: Bool[Tensor, "B H W"], like: Float[Tensor, "B H W"], name: str) -> Tensor:
    if pixels.shape != like.shape:
        raise InputError(f"{name}: expected shape {list(like.shape)} like the images, got {list(pixels.shape)}")
    counts = pixels.sum(dim=(1, 2))
    if bool((counts == 0).any()):
        empty = int((counts == 0).nonzero()[0])
        raise InputError(f"{name}: expected at least one pixel in each image, got none in image {empty}")
    return counts
