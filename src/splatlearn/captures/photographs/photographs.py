"""The photographs of a capture, decoded when they are needed and kept as bytes within a budget."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from splatlearn.captures.capture import View
from splatlearn.captures.finding.names import count
from splatlearn.captures.photographs.disk_cache import DiskCache, cache_folder
from splatlearn.captures.photographs.preparing import Plan, planned, prepare, prepare_depth
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.core.memory import available_memory, return_freed_memory, shown_bytes
from splatlearn.core.numbers import check_whole

LONGEST_SIDE = 1600
"""Pixels, by default."""
SHARE = 3
"""The default budget is the free memory divided by this."""
AHEAD = 2
"""Photographs that each worker prepares before they are taken."""
TRIMMED = 8
"""Number of photographs after which freed memory goes back to the system. Small objects between the decoders' large
ones would otherwise keep it, and the process would take far more than the budget."""
DEPTH = 4
"""Bytes of a pixel's depth."""
SEARCHED = 256
"""Places of the order in which the next photographs to decode are looked for."""


Bytes = UInt8[np.ndarray, "..."]
Depths = Float32[np.ndarray, "..."]
Prepared = tuple[Bytes, Bytes | None, Depths | None]
"""Pixels, mask and depths."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph as a pinhole camera would have taken it, or a panorama.

    - `pixels` [H, W, 3]: red, green and blue in bytes; [H, W, 4] with opacity, not multiplied, if some is transparent.
    - `mask` [H, W]: 0 where the photograph must not be used, 255 where it counts; None if all of it counts.
    - `camera`: of H x W pixels, in the world or in the frame that `Photographs` was given.
    - `depth` [H, W]: along the camera's axis, or the distance in a panorama, in the same world; 0 where there is none.
      None for photographs without a depth map, and unless `Photographs` was asked for them.
    """

    name: str
    pixels: UInt8[Tensor, "H W C"]
    mask: UInt8[Tensor, "H W"] | None
    camera: Camera
    depth: Float[Tensor, "H W"] | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of pixels, mask and depths."""
        return sum(each.nbytes for each in (self.pixels, self.mask, self.depth) if each is not None)


class Photographs:
    """The photographs of some views: `photographs[i]` decodes, scales down and undistorts the i-th, or has it already.

    - `views`: of a capture, all or some.
    - `max_size`: longest side of the results in pixels; None keeps all pixels. Nothing is enlarged.
    - `budget`: bytes of decoded photographs that are held, by default a third of the free memory. Photographs are held
      as they come, until the budget is used up; the others are decoded anew each time, those of `prefetch` in advance.
      Every worker needs the memory of one decoded file besides.
    - `workers`: threads that decode, by default one for each processor, at most 8.
    - `frame`: from the capture's world to the one of the cameras, such as the capture's `to_unit`.
    - `depth`: whether to read depth maps, too: 4 bytes for each pixel of a view that has one.
    - `cache`: whether undistorted photographs are kept on disk for later runs, in the user's cache, or the folder that
      keeps them.

    Nothing is decoded at first: sizes are those of the views' lenses. The same photographs come out whatever the budget
    and the number of workers. Use it as a context manager, or call `close`, to end the workers.

    Indexing raises UnreadableImage, with the photograph's `name` and a `reason`, for a file that is damaged or has
    vanished; the next access tries again. Raises InputError for a budget that does not hold two photographs.
    """

    def __init__(
        self,
        views: Sequence[View],
        max_size: int | None = LONGEST_SIDE,
        budget: int | None = None,
        *,
        workers: int | None = None,
        frame: Similarity | None = None,
        depth: bool = False,
        cache: bool | Path = True,
    ) -> None:
        if max_size is not None:
            check_whole("max_size", max_size, 1)
        if workers is not None:
            check_whole("workers", workers, 1)
        self.views = tuple(views)
        self.budget = available_memory() // SHARE if budget is None else budget
        plan = lru_cache(maxsize=None)(lambda lens: planned(lens, max_size))
        self._plans: list[Plan] = [plan(view.lens) for view in self.views]
        self._frame = Similarity() if frame is None else frame
        folder = cache if isinstance(cache, Path) else cache_folder()
        self._disk = DiskCache(folder) if cache and any(each.resamples for each in self._plans) else None
        self._workers = workers or min(8, _processors())
        self._has_depth = [depth and view.depth_path is not None for view in self.views]
        sizes = zip(self._plans, self._has_depth, strict=True)
        largest = max((each.largest + DEPTH * each.pixels * has_depth for each, has_depth in sizes), default=0)
        if self.budget < 2 * largest:
            raise InputError(
                f"budget: expected at least {2 * largest} bytes, two photographs of {largest} bytes each, got "
                f"{self.budget}; choose a smaller max_size"
            )
        # At most half of the budget is for photographs that are decoded in advance.
        self._ahead = max(1, min(AHEAD * self._workers, self.budget // (2 * largest))) if largest else 1
        self._room = self.budget - self._ahead * largest
        self._held: dict[int, Photo] = {}
        self._held_bytes = 0
        self._upcoming: deque[int] = deque()
        self._coming: dict[int, Future[Prepared]] = {}
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="photographs")

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Photo:
        """Return a photograph; it waits until the photograph is decoded."""
        number = range(len(self))[index]
        with self._lock:
            photo = self._held.get(number)
            future = self._coming.get(number)
            if photo is None and future is None:
                future = self._coming[number] = self._pool.submit(self._prepare, number)
        try:
            prepared = future.result() if future is not None else None
        finally:
            with self._lock:
                with contextlib.suppress(ValueError):
                    self._upcoming.remove(number)
                self._coming.pop(number, None)
                self._fill()
        return self._hold(number, *prepared) if photo is None and prepared is not None else cast(Photo, photo)

    def __iter__(self) -> Iterator[Photo]:
        """Yield all photographs in order."""
        return self.iterate(range(len(self)))

    def prefetch(self, order: Iterable[int]) -> None:
        """Decode photographs in advance, in the order in which they will be taken. It replaces an earlier order."""
        with self._lock:
            self._upcoming = deque(range(len(self))[index] for index in order)
            soon = {*itertools.islice(self._upcoming, self._ahead)}
            for number in [each for each in self._coming if each not in soon]:
                self._coming.pop(number).cancel()
            self._fill()

    def iterate(self, order: Iterable[int]) -> Iterator[Photo]:
        """Yield photographs in an order, decoding the next ones meanwhile."""
        order = list(order)
        self.prefetch(order)
        for index in order:
            yield self[index]

    def camera(self, index: int) -> Camera:
        """Return the camera of a photograph, which is known before the photograph is decoded."""
        view, lens = self.views[index], self._plans[index].result
        # In float64 up to here: worlds may be far from their origin.
        moved = torch.from_numpy(self._frame.cameras(view.world_to_camera)).float()
        if lens.is_panorama:
            return Camera.panorama(lens.height, lens.width, moved)
        return Camera(lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy, viewmats=moved)

    @property
    def frame(self) -> Similarity:
        """The map from the capture's world to the one of the cameras."""
        return self._frame

    @property
    def held_bytes(self) -> int:
        """Bytes of the photographs that are held."""
        return self._held_bytes

    @property
    def all_bytes(self) -> int:
        """Bytes of all photographs once they are decoded, if none has opacity or a mask."""
        sizes = zip(self._plans, self._has_depth, strict=True)
        return sum((3 + DEPTH * has_depth) * each.pixels for each, has_depth in sizes)

    @property
    def description(self) -> str:
        """One sentence on the processing of the photographs and the memory that they take."""
        pairs = list(zip(self.views, self._plans, strict=True))
        before = _sizes((view.lens.width, view.lens.height) for view in self.views)
        after = _sizes((plan.result.width, plan.result.height) for plan in self._plans)
        models = sorted({view.lens.model for view, plan in pairs if plan.resamples})
        scaled = any(plan.lens != view.lens for view, plan in pairs)
        steps = [
            word for word, done in (("scaled down", scaled), (f"undistorted ({', '.join(models)})", models)) if done
        ]
        made = f", {' and '.join(steps)} to {after}" if steps else ""
        fits = "all of them fit into" if self.all_bytes <= self._room else "decoded anew where they do not fit into"
        return (
            f"{count(len(self), 'photograph')} of {before} pixels{made}: {shown_bytes(self.all_bytes)} in memory, "
            f"{fits} the budget of {shown_bytes(self.budget)}"
        )

    def close(self) -> None:
        """End the workers. Photographs that are held stay."""
        with self._lock:
            self._upcoming.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Photographs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, number: int) -> Prepared:
        view, plan = self.views[number], self._plans[number]
        depths = prepare_depth(view, plan) if self._has_depth[number] else None
        if depths is not None:
            depths *= np.float32(self._frame.scale)
        return *prepare(view, plan, self._disk), depths

    def _hold(self, number: int, pixels: Bytes, mask: Bytes | None, depths: Depths | None) -> Photo:
        """Return a photograph, and hold it if there is room. This runs in the caller's thread."""
        size = sum(each.nbytes for each in (pixels, mask, depths) if each is not None)
        with self._lock:
            holds = number not in self._held and self._held_bytes + size <= self._room
            if holds:
                # Arrays of the workers would keep the much larger memory of their decoders from being used again.
                pixels, mask = _copied(pixels), None if mask is None else _copied(mask)
                self._held_bytes += size
            kept = None if mask is None else torch.from_numpy(mask)
            depth = None if depths is None else torch.from_numpy(depths)
            photo = Photo(self.views[number].name, torch.from_numpy(pixels), kept, self.camera(number), depth)
            if holds:
                self._held[number] = photo
                if len(self._held) % TRIMMED == 0:
                    return_freed_memory()
        return photo

    def _fill(self) -> None:
        """Submit the next photographs of the order to the workers, until `_ahead` of them are under way."""
        for number in itertools.islice(self._upcoming, SEARCHED):
            if len(self._coming) >= self._ahead:
                break
            if number not in self._held and number not in self._coming:
                self._coming[number] = self._pool.submit(self._prepare, number)


def _copied(pixels: Bytes) -> Bytes:
    """Copy bytes into pages that nothing else shares, and that go back to the system as a whole."""
    pages = np.frombuffer(mmap.mmap(-1, max(1, pixels.nbytes)), dtype=np.uint8)[: pixels.size].reshape(pixels.shape)
    pages[...] = pixels
    return pages


def _sizes(sizes: Iterable[tuple[int, int]]) -> str:
    """The commonest size, and whether there are others."""
    counted = Counter(sizes)
    if not counted:
        return "0 x 0"
    (width, height), _ = counted.most_common(1)[0]
    others = len(counted) - 1
    return f"{width} x {height}" + (f" (and {others} other size{'s' * (others > 1)})" if others else "")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
