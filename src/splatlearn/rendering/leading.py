"""Leading batch axes of what comes with Gaussians: none, or the same as theirs; equal counts alone pair nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError


def flat_leading(name: str, value: Tensor, batch: Sequence[int], own: tuple[int, ...]) -> Tensor:
    """A tensor [*batch, *own] as [N, *own], N sets in all; or one for all sets, as [*own].

    `batch`: the leading shape of the Gaussians. An axis of size 1 is repeated. Raises InputError for other shapes, even
    of the same count.
    """
    shape, axes = tuple(value.shape), value.ndim - len(own)
    before, after = shape[: max(0, axes)], shape[max(0, axes) :]
    if shape == own:
        return value
    is_one = after == own and all(size == 1 for size in before)
    pairs = after == own and len(before) == len(batch)
    if not is_one and not (pairs and all(size in (1, each) for size, each in zip(before, batch, strict=True))):
        texts = [f"[{', '.join(str(size) for size in sizes)}]" for sizes in (own, (*batch, *own))]
        either = " or ".join(texts if batch else texts[:1])
        wanted = f"expected shape {either} for gaussians with leading axes {list(batch)}"
        raise InputError(f"{name}: {wanted}, got {list(shape)}")
    if is_one:
        return value.reshape(own)
    return value.expand(*batch, *own).reshape(math.prod(batch), *own)


def flat_camera(camera: Camera, batch: Sequence[int]) -> Camera:
    """The camera with one matrix for all, or one for each of the sets of Gaussians, [N, 4, 4]; raises InputError."""
    view = flat_leading("camera.world_to_camera", camera.world_to_camera, batch, (4, 4))
    return camera if view is camera.world_to_camera else replace(camera, world_to_camera=view)
