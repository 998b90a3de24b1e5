"""RGB pictures for models of grey images."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.nn.sizes import ViTConfig

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601), as in Pillow's mode L."""


def check_reads_pictures(config: ViTConfig) -> None:
    """Raise InputError for an encoder of images that are neither RGB nor grey, which no picture file gives."""
    if config.channels not in (1, 3):
        raise InputError(
            "model: expected an encoder of RGB or grey images, which image files hold, got one of "
            f"{config.channels} channels; call model.encode with your own tensors"
        )


def fit_channels(images: Float[Tensor, "B C H W"], channels: int) -> Float[Tensor, "B c H W"]:
    """RGB images as grey ones where a model has one channel; others, and images that fit already, as they are."""
    if channels != 1 or images.shape[1] != 3:
        return images
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
