"""Known depths of the views of a step: maps of a sensor, and points that were triangulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError


@dataclass(frozen=True, eq=False)
class DepthPoints:
    """Depths at N places in pictures.

    - `views` [N]: indices of the step's views; `pixels` [N, 2]: u and v, continuous: the first pixel's centre is ½.
    - `depths` [N]: along the camera's axis, world units, above 0.
    - `weights` [N]: how much each counts, at least 0.
    """

    views: Int64[Tensor, " N"]
    pixels: Float[Tensor, "N 2"]
    depths: Float[Tensor, " N"]
    weights: Float[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.depths)

    def scaled(self, across: float, down: float) -> DepthPoints:
        """The same places in pictures whose sides are multiplied by these factors."""
        return replace(self, pixels=self.pixels * self.pixels.new_tensor([across, down]))

    def to(self, device: torch.device) -> DepthPoints:
        """Move to a device."""
        return DepthPoints(*(each.to(device) for each in (self.views, self.pixels, self.depths, self.weights)))


class Known(NamedTuple):
    """N places of pictures with their depths and weights: indices of view, row and column, then numbers."""

    views: Int64[Tensor, " N"]
    rows: Int64[Tensor, " N"]
    columns: Int64[Tensor, " N"]
    depths: Float[Tensor, " N"]
    weights: Float[Tensor, " N"]


@dataclass(frozen=True, eq=False)
class DepthTargets:
    """Known depths of V pictures of H × W pixels.

    - `maps` [V, H, W]: depths along the camera's axis, world units; 0 where there is none. None: no maps.
    - `weights` [V, H, W]: of the maps' pixels, at least 0; None: all count 1.
    - `points`: single depths beside the maps; None: none.

    Raises InputError for shapes that do not fit.
    """

    maps: Float[Tensor, "V H W"] | None = None
    weights: Float[Tensor, "V H W"] | None = None
    points: DepthPoints | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and (self.maps is None or self.weights.shape != self.maps.shape):
            wanted = "no weights without maps" if self.maps is None else f"weights of shape {list(self.maps.shape)}"
            raise InputError(f"weights: expected {wanted}, got {list(self.weights.shape)}")

    @classmethod
    def cat(cls, parts: Sequence[DepthTargets]) -> DepthTargets:
        """Join the known depths of single pictures, in order: all of them have maps and weights, or none has."""
        maps = [each.maps for each in parts if each.maps is not None]
        weights = [each.weights for each in parts if each.weights is not None]
        points = [
            replace(each.points, views=each.points.views + place)
            for place, each in enumerate(parts)
            if each.points is not None
        ]
        joined = (torch.cat([getattr(each, field.name) for each in points]) for field in fields(DepthPoints))
        return cls(
            torch.cat(maps) if maps else None,
            torch.cat(weights) if weights else None,
            DepthPoints(*joined) if points else None,
        )

    def known(self, size: tuple[int, int], masks: Float[Tensor, "V H W"] | None = None) -> Known:
        """Return all places with a depth.

        - `size`: height and width of the pictures; points outside of them are left out.
        - `masks`: weights of pixels, by which those of depths are multiplied.

        Places of weight 0 and depths that are not finite are left out. Raises InputError for maps of another size.
        """
        found: list[Known] = []
        if self.maps is not None:
            if tuple(self.maps.shape[-2:]) != size:
                raise InputError(f"maps: expected depths of {list(size)} pixels, got {list(self.maps.shape[-2:])}")
            views, rows, columns = (self.maps > 0).nonzero().unbind(1)
            depths = self.maps[views, rows, columns]
            weights = torch.ones_like(depths) if self.weights is None else self.weights[views, rows, columns]
            found.append(Known(views, rows, columns, depths, weights))
        if self.points is not None:
            columns, rows = self.points.pixels.floor().long().unbind(1)
            inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1]) & (self.points.depths > 0)
            each = (self.points.views, rows, columns, self.points.depths, self.points.weights)
            found.append(Known(*(values[inside] for values in each)))
        if not found:
            none = torch.zeros(0, dtype=torch.int64)
            return Known(none, none, none, torch.zeros(0), torch.zeros(0))
        known = Known(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        weights = known.weights if masks is None else known.weights * masks[known.views, known.rows, known.columns]
        counts = (weights > 0) & known.depths.isfinite()
        return Known(*(each[counts] for each in (*known[:-1], weights)))

    def resized(self, before: tuple[int, int], after: tuple[int, int]) -> DepthTargets:
        """The same for pictures of another height and width: of maps the pixel at the middle of each new one."""
        rows, columns = (
            ((torch.arange(new) + 0.5) * (old / new)).long() for old, new in zip(before, after, strict=True)
        )
        maps, weights = (
            None if each is None else each[:, rows[:, None].to(each.device), columns.to(each.device)]
            for each in (self.maps, self.weights)
        )
        points = None if self.points is None else self.points.scaled(after[1] / before[1], after[0] / before[0])
        return DepthTargets(maps, weights, points)

    def to(self, device: torch.device) -> DepthTargets:
        """Move to a device."""
        maps, weights = (None if each is None else each.to(device) for each in (self.maps, self.weights))
        return DepthTargets(maps, weights, None if self.points is None else self.points.to(device))
