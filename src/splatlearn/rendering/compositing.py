"""Compositing as one operation that autograd, torch.compile and export see as a single node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.checks import check_finite
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_number
from splatlearn.core.operation import is_recorded, is_transformed, operation
from splatlearn.rendering.backends.torch import blend as torch_blend
from splatlearn.rendering.choice import BACKENDS, choose_backend
from splatlearn.rendering.derivatives import has_no_second_derivative, refuse_transforms
from splatlearn.rendering.leading import flat_leading
from splatlearn.rendering.splats import Splats, working_dtype

Background = str | Sequence[float] | Tensor
NAMED_BACKGROUNDS = {"white": 1.0, "black": 0.0}


def composite(
    splats: Splats,
    height: int,
    width: int,
    background: Background = "black",
    backend: str = "auto",
    check: bool = True,
    grid: PixelGrid = WHOLE_PICTURE,
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats near to far over a background (the formula stands in `splatlearn.rendering.formula`).

    - `splats`: their primitive says what α is.
    - `height`, `width`: pixels H and W of the whole picture.
    - `background`: "white", "black", C numbers, or a tensor [C] or [B, C].
    - `backend`: "auto" or a name of `available_backends()`.
    - `check`: raise for non-finite inputs. This is skipped on GPUs, where it would wait for the GPU, and under
      torch.compile.
    - `grid`: the pixels that are composited; the results have the grid's size. The specification computes them as it
      does in the whole picture.

    Returns the colour [B, C, H, W] and the transmittance [B, H, W] after the last splat. float64 inputs are computed in
    float64, all others in float32. The specification, `backend="torch"`, has derivatives of every order, forward mode
    and function transforms (`torch.func`). Compiled backends have first derivatives by reverse mode; "auto" chooses
    the specification if a transform is active. Raises InputError for non-finite inputs, sizes that are not positive,
    an unknown backend or a background of another shape; BackendError for a backend that cannot be used here, and for a
    second derivative of a compiled backend.
    """
    if height < 1 or width < 1:
        raise InputError(f"height, width: expected at least 1 pixel each, got {height} × {width}")
    check_kind("splats", splats, Splats, advice="`project` makes them of Gaussians")
    dtype = working_dtype(splats.means2d.dtype)
    colors = splats.colors.to(dtype)
    behind = background_colors(background, colors)
    inputs = (splats.means2d.to(dtype), splats.packed.to(dtype), splats.opacities.to(dtype), colors, behind)
    transformed = is_transformed(*inputs)
    if check and inputs[0].device.type == "cpu" and not transformed and not torch.compiler.is_compiling():
        names = (
            "means2d",
            "conics and shapes" if splats.shapes is not None else "conics",
            "opacities",
            "colors",
            "background",
        )
        check_finite(**dict(zip(names, inputs, strict=True)))
    drawn = splats.primitive
    chosen = choose_backend(backend, inputs[0], colors.shape[-1], transformed, drawn)
    size = grid.size(height, width)
    if transformed:
        with torch.autocast(inputs[0].device.type, enabled=False):
            return torch_blend.forward(*inputs, size, grid, drawn)
    if chosen != "torch" and grid != WHOLE_PICTURE and drawn == GAUSSIAN:
        # There kernels render whole pictures: the grid is the whole picture of splats in its pixels.
        means2d, conics = grid.splats(*inputs[:2])
        inputs, grid = (means2d, conics, *inputs[2:]), WHOLE_PICTURE
    return torch.ops.splatlearn.composite(*inputs, *size, chosen, [grid.stride, grid.left, grid.top], drawn)


def mean_depths(
    image: Float[Tensor, "*S channels H W"], transmittance: Float[Tensor, "*S H W"], backend: str = "auto"
) -> tuple[Float[Tensor, "*S C H W"], Float[Tensor, "*S H W"], Float[Tensor, "*S H W"]]:
    """Return colours, opacities and mean depths from composited channels, of which the last is the sum of depths.

    The colours are a view of `image`. With the backend "torch" PyTorch alone takes the gradients, as everywhere in the
    specification.
    """
    if backend == "torch" or is_recorded() or is_transformed(image, transmittance):
        # One node for autograd: each slice would write its gradient into an image of zeros of its own.
        color, summed = image.split([image.shape[-3] - 1, 1], dim=-3)
        alpha = 1.0 - transmittance
        return color, alpha, summed.squeeze(-3) / alpha.clamp_min(torch.finfo(alpha.dtype).eps)
    return _MeanDepths.apply(image, transmittance)


class _MeanDepths(torch.autograd.Function):
    """`mean_depths` with a backward pass in few steps, whose memory is kept where a backend keeps some.

    As steps of autograd, gradients would take ten temporary pictures: on a CPU their fresh pages cost more than
    blending few Gaussians does.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, transmittance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        alpha = 1.0 - transmittance
        depth = alpha.clamp_min(torch.finfo(alpha.dtype).eps)
        torch.div(image.select(-3, -1), depth, out=depth)
        ctx.save_for_backward(image, alpha, depth)
        return image.narrow(-3, 0, image.shape[-3] - 1), alpha, depth

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        image, alpha, depth = ctx.saved_tensors
        by_color, by_alpha, by_depth = gradients
        least = torch.finfo(alpha.dtype).eps
        if by_color is None and by_depth is None:
            return None, None if by_alpha is None else -by_alpha
        if torch.is_grad_enabled() or is_transformed(*(each for each in gradients if each is not None)):
            # What PyTorch records here has derivatives of every order.
            by_color, by_alpha, by_depth = (
                torch.zeros_like(like) if each is None else each
                for each, like in zip(gradients, (image.narrow(-3, 0, image.shape[-3] - 1), alpha, depth), strict=True)
            )
            by_sum = by_depth / alpha.clamp_min(least)
            by_opacity = by_alpha - torch.where(alpha >= least, by_sum * depth, 0.0)
            return torch.cat([by_color, by_sum.unsqueeze(-3)], dim=-3), -by_opacity
        scene = BACKENDS["cpu"].scene if image.device.type == "cpu" and image.dtype == torch.float32 else None
        is_kept = scene is not None and BACKENDS["cpu"].support.status() == "ok"
        empty_like = scene.empty_like if scene is not None and is_kept else torch.empty_like
        by_image, by_transmittance = empty_like(image), empty_like(alpha)
        colors, by_sum = by_image.narrow(-3, 0, image.shape[-3] - 1), by_image.select(-3, -1)
        colors.zero_() if by_color is None else colors.copy_(by_color)
        if by_depth is None:
            by_sum.zero_()
            return by_image, None if by_alpha is None else torch.neg(by_alpha, out=by_transmittance)
        # An opacity below the least is 0: then so is the depth, and what it adds here.
        torch.clamp_min(alpha, least, out=by_transmittance)
        torch.div(by_depth, by_transmittance, out=by_sum)
        torch.mul(by_sum, depth, out=by_transmittance)
        return by_image, by_transmittance if by_alpha is None else by_transmittance.sub_(by_alpha)


def background_colors(background: Background, colors: Float[Tensor, "B K C"]) -> Float[Tensor, "B C"]:
    """Return the background as a tensor [B, C] with the dtype and device of the colours of the splats.

    Raises InputError for an unknown name, or if the number of channels or images differs from that of the colours.
    """
    batch, channels = colors.shape[0], colors.shape[-1]
    if isinstance(background, str):
        if background not in NAMED_BACKGROUNDS:
            names = ", ".join(repr(name) for name in NAMED_BACKGROUNDS)
            raise InputError(f"background: expected {names}, {channels} numbers or a tensor, got {background!r}")
        return colors.new_full((batch, channels), NAMED_BACKGROUNDS[background])
    if not isinstance(background, Tensor):
        if not isinstance(background, Iterable) or len(numbers := list(background)) != channels:
            wanted = f"'white', 'black', {channels} numbers or a tensor"
            raise InputError(f"background: expected {wanted}, got {background!r}")
        for number in numbers:
            check_number("background", float(number) if isinstance(number, Tensor) else number)
        # Filled on the device, because copying to a GPU would wait for the GPU.
        background = torch.cat([colors.new_full((1,), float(value)) for value in numbers] or [colors.new_empty(0)])
    return flat_leading("background", background, (batch,), (channels,)).to(colors).expand(batch, channels)


def _composite(
    means2d: torch.Tensor,
    packed: torch.Tensor,
    opacities: torch.Tensor,
    colors: torch.Tensor,
    background: torch.Tensor,
    height: int,
    width: int,
    backend: str,
    grid: list[int],
    primitive: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.autocast(means2d.device.type, enabled=False):
        return BACKENDS[backend].blend.forward(
            means2d, packed, opacities, colors, background, (height, width), *_more(backend, grid, primitive)
        )


def _more(backend: str, grid: list[int], primitive: str) -> list[PixelGrid | str]:
    """The last arguments of the specification and of other primitives; kernels render whole pictures of Gaussians."""
    return [PixelGrid(*grid), primitive] if backend == "torch" or primitive != GAUSSIAN else []


def _empty_outputs(means2d, packed, opacities, colors, background, height, width, backend, grid, primitive):
    batch, channels = colors.shape[0], colors.shape[-1]
    return colors.new_empty(batch, channels, height, width), colors.new_empty(batch, height, width)


def _composite_backward(
    inputs: list[torch.Tensor],
    outputs: list[torch.Tensor],
    gradients: list[torch.Tensor],
    backend: str,
    grid: list[int],
    primitive: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    with torch.autocast(inputs[0].device.type, enabled=False):
        return BACKENDS[backend].blend.backward(
            tuple(inputs), tuple(outputs), tuple(gradients), *_more(backend, grid, primitive)
        )


def _empty_gradients(inputs, outputs, gradients, backend, grid, primitive):
    return tuple(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs)


def _setup_context(ctx, inputs, output):
    *tensors, _, _, backend, grid, primitive = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.arguments = backend, grid, primitive


def _backward(ctx, color_gradient, transmittance_gradient):
    *inputs, color, transmittance = ctx.saved_tensors
    outputs, upstream = [color, transmittance], [color_gradient, transmittance_gradient]
    is_specification = ctx.arguments[0] == "torch"
    refuse_transforms("composite", not is_specification, *upstream)
    if is_specification and (torch.is_grad_enabled() or is_transformed(*upstream)):
        # Not as one node: what PyTorch records of the specification has derivatives of every order.
        gradients = _composite_backward(inputs, outputs, upstream, *ctx.arguments)
    else:
        gradients = torch.ops.splatlearn.composite_backward(inputs, outputs, upstream, *ctx.arguments)
    return *gradients, None, None, None, None, None


operation(
    "composite",
    "(Tensor means2d, Tensor packed, Tensor opacities, Tensor colors, Tensor background, "
    "int height, int width, str backend, int[] grid, str primitive) -> (Tensor, Tensor)",
    _composite,
    _empty_outputs,
    _setup_context,
    _backward,
)
operation(
    "composite_backward",
    "(Tensor[] inputs, Tensor[] outputs, Tensor[] gradients, str backend, int[] grid, str primitive) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _composite_backward,
    _empty_gradients,
    backward=has_no_second_derivative("composite"),
)
