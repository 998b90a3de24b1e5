"""Gaussians as numbers that an optimiser may move: displacements from a start, in the frame of the camera."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.initial.convexes import more_of
from splatlearn.rendering.backends.torch.primitives.registry import check_primitive, primitive_of
from splatlearn.rendering.leading import flat_camera
from splatlearn.rendering.splats import working_dtype

ColorRange = Literal["auto", "bounded", "linear"]
"""What colours may become: `"bounded"`: in [0, 1]; `"linear"`: anything; `"auto"`: bounded in images that start so."""


@dataclass(frozen=True)
class LearningRates:
    """Adam's step for each attribute.

    - `position`: across the image, in mean distances between neighbouring Gaussians, an image's side over √K.
    - `depth`: along the camera's axis, likewise; 0 leaves the order alone, of which the loss has no gradient.
    - `scale`: of the logarithm; `rotation`: of the quaternion's numbers; `color`: of colours; `opacity`: of the logits.
    - `shape`: of the further numbers of a primitive that has some.
    """

    position: float = 0.08
    depth: float = 0.0
    scale: float = 0.1
    rotation: float = 0.1
    color: float = 0.045
    opacity: float = 0.15
    shape: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise InputError(f"{field.name}: expected a rate of at least 0, got {value}")


@dataclass(frozen=True, eq=False)
class Parameters:
    """The parametrisation of a fit: what an optimiser moves, and how it becomes Gaussians.

    The parametrisation carries the activations. Opacities are sigmoids of logits, and colours are the numbers
    themselves, which `bound` brings back into the bounds of their image after each step. Before the first step
    `gaussians` returns the start up to rounding: nothing is clipped at a margin.

    - `start`: the Gaussians; `camera`: with one matrix for all sets or one for each.
    - `axes`: the camera's to the right, down and along its line of sight, as rows in the world.
    - `units` [B, K, 1]: side of the image at each Gaussian's depth, world units.
    - `low`, `high` [B, 1, 1]: bounds of the colours, infinite where there are none.
    - `across`, `depth`: how far means have moved over the image and along the camera's axis, in units.
    - `growth`: logarithms of what scales are multiplied by.
    - `quaternions`, `colors`: themselves; `opacity_logits`: of opacities, finite to the last digit below 1.
    - `numbers` [B, K, S]: unbounded ones of which the primitive makes its `shapes`; none for most.
    """

    start: Gaussians
    camera: Camera
    axes: Float[Tensor, "*V 3 3"]
    units: Float[Tensor, "B K 1"]
    low: Float[Tensor, "B 1 1"]
    high: Float[Tensor, "B 1 1"]
    across: Float[Tensor, "B K 2"]
    depth: Float[Tensor, "B K 1"]
    growth: Float[Tensor, "B K 3"]
    quaternions: Float[Tensor, "B K 4"]
    colors: Float[Tensor, "B K C"]
    opacity_logits: Float[Tensor, "B K"]
    numbers: Float[Tensor, "B K S"]

    @classmethod
    def of(cls, gaussians: Gaussians, camera: Camera, color: ColorRange = "auto") -> Parameters:
        """The numbers of Gaussians [B, K], detached.

        Raises InputError for Gaussians with `sh`, an unknown `color`, colours outside of [0, 1] that are to be bounded,
        and a camera whose matrices do not fit.
        """
        start = gaussians.detach().to(working_dtype(gaussians.means.dtype))
        low, high = _bounds(start.fixed_colors(), color)
        # Opacities of 0 and 1 have no finite logit: the nearest numbers that have one.
        tiny, near = torch.finfo(start.means.dtype).tiny, 1.0 - torch.finfo(start.means.dtype).eps / 2
        camera = flat_camera(camera, start.batch_shape)
        camera = replace(camera, viewmats=camera.viewmats.detach())
        shapes = start.shapes
        if shapes is None:
            numbers = start.opacities.new_zeros(*start.opacities.shape, 0)
        else:
            numbers = check_primitive(start, has_values=True).free(shapes)
        return cls(
            start=start,
            camera=camera,
            axes=camera.viewmats[..., :3, :3].to(start.means),
            units=_sides(start.means, camera),
            low=low,
            high=high,
            across=torch.zeros_like(start.means[..., :2]),
            depth=torch.zeros_like(start.means[..., 2:]),
            growth=torch.zeros_like(start.scales),
            quaternions=torch.nn.functional.normalize(start.quaternions, dim=-1),
            colors=start.fixed_colors().clone(),
            opacity_logits=start.opacities.clamp(tiny, near).logit(),
            numbers=numbers,
        )

    def gaussians(self) -> Gaussians:
        """The Gaussians, with gradients to the numbers."""
        moved = torch.cat([self.across, self.depth], dim=-1) * self.units
        return Gaussians(
            means=self.start.means + moved @ self.axes,
            scales=self.start.scales * self.growth.exp(),
            quaternions=self.quaternions,
            colors=self.colors,
            opacities=self.opacity_logits.sigmoid(),
            shapes=None if self.start.shapes is None else primitive_of(self.start.primitive).bound(self.numbers),
            primitive=self.start.primitive,
        )

    @torch.no_grad()
    def bound(self) -> None:
        """Bring colours back into their bounds, as after each step."""
        self.colors.clamp_(self.low, self.high)

    def join(self, others: Gaussians) -> Parameters:
        """These and those of other Gaussians, one after the other along K; leaves of the autograd graph."""
        more = Parameters.of(more_of(others, self.start), self.camera, "linear")
        longer = {
            name: torch.cat([getattr(self, name), getattr(more, name)], 1).detach() for name in (*LEAVES, "units")
        }
        return replace(self, start=Gaussians.cat([self.start, more.start]), **longer)

    def adam(self, rates: LearningRates) -> torch.optim.Adam:
        """Adam over all numbers, each kind with its own rate; asks for gradients of those whose rate is not 0."""
        spacing = 1.0 / self.across.shape[1] ** 0.5
        steps = {
            "across": rates.position * spacing,
            "depth": rates.depth * spacing,
            "growth": rates.scale,
            "quaternions": rates.rotation,
            "colors": rates.color,
            "opacity_logits": rates.opacity,
            "numbers": rates.shape if self.numbers.shape[-1] else 0.0,
        }
        groups = [
            {"params": [getattr(self, name).requires_grad_()], "lr": step, "full_lr": step, "name": name}
            for name, step in steps.items()
            if step > 0
        ]
        if not groups:
            raise InputError("rates: expected at least one above 0, got none")
        # A pixel's share of the loss is small, so that Adam's usual epsilon would slow the smallest Gaussians down.
        return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-12)


LEAVES = ("across", "depth", "growth", "quaternions", "colors", "opacity_logits", "numbers")
"""What an optimiser moves."""


def _bounds(colors: Float[Tensor, "B K C"], color: ColorRange) -> tuple[Float[Tensor, "B 1 1"], Float[Tensor, "B 1 1"]]:
    if color not in get_args(ColorRange):
        raise InputError(f"color: expected one of {', '.join(get_args(ColorRange))}, got {color!r}")
    flat = colors.flatten(1)
    inside = ((flat >= 0) & (flat <= 1)).all(dim=1)[:, None, None]
    if color == "bounded" and not bool(inside.all()):
        smallest, largest = (float(value) for value in colors.aminmax())
        raise InputError(
            f"color: expected colours in [0, 1] for 'bounded', got {smallest:.4g} to {largest:.4g}; use 'linear', or "
            "fit colours first with refit_colors"
        )
    is_bounded = inside if color == "auto" else torch.full_like(inside, color == "bounded")
    endless = torch.full_like(is_bounded, float("inf"), dtype=colors.dtype)
    return torch.where(is_bounded, 0.0, -endless), torch.where(is_bounded, 1.0, endless)


def _sides(means: Float[Tensor, "B K 3"], camera: Camera) -> Float[Tensor, "B K 1"]:
    """The side of a square as large as the image, world units, at each mean's depth."""
    lens = camera.lens(means[..., 0])
    side = (camera.width / lens.fx * camera.height / lens.fy) ** 0.5
    side = side.unsqueeze(-1) if isinstance(side, Tensor) else side
    if not camera.projection.depth_moves_centers:
        return torch.ones_like(means[..., :1]) * side
    view = camera.viewmats.to(means)
    depths = means @ view[..., 2, :3].unsqueeze(-1) + view[..., 2, 3, None, None]
    return side * depths.clamp_min(camera.near)
