"""How the leading batch axes of cameras and backgrounds match those of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians


def flat_leading(name: str, value: Tensor, batch: Sequence[int], own: tuple[int, ...]) -> Tensor:
    """Return a tensor [*batch, *own] as [N, *own] for N sets in all; a tensor [*own] serves all sets and stays.

    `batch` is the leading shape of the Gaussians. An axis of size 1 is repeated. Raises InputError for other shapes,
    also for those with the same number of elements.
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
    """Return the camera with batch [], for all sets of Gaussians, or [N], one for each of N sets.

    - `batch`: the leading axes *B of the Gaussians; the camera's must be [] or [*B].

    Raises InputError, which names both shapes, for any other batch.
    """
    if camera.batch_shape not in ((), tuple(batch)):
        raise _unfit(camera, batch)
    return camera if len(camera.batch_shape) < 2 else _flattened(camera)


def flat_views(gaussians: Gaussians, camera: Camera) -> tuple[Gaussians, Camera, tuple[int, ...]]:
    """Return Gaussians [N, K], the camera with batch [] or [N], and the leading axes *S of their N pictures.

    Gaussians [*B, K] may have cameras of batch [] (one for all), [*B] (one for each) or [*B, V] (V views of each);
    then S is [*B, V]. The kernels take one view of each set, so Gaussians are copied for each of V views. Raises
    InputError, which names both shapes, for any other batch.
    """
    views = camera.batch_shape
    if has_views(gaussians, camera):
        gaussians = repeated(gaussians, views[-1])
    shape = gaussians.batch_shape
    flat = gaussians if len(shape) == 1 else gaussians.reshape_batch(math.prod(shape))
    if views and len(shape) != 1:
        camera = _flattened(camera)
    return flat, camera, shape


def has_views(gaussians: Gaussians, camera: Camera) -> bool:
    """Return whether the camera has V views [*B, V] of each set, rather than one for all or one for each.

    Raises InputError, which names both shapes, where it has neither.
    """
    batch, views = gaussians.batch_shape, camera.batch_shape
    if len(views) == len(batch) + 1 and views[:-1] == batch:
        return True
    if views not in ((), batch):
        raise _unfit(camera, batch, "V")
    return False


def repeated(gaussians: Gaussians, count: int) -> Gaussians:
    """Return each set `count` times, [*B, count, K]; nothing is copied."""
    batch = gaussians.batch_shape
    axis = len(batch)
    return gaussians.map(lambda each: each.unsqueeze(axis).expand(*batch, count, *each.shape[axis:]))


def flat_pictures(value: Any, batch: tuple[int, ...], shape: tuple[int, ...], channels: int) -> Any:
    """Return a tensor of backgrounds as [N, channels], or [channels] for all N pictures; what is no tensor stays.

    - `batch`: the leading axes *B of the Gaussians, `shape`: those of their pictures, *B or [*B, V]. A background
      [*B, channels] serves all views of a set.
    """
    if not isinstance(value, Tensor):
        return value
    if value.ndim > 1 and tuple(value.shape[:-1]) == batch != shape:
        value = value.unsqueeze(-2)
    return flat_leading("background", value, shape, (channels,))


def _flattened(camera: Camera) -> Camera:
    kept = len(camera.batch_shape)
    return camera.map(lambda each: each.reshape(-1, *each.shape[kept:]))


def _unfit(camera: Camera, batch: Sequence[int], *views: str) -> InputError:
    leading = [*map(str, batch)]
    shapes = [leading, [*leading, *views]] if views else [leading]
    wanted = [f"[{', '.join([*each, '4', '4'])}]" for each in dict.fromkeys(map(tuple, [[], *shapes]))]
    return InputError(
        f"camera.viewmats: expected shape {' or '.join(wanted)} for gaussians with leading axes {list(batch)}, "
        f"got {list(camera.viewmats.shape)}"
    )
