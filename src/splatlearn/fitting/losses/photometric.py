"""The loss of 3D Gaussian Splatting as one operation: compiled on a CPU, else its specification in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from splatlearn.core.numbers import check_number
from splatlearn.core.operation import is_transformed, operation
from splatlearn.fitting import compiled
from splatlearn.fitting.losses.pictures import Pictures, pictures_of
from splatlearn.fitting.losses.specification import composed, photometric
from splatlearn.rendering.compositing import Background


def photometric_loss(
    images: Float[Tensor, "B 3 H W"],
    targets: Shaped[Tensor, "B C H W"],
    background: Background = "black",
    weights: Float[Tensor, "B H W"] | None = None,
    ssim_weight: float = 0.2,
) -> Float[Tensor, ""]:
    """Compare rendered pictures with targets: (1 − λ)·L1 + λ·(1 − SSIM), the mean over all pictures.

    - `images`: rendered colours; gradients flow to them.
    - `targets`: 3 or 4 channels, floating-point in [0, 1] or uint8, in any memory layout: decoded bytes [B, H, W, C] as
      `.permute(0, 3, 1, 2)` are read as they lie. RGBA, not premultiplied, is composed over the background.
    - `background`: "white", "black", 3 numbers, or a tensor [3] or [B, 3]: that of the rendering.
    - `weights`: of each pixel's terms, at least 0. A pixel of weight 0 is ignored: windows that reach over it treat it
      like what lies outside of the picture. The sum is divided by the number of all pixels, so that a pixel weighs the
      same however many others are ignored; divide by `weights.mean()` for the mean over the others.
    - `ssim_weight`: λ in [0, 1].

    SSIM has Gaussian windows of 11 × 11 pixels with σ = 1.5, constants 0.01² and 0.03², and zeros around the picture;
    L1 and SSIM are means over all three channels. float64 images are compared in float64, all others in float32. NaN in
    pixels that are not ignored gives NaN. On a CPU the compiled loss computes the gradient along with the loss, in 12
    bytes a pixel; it has first derivatives by reverse mode for images. Everything else takes the specification in
    PyTorch: derivatives of higher order and of other arguments, function transforms, float64, GPUs.

    Raises InputError for other shapes, negative or non-finite weights, or λ outside of [0, 1], and TypeError for
    targets of another dtype.

    Source: Kerbl et al. 2023 (3D Gaussian Splatting), equation 7; Wang et al. 2004 for SSIM.
    """
    check_number("ssim_weight", ssim_weight, least=0, most=1)
    return losses(pictures_of(images, targets, background, weights), float(ssim_weight)).mean()


def losses(pictures: Pictures, ssim_weight: float, border: int = 0) -> Float[Tensor, " B"]:
    """The loss of each picture; SSIM is averaged over pixels at least `border` from each side."""
    images, *others = pictures
    if not _compiled_can_take(pictures):
        return _specified(*pictures, ssim_weight, border)
    needs_gradient = torch.is_grad_enabled() and images.requires_grad
    return torch.ops.splatlearn.photometric(images, *others, ssim_weight, border, needs_gradient)[0]


def _compiled_can_take(pictures: Pictures) -> bool:
    images, *others = pictures
    return (
        compiled.native is not None
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and not is_transformed(*(each for each in pictures if each is not None))
        and not (torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in others))
    )


def _specified(
    images: torch.Tensor,
    targets: torch.Tensor,
    background: torch.Tensor,
    weights: torch.Tensor | None,
    ssim_weight: float,
    border: int,
) -> torch.Tensor:
    with torch.autocast(images.device.type, enabled=False):
        return photometric(images, composed(targets, background, images.dtype), weights, ssim_weight, border)


def _photometric(
    images: torch.Tensor,
    targets: torch.Tensor,
    background: torch.Tensor,
    weights: torch.Tensor | None,
    ssim_weight: float,
    border: int,
    needs_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses, and the gradient of their sum if it is needed."""
    assert compiled.native is not None, compiled.MISSING
    batch, _, height, width = images.shape
    shares = (
        (1.0 - ssim_weight) / (3 * height * width),
        ssim_weight / (3 * (height - 2 * border) * (width - 2 * border)),
    )
    sums = np.empty((batch, 2))
    gradient = images.new_empty(images.shape if needs_gradient else 0)
    compiled.native.photometric(
        compiled.array(images.contiguous()),
        compiled.array(targets),
        compiled.array(background.contiguous()),
        None if weights is None else compiled.array(weights.contiguous()),
        border,
        *shares,
        sums,
        gradient.numpy() if needs_gradient else None,
        torch.get_num_threads(),
    )
    return torch.from_numpy((sums @ shares).astype(np.float32)), gradient


def _empty_outputs(images, targets, background, weights, ssim_weight, border, needs_gradient):
    return images.new_empty(images.shape[0]), images.new_empty(images.shape if needs_gradient else 0)


def _setup_context(ctx, inputs, output):
    *tensors, ssim_weight, border, needs_gradient = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, output[1])
    ctx.options = ssim_weight, border
    ctx.has_gradient = needs_gradient


def _backward(ctx: Any, upstream: Any, _: Any) -> tuple[Any, ...]:
    *inputs, gradient = ctx.saved_tensors
    images = inputs[0]
    if upstream is None:
        found = None
    elif torch.is_grad_enabled() or is_transformed(upstream) or not ctx.has_gradient:
        # What PyTorch records of the specification has derivatives of every order.
        with torch.enable_grad():
            again = images if images.requires_grad else images.detach().requires_grad_()
            result = _specified(again, *inputs[1:], *ctx.options)
        found = torch.autograd.grad(result, again, upstream, create_graph=torch.is_grad_enabled())[0]
    else:
        found = gradient * upstream[:, None, None, None]
    return found, None, None, None, None, None, None


operation(
    "photometric",
    "(Tensor images, Tensor targets, Tensor background, Tensor? weights, float ssim_weight, int border, "
    "bool needs_gradient) -> (Tensor, Tensor)",
    _photometric,
    _empty_outputs,
    _setup_context,
    _backward,
)
