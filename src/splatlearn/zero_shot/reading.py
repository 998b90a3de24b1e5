"""The Gaussians of images of any size, ready to be read out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_images
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting import ColorRange, FitOptions, fit
from splatlearn.fitting.initial.images import check_not_empty
from splatlearn.models import GMAE
from splatlearn.rendering import Rendering, Splats, project, render
from splatlearn.rendering.compositing import Background
from splatlearn.zero_shot.choices import Sizing
from splatlearn.zero_shot.windows import Window, least_window, merge_windows, resize, windows_over

Progress = Callable[[str, int, int], None]
"""Called with the kind of work ("windows" or "steps"), the number of parts that are done, and the number of all."""


@dataclass(frozen=True)
class ReadOptions:
    """How a model looks at images that are not of its own size, and what happens before the read-out.

    - `sizing`: `"resize"` shows the model the whole image at its native size, whatever the aspect; `"windows"` shows
      it overlapping windows of its native aspect and merges their Gaussians, blended where windows overlap.
    - `window`: height of a window in pixels of the image, which covers at least a patch of the model; None for the
      largest that fits.
    - `overlap`: smallest share of a window that its neighbour covers too, in [0, 1).
    - `fit_steps`: gradient steps through the renderer, at the image's own size.

    Either way the Gaussians are rendered at the image's own size. Raises InputError for an unknown name or numbers out
    of range.
    """

    sizing: Sizing = "resize"
    window: int | None = None
    overlap: float = 0.5
    fit_steps: int = 0

    def __post_init__(self) -> None:
        if self.sizing not in get_args(Sizing):
            raise InputError(f"sizing: expected one of {', '.join(get_args(Sizing))}, got {self.sizing!r}")
        if self.window is not None:
            check_whole("window", self.window, 1)
        check_number("overlap", self.overlap, 0, below=1)
        check_whole("fit_steps", self.fit_steps, 0)


@dataclass(frozen=True, eq=False)
class ImageGaussians:
    """The Gaussians [B, K] of images, the camera that sees them at the images' size, and the background.

    - `tokens` [B, K, D]: the decoder's token of each Gaussian; None without a model.
    - `fitted`: number of gradient steps that the Gaussians have had since the model predicted them.
    - `color`: the range of colours that the model allows, for `FitOptions`.
    - `image` [B, 3, H, W]: the images; None without any.
    """

    gaussians: Gaussians
    camera: Camera
    background: Background = "white"
    tokens: Float[Tensor, "B K D"] | None = None
    fitted: int = 0
    color: ColorRange = "auto"
    image: Float[Tensor, "B 3 H W"] | None = None

    @cached_property
    def splats(self) -> Splats:
        """The projected Gaussians, near to far."""
        return project(self.gaussians, self.camera)

    @cached_property
    def order(self) -> Tensor:
        """Which Gaussian each of `splats` is, [B, K]."""
        means = self.gaussians.means
        numbers = torch.arange(means.shape[1], dtype=torch.float32, device=means.device)
        numbered = replace(self.gaussians, colors=numbers.expand(means.shape[:2]).unsqueeze(-1), sh=None)
        return project(numbered, self.camera).colors.squeeze(-1).long()

    @cached_property
    def rendering(self) -> Rendering:
        """All of it, with its depth map."""
        return render(self.gaussians, self.camera, self.background)

    @property
    def picture(self) -> Float[Tensor, "B 3 H W"]:
        """The images, or the rendering of the Gaussians if there are none."""
        return self.rendering.color if self.image is None else self.image

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.camera.height, self.camera.width


@torch.no_grad()
def gaussians_of(
    model: Any,
    images: Float[Tensor, "B 3 H W"],
    options: ReadOptions | None = None,
    progress: Progress | None = None,
) -> ImageGaussians:
    """Let a GMAE predict the Gaussians of whole images, without masking.

    - `images`: in [0, 1], at least as large as a patch.
    - `progress`: told of windows and of gradient steps.

    The model runs in evaluation mode and is left as it was. Raises
    TypeError for images that are not floating-point, and ValueError for a model that predicts no Gaussians, other
    shapes and images smaller than a patch.
    """
    options = options or ReadOptions()
    if not isinstance(model, GMAE):
        raise InputError(
            f"model: expected a GMAE, which paints with Gaussians, got {_kind(model)}; "
            "zero-shot outputs need a run of `splatlearn pretrain gmae`"
        )
    _check(images, model.patch_size)
    check_options(model, options)
    height, width = images.shape[-2:]
    windows = [Window(0, 0, height, width)]
    if options.sizing == "windows":
        windows = windows_over(height, width, model.image_size, options.window, options.overlap)
    parts = []
    for done, window in enumerate(windows):
        if progress is not None and len(windows) > 1:
            progress("windows", done, len(windows))
        parts.append(_predict(model, resize(window.cut(images), model.image_size)))
    camera, background = model.camera(height, width), model.background(images)
    distance = float(camera.viewmats[2, 3]) if camera.projection.depth_moves_centers else None
    gaussians = merge_windows([part[0] for part in parts], windows, (height, width), distance)
    tokens = torch.cat([part[1] for part in parts], dim=1)
    color: ColorRange = "linear" if model.config.color == "linear" else "bounded"
    if options.fit_steps:
        steps, how = options.fit_steps, FitOptions(background=background, color=color)
        watch = None if progress is None else lambda step, errors: progress("steps", step, steps)
        gaussians = fit(images, gaussians, steps, how, camera, watch)
    return ImageGaussians(gaussians, camera, background, tokens, options.fit_steps, color, images)


def check_options(model: GMAE, options: ReadOptions) -> None:
    """Raise InputError for windows that are smaller than a patch of the model."""
    least = least_window(model.image_size, model.patch_size)
    if options.sizing == "windows" and options.window is not None and options.window < least:
        raise InputError(
            f"window: expected at least {least} pixels, which cover one patch of the model, got {options.window}"
        )


def principal_tokens(read: ImageGaussians, count: int) -> Float[Tensor, "B K count"]:
    """The tokens of the splats along their first principal axes, in the depth order, each axis scaled into [0, 1].

    Raises InputError where it has no tokens.
    """
    if read.tokens is None:
        raise InputError("read: expected Gaussians with the decoder's tokens, got Gaussians alone; use other cues")
    each = torch.arange(read.tokens.shape[0], device=read.tokens.device).unsqueeze(-1)
    tokens = read.tokens[each, read.order].float()
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    _, lengths, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = min(count, axes.shape[1])
    found = centred @ axes[:, :kept].mT
    spread = lengths[:, None, :1].clamp_min(1e-12) / tokens.shape[1] ** 0.5
    return (0.5 + found / (4.0 * spread)).clamp(0.0, 1.0)


def _predict(model: GMAE, images: Float[Tensor, "B 3 h w"]) -> tuple[Gaussians, Float[Tensor, "B K D"]]:
    """The Gaussians, and for each the decoder token that emitted it."""
    decoded: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        decoded.append(output)

    hook = model.decoder.register_forward_hook(keep)
    training = model.training
    model.eval()
    try:
        gaussians = model.gaussians(images)
    finally:
        hook.remove()
        model.train(training)
    tokens = decoded[0][:, -model.config.num_queries :].float()
    return gaussians, tokens.repeat_interleave(model.config.gaussians_per_query, dim=1)


def _check(images: Tensor, patch_size: int) -> None:
    check_images(images, 3)
    check_not_empty(images)
    height, width = images.shape[-2:]
    if height < patch_size or width < patch_size:
        raise InputError(
            f"images: expected at least {patch_size}×{patch_size} pixels, one patch of the model, got {height}×{width}"
        )


def _kind(model: object) -> str:
    name = type(model).__name__
    return f"a {name}" if name == "MAE" else f"an object of type {name}"
