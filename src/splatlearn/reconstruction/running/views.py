"""The photographs of each step, and their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from splatlearn.captures.photographs import Photo, Photographs
from splatlearn.core.cameras import WHOLE_PICTURE, Camera, PixelGrid, solid_angles
from splatlearn.core.randomness import Purpose, generator
from splatlearn.fitting import ViewBatch
from splatlearn.fitting.draws import Draw, Draws
from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.results.evaluator import on_device
from splatlearn.reconstruction.results.known_depths import Depths
from splatlearn.rendering.compositing import Background

DOWNSCALES = (4, 2)
"""Divisors of the sides of photographs in the first and the second half of the coarse steps."""
SCALED_SHARE = 4
"""The photographs' budget divided by this is what photographs that were scaled down may take besides."""
SMALLEST = 64
"""Pixels of the longer side below which no photograph is scaled down."""


@dataclass(frozen=True, eq=False)
class Target:
    """The target of a step: its camera [1], pixels [1, C, H, W] in bytes, weights [1, H, W] or None, known depths.

    `view`: the place of the photograph among those that are fitted.
    """

    name: str
    camera: Camera
    pixels: UInt8[Tensor, "1 C H W"]
    weights: Tensor | None
    depth: DepthTargets | None = None
    view: int = 0

    @property
    def nbytes(self) -> int:
        """The bytes of pixels, weights and depth maps."""
        maps = None if self.depth is None else self.depth.maps
        return sum(each.nbytes for each in (self.pixels, self.weights, maps) if each is not None)


def order_of_epoch(seed: int, epoch: int, count: int) -> list[int]:
    """The photographs of an epoch, each once, in an order that depends on the seed and the epoch alone."""
    return generator(seed, epoch, 0, Purpose.ORDER).permutation(count).tolist()


def downscale_at(step: int, steps: int, coarse: float) -> int:
    """Return the divisor of the sides of photographs in step `step` of `steps`, counted from 0."""
    span = coarse * steps
    if step >= span:
        return 1
    return DOWNSCALES[min(int(step / span * len(DOWNSCALES)), len(DOWNSCALES) - 1)]


def grid_at(step: int, stride: int, downscale: int, seed: int) -> PixelGrid:
    """The pixels that a step, counted from 0, sees: a random grid, and all of photographs that are scaled down."""
    if stride == 1 or downscale > 1:
        return WHOLE_PICTURE
    left, top = (Draws(seed, step).uniforms(Draw.GRID, 2) * stride).long().tolist()
    return PixelGrid(stride, left, top)


class StepViews:
    """The photographs of each step; those of the next ones are decoded, and those of the next one scaled, in advance.

    - `photographs`: of the capture's training views; `seed`: of the order.
    - `unreadable`: what could not be read, by name; such photographs are left out from then on.
    - `depths`: known depths of the photographs, if targets are to have them.

    A target is a function of its photograph and the divisor alone. `close` ends the thread that scales.
    """

    def __init__(
        self,
        photographs: Photographs,
        seed: int,
        unreadable: dict[str, str] | None = None,
        depths: Depths | None = None,
    ) -> None:
        self.photographs, self.seed, self.depths = photographs, seed, depths
        self.unreadable = dict(unreadable or {})
        self._epoch: tuple[int, list[int]] | None = None
        self._scaled: dict[int, Target] = {}
        self._scaled_bytes = self._downscale = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="targets")
        self._coming: dict[tuple[int, int], Future[Target]] = {}

    def at(self, number: int, downscale: int) -> Target | None:
        """Photograph `number` of all epochs, from 0, divided by `downscale`; None where none can be read any more.

        The photograph that follows in the order takes the place of one that cannot be read.
        """
        count = len(self.photographs)
        epoch, place = divmod(number, count)
        order = self._order(epoch)
        if place == 0 or self._downscale != downscale:
            self.photographs.prefetch(self._readable([*order[place:], *self._order(epoch + 1)]))
            self._order(epoch)
        if downscale != self._downscale:
            self._downscale, self._scaled, self._scaled_bytes = downscale, {}, 0
        for index in [*order[place:], *order[:place]]:
            name = self.photographs.views[index].name
            if name in self.unreadable:
                continue
            try:
                return self._target(index, downscale)
            except UnreadableImage as error:
                # A mask has a name of its own.
                self.unreadable[name] = error.reason if error.name == name else f"{error.name}: {error.reason}"
        return None

    def step(self, step: int, count: int, downscale: int) -> list[Target]:
        """The `count` photographs of a step, counted from 0; none where no photograph can be read any more."""
        targets = [self.at(step * count + each, downscale) for each in range(count)]
        self._make_ahead(range((step + 1) * count, (step + 2) * count), downscale)
        return [each for each in targets if each is not None]

    def close(self) -> None:
        """End the thread that scales photographs."""
        self._pool.shutdown(cancel_futures=True)

    def _make_ahead(self, numbers: range, downscale: int) -> None:
        """Begin to make the targets that come next, and forget those that were not taken."""
        orders = {each: order_of_epoch(self.seed, each, len(self.photographs)) for each in self._epochs_of(numbers)}
        wanted = [orders[epoch][place] for epoch, place in (divmod(each, len(self.photographs)) for each in numbers)]
        keys = [(index, downscale) for index in self._readable(wanted) if index not in self._scaled]
        self._coming = {
            key: self._coming[key] if key in self._coming else self._pool.submit(self._made, *key) for key in keys
        }

    def _epochs_of(self, numbers: range) -> Iterator[int]:
        yield from dict.fromkeys(each // len(self.photographs) for each in numbers)

    def _order(self, epoch: int) -> list[int]:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, order_of_epoch(self.seed, epoch, len(self.photographs)))
        return self._epoch[1]

    def _readable(self, order: list[int]) -> Iterator[int]:
        return (index for index in order if self.photographs.views[index].name not in self.unreadable)

    def _target(self, index: int, downscale: int) -> Target:
        if (held := self._scaled.get(index)) is not None:
            return held
        coming = self._coming.pop((index, downscale), None)
        made = self._made(index, downscale) if coming is None else coming.result()
        if downscale > 1 and self._scaled_bytes + made.nbytes <= self.photographs.budget // SCALED_SHARE:
            self._scaled[index] = made
            self._scaled_bytes += made.nbytes
        return made

    def _made(self, index: int, downscale: int) -> Target:
        photo = self.photographs[index]
        made = target_of(photo, downscale, None if self.depths is None else self.depths.of(photo))
        return replace(made, view=index)


def batches_of(targets: list[Target], background: Background, grid: PixelGrid, device: torch.device) -> list[ViewBatch]:
    """The photographs of a step in batches of one size, in the order in which their sizes come.

    - `background`: a name, or a colour [3]; `grid`: the pixels of all of them that are seen.
    """
    groups: dict[tuple[object, ...], list[Target]] = {}
    for each in targets:
        known = each.depth
        depths = None if known is None else (known.maps is None, known.weights is None)
        shape = (each.camera.height, each.camera.width, each.camera.model, each.pixels.shape[1])
        kind = (*shape, each.weights is None, depths)
        groups.setdefault(kind, []).append(each)
    return [_batch_of(group, background, grid, device) for group in groups.values()]


def _batch_of(targets: list[Target], background: Background, grid: PixelGrid, device: torch.device) -> ViewBatch:
    first, *others = targets
    camera, pixels, weights, depth = first.camera, first.pixels, first.weights, first.depth
    if others:
        cameras = [each.camera for each in targets]
        # As a camera of one view has them: the same numbers give the same bits.
        lens = {
            name: torch.tensor([float(getattr(each, name)) for each in cameras], dtype=torch.float64)
            for name in ("fx", "fy", "cx", "cy")
        }
        camera = replace(camera, viewmats=torch.cat([each.viewmats for each in cameras]), **lens)
        pixels = torch.cat([each.pixels for each in targets])
        weights = None if weights is None else torch.cat([each.weights for each in targets if each.weights is not None])
        depth = None if depth is None else DepthTargets.cat([each.depth for each in targets if each.depth is not None])
    weights = None if weights is None else weights.to(device)
    depth = None if depth is None else depth.to(device)
    rows = torch.tensor([each.view for each in targets])
    return ViewBatch(on_device(camera, device), pixels.to(device), weights, background, depth, rows, grid)


def target_of(photo: Photo, downscale: int = 1, depth: DepthTargets | None = None) -> Target:
    """A photograph as a target, its sides divided by `downscale` but not below `SMALLEST` for the longer.

    `depth`: its known depths; a smaller target takes single pixels of a map. Pixels of a panorama weigh by their solid
    angle.
    """
    camera, pixels, mask = photo.camera, photo.pixels, photo.mask
    while downscale > 1 and max(camera.height, camera.width) // downscale < SMALLEST:
        downscale //= 2
    weights = None if mask is None else mask.float() / 255
    if downscale > 1:
        height, width = max(1, camera.height // downscale), max(1, camera.width // downscale)
        camera = camera.resized(height, width)
        pixels = _smaller(pixels, height, width)
        weights = None if weights is None else _means(weights[None], height, width)[0].eq(1).float()
        depth = None if depth is None else depth.resized((photo.camera.height, photo.camera.width), (height, width))
    if camera.projection.is_spherical:
        shares = solid_angles(camera.height)[:, None].expand(camera.height, camera.width)
        weights = shares if weights is None else weights * shares
    batch = replace(camera, viewmats=camera.viewmats[None])
    # Bytes are kept in the layout of the file: the loss takes any.
    return Target(photo.name, batch, pixels.permute(2, 0, 1)[None], None if weights is None else weights[None], depth)


def _smaller(pixels: UInt8[Tensor, "H W C"], height: int, width: int) -> UInt8[Tensor, "h w C"]:
    values = pixels.permute(2, 0, 1).float()
    if len(values) == 4:
        # Colours count as much as their opacity.
        values[:3] *= values[3:] / 255
    means = _means(values, height, width)
    if len(means) == 4:
        means[:3] *= 255 / means[3:].clamp_min(0.5)
    return means.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def _means(values: Tensor, height: int, width: int) -> Tensor:
    return torch.nn.functional.interpolate(values[None], (height, width), mode="area")[0]
