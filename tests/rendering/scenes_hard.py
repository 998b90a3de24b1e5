"""Scenes on which a compiled backend has to show itself: every size, shape and kind of splat that bit one before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, eq=False)
class Scene:
    """The arguments of a backend's `forward`, in float32, and its own relative width of the band around thresholds."""

    means2d: torch.Tensor
    conics: torch.Tensor
    opacities: torch.Tensor
    colors: torch.Tensor
    background: torch.Tensor
    size: tuple[int, int]
    alpha_band: float = 1e-4

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.means2d, self.conics, self.opacities, self.colors, self.background

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Scene:
        means2d, conics, opacities, colors, background = (function(tensor) for tensor in self.tensors)
        return replace(self, means2d=means2d, conics=conics, opacities=opacities, colors=colors, background=background)


def conics_of(first: torch.Tensor, second: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Conics [..., 3] of splats with standard deviations `first`, turned by `angle` from the x axis, and `second`."""
    cos, sin = angle.double().cos(), angle.double().sin()
    along, across = first.double() ** -2, second.double() ** -2
    return torch.stack(
        [
            cos * cos * along + sin * sin * across,
            cos * sin * (along - across),
            sin * sin * along + cos * cos * across,
        ],
        dim=-1,
    )


def scene(
    generator: torch.Generator,
    size: tuple[int, int] = (33, 49),
    batch: int = 2,
    count: int = 40,
    channels: int = 3,
    sigmas: tuple[float, float] | None = None,
    opacities: tuple[float, float] = (0.02, 0.99),
) -> Scene:
    """Splats scattered over an image and a little beyond, standard deviations `sigmas` or log-uniform in 0.6–8 px."""
    height, width = size

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(batch, count, *shape, generator=generator, dtype=torch.float64)

    span = torch.tensor([width, height], dtype=torch.float64)
    deviations = 0.6 * (8 / 0.6) ** uniform(2)
    if sigmas is not None:
        deviations = torch.tensor(sigmas, dtype=torch.float64).expand(batch, count, 2)
    return Scene(
        means2d=((uniform(2) * 1.2 - 0.1) * span).float(),
        conics=conics_of(deviations[..., 0], deviations[..., 1], uniform() * math.pi).float(),
        opacities=(opacities[0] + (opacities[1] - opacities[0]) * uniform()).float(),
        colors=uniform(channels).float(),
        background=torch.rand(batch, channels, generator=generator),
        size=size,
    )


def thin_tilted(generator: torch.Generator) -> Scene:
    # Along such a splat the two squares of the power cancel to a 1e-4 in float32: a wider band.
    return replace(scene(generator, (75, 130), count=40, sigmas=(60.0, 0.5)), alpha_band=2e-3)


def partly_off_screen(generator: torch.Generator) -> Scene:
    made = scene(generator, count=80)
    return replace(made, means2d=(made.means2d - 20) * 2)


def indefinite(generator: torch.Generator) -> Scene:
    """Conics that are no ellipse: saddles, ridges and bowls turned over, where the power is clamped at 0."""
    made = scene(generator, (20, 24), count=20)
    conics = torch.randn(2, 20, 3, generator=generator) * 10.0 ** (4 * torch.rand(2, 20, 1, generator=generator) - 3)
    return replace(made, conics=conics)


def all_off_screen(generator: torch.Generator) -> Scene:
    made = scene(generator)
    return replace(made, means2d=made.means2d - torch.tensor([500.0, -300.0]))


def coincident(generator: torch.Generator) -> Scene:
    made = scene(generator, count=12, opacities=(0.1, 0.4))
    return replace(
        made, means2d=made.means2d[:, :1].expand(-1, 12, -1), conics=made.conics[:, 3:4].expand(-1, 12, -1).contiguous()
    )


def mixed(generator: torch.Generator) -> Scene:
    """Wide, thin, tiny and round splats in one list, so that no two neighbours are alike."""
    parts = [scene(generator, sigmas=s, count=10) for s in [(20.0, 15.0), (40.0, 0.6), (0.55, 0.55), (4.0, 9.0)]]
    order = torch.randperm(40, generator=generator)
    means2d, conics, opacities, colors = (
        torch.cat([part.tensors[i] for part in parts], dim=1)[:, order] for i in range(4)
    )
    return Scene(means2d, conics, opacities, colors, parts[0].background, parts[0].size, alpha_band=1e-3)


def not_contiguous(generator: torch.Generator) -> Scene:
    made = scene(generator, batch=3)
    return Scene(
        made.means2d.mT.contiguous().mT,
        made.conics.flip(-1).flip(-1),
        made.opacities[:1].expand(3, -1),
        made.colors[:, ::2].repeat_interleave(2, 1)[:, :40],
        made.background[:1].expand(3, -1),
        made.size,
    )


SCENES: dict[str, Callable[[torch.Generator], Scene]] = {
    "random": lambda g: scene(g, (64, 80), count=100),
    "many bands": lambda g: scene(g, (300, 20), batch=1, count=100),
    "thin tilted": thin_tilted,
    "huge": lambda g: scene(g, sigmas=(500.0, 500.0), opacities=(0.01, 0.2)),
    "tiny": lambda g: scene(g, count=1000, sigmas=(0.55, 0.55)),
    "mixed": mixed,
    "partly off screen": partly_off_screen,
    "all off screen": all_off_screen,
    "coincident": coincident,
    "not contiguous": not_contiguous,
    "invisible": lambda g: scene(g, opacities=(0.0, 0.0039)),
    "three images": lambda g: scene(g, batch=3),
    **{f"{count} splats": lambda g, count=count: scene(g, count=count) for count in (0, 1, 3, 1000)},
    **{
        f"{size[0]}×{size[1]}": lambda g, size=size: scene(g, size, count=30)
        for size in [(1, 1), (17, 33), (5, 224), (16, 16), (31, 1), (1, 40)]
    },
    **{f"{n} channels": lambda g, n=n: scene(g, (19, 21), channels=n) for n in (1, 2, 3, 4, 5, 16)},
}

OPAQUE: dict[str, Callable[[torch.Generator], Scene]] = {
    "opacity 0.99 to 1": lambda g: scene(g, opacities=(0.99, 1.0)),
    "opacity 1 to 1.5": lambda g: scene(g, opacities=(1.0, 1.5)),
    "opacity 1000": lambda g: scene(g, opacities=(900.0, 1000.0)),
    "indefinite": indefinite,
    "stacked": lambda g: scene(g, count=300, sigmas=(14.0, 10.0), opacities=(0.9, 1.0)),
}
