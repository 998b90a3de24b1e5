"""A few gradient steps through the renderer, for each image on its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_gaussians, check_images, unchecked_values
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import CONVEX, GAUSSIAN, Gaussians
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_number, check_whole, half_cosine
from splatlearn.fitting.adding import join_state, new_gaussians
from splatlearn.fitting.initial.convexes import as_convexes
from splatlearn.fitting.initial.images import check_not_empty, initial_gaussians
from splatlearn.fitting.parameters import ColorRange, LearningRates, Parameters
from splatlearn.rendering import Rendering, as_primitive, render
from splatlearn.rendering.backends.torch.primitives.convex import FEWEST_POINTS, MOST_POINTS, USUAL_POINTS
from splatlearn.rendering.compositing import Background

Watcher = Callable[[int, Tensor], None]
"""Told the number of steps done and the mean squared errors [B] before the next."""


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    - `add`: Gaussians that each image gets beside those it has, in `rounds` rounds over the first half of the steps,
      where the error is largest.
    - `last_rate`: share of the rates that is left at the end of their cosine decay, in (0, 1].
    - `color`: `"bounded"` keeps colours in [0, 1], `"linear"` lets them be anything, as those of a GMAE with linear
      colours are; `"auto"` bounds those of each image whose colours all start in [0, 1].
    - `background`, `backend`: see `splatlearn.rendering`.
    - `primitive`: what Gaussians are drawn as, which those of a start that are plain ones become; see `as_primitive`.
    - `points`: of a convex, 3 to 8, where the fit makes them.
    - `seed`: of the places where Gaussians start or are added.
    - `check`: look at the values of images and Gaussians first, once for a fit.

    Raises InputError for numbers out of range.
    """

    rates: LearningRates = field(default_factory=LearningRates)
    add: int = 0
    rounds: int = 5
    last_rate: float = 0.1
    color: ColorRange = "auto"
    background: Background = "white"
    backend: str = "auto"
    primitive: str = GAUSSIAN
    points: int = USUAL_POINTS
    seed: int = 0
    check: bool = True

    def __post_init__(self) -> None:
        check_whole("add", self.add, 0)
        check_whole("rounds", self.rounds, 1)
        check_number("last_rate", self.last_rate, above=0, most=1)
        check_whole("points", self.points, FEWEST_POINTS, MOST_POINTS)
        check_whole("seed", self.seed, -(2**63), 2**64 - 1)


def fit(
    images: Float[Tensor, "B 3 H W"],
    start: Gaussians | int,
    steps: int = 200,
    options: FitOptions | None = None,
    camera: Camera | None = None,
    watch: Watcher | None = None,
) -> Gaussians:
    """Fit Gaussians to images by `steps` steps of Adam on the squared error of their rendering.

    - `images` [B, 3, H, W]: in [0, 1], of any size: Gaussians have none of their own.
    - `start`: Gaussians [B, K] with `colors`, or the number K that `initial_gaussians` places in each image;
      `options.seed` fixes where.
    - `camera`: `Camera.gmae` of the images' size by default.
    - `watch`: called before each step and after the last with the steps done and each image's mean squared error.

    Images do not influence one another. Gaussians move over the image, wherever the camera looks, and along the
    camera's axis only with a rate of depth above 0. Without steps nothing changes but the last digits of opacities and
    the length of quaternions. Returns detached Gaussians, those added last. Raises InputError for `sh`, shapes that do
    not fit, values that no image or Gaussian has, colours that `options.color` does not allow, a negative number of
    steps, and an error that is no longer finite.
    """
    if not isinstance(start, int) or isinstance(start, bool):
        check_kind("start", start, Gaussians)
    check_kind("options", options, FitOptions, type(None))
    check_kind("camera", camera, Camera, type(None))
    options = options or FitOptions()
    with contextlib.nullcontext() if options.check else unchecked_values():
        check_images(images, 3)
        if isinstance(start, Gaussians) and options.check:
            check_gaussians(**start.detach().tensors())
    check_not_empty(images)
    if isinstance(options.background, Tensor):
        # It is not fitted, whatever it was computed from.
        options = replace(options, background=options.background.detach())
    check_whole("steps", steps, 0)
    camera = camera or Camera.gmae(images.shape[-2], images.shape[-1])
    if (camera.height, camera.width) != tuple(images.shape[-2:]):
        raise InputError(f"camera: expected {images.shape[-2:]} pixels like images, got {camera.height, camera.width}")
    gaussians = start
    if isinstance(gaussians, int):
        with contextlib.nullcontext() if options.check else unchecked_values():
            gaussians = initial_gaussians(images, gaussians, torch.Generator().manual_seed(options.seed), camera)
    colors = gaussians.fixed_colors("start")
    if gaussians.batch_shape != (images.shape[0],) or colors.shape[-1] != 3:
        raise InputError(
            f"start: expected {images.shape[0]} sets of Gaussians with 3 colours, one for each image, "
            f"got means {list(gaussians.means.shape)} and colors {list(colors.shape)}"
        )
    if options.primitive == CONVEX and gaussians.primitive == GAUSSIAN:
        # Those that the fit places face the camera.
        gaussians = as_convexes(gaussians, options.points, flat=isinstance(start, int))
    elif options.primitive != GAUSSIAN:
        gaussians = as_primitive(gaussians, options.primitive)
    with torch.enable_grad():
        return _descend(gaussians, images, steps, options, camera, watch)


def _descend(
    gaussians: Gaussians,
    images: Float[Tensor, "B 3 H W"],
    steps: int,
    options: FitOptions,
    camera: Camera,
    watch: Watcher | None,
) -> Gaussians:
    parameters = Parameters.of(gaussians, camera, options.color)
    optimizer = parameters.adam(options.rates)
    adding = _schedule(steps, options)
    places = torch.Generator().manual_seed(options.seed)
    for step in range(steps):
        rate = options.last_rate + (1 - options.last_rate) * half_cosine(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * rate
        count = adding.get(step, 0)
        rendering = _show(parameters, options, depth=count > 0)
        errors = (rendering.color - images).square().mean(dim=(1, 2, 3))
        _tell(watch, step, errors, steps)
        optimizer.zero_grad()
        errors.sum().backward()
        optimizer.step()
        parameters.bound()
        if count:
            joined = parameters.join(new_gaussians(rendering, images, count, camera, places))
            optimizer = join_state(optimizer, joined.adam(options.rates), count)
            parameters = joined
    with torch.no_grad():
        if watch is not None:
            rendering = _show(parameters, options, depth=False)
            _tell(watch, steps, (rendering.color - images).square().mean(dim=(1, 2, 3)), steps)
        return parameters.gaussians().detach()


def _schedule(steps: int, options: FitOptions) -> dict[int, int]:
    """How many Gaussians are added after which step; they add up to `options.add` where there is a step at all."""
    if options.add == 0 or steps == 0:
        return {}
    rounds = min(options.rounds, max(1, steps // 2), options.add)
    counts = [options.add * (index + 1) // rounds - options.add * index // rounds for index in range(rounds)]
    return {(index + 1) * (steps // 2) // (rounds + 1): count for index, count in enumerate(counts)}


def _show(parameters: Parameters, options: FitOptions, depth: bool) -> Rendering:
    made = parameters.gaussians()
    return render(made, parameters.camera, options.background, options.backend, depth=depth, check=False)


def _tell(watch: Watcher | None, step: int, errors: Float[Tensor, " B"], steps: int) -> None:
    errors = errors.detach()
    # A look at every step would stall a GPU.
    if (step % 50 == 0 or step == steps) and not bool(torch.isfinite(errors).all()):
        raise InputError(
            f"gaussians: expected a finite error, got {errors.tolist()} after {step} of {steps} steps; "
            "look for non-finite Gaussians or images, or lower the rates"
        )
    if watch is not None:
        watch(step, errors)
