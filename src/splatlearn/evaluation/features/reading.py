"""Images of a source as batches of pixels, read ahead by threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from splatlearn.core.randomness import Purpose, generator
from splatlearn.data import ImageSource, RandomResizedCrop, resize_center_crop
from splatlearn.images import UnreadableImage

AUGMENTED_SCALE = (0.2, 1.0)
"""Share of the image that the random crops of `SeededCrop` cover, as in MAE's pre-training."""


@runtime_checkable
class Transform(Protocol):
    """Makes pixels uint8 [3, H, W] of the image with a position; its repr says all that it depends on."""

    def __call__(self, image: Image.Image, index: int, /) -> UInt8[np.ndarray, "3 H W"]: ...


@dataclass(frozen=True)
class CenterCrop:
    """The largest central box of the target's aspect, resized."""

    height: int
    width: int

    def __call__(self, image: Image.Image, index: int, /) -> UInt8[np.ndarray, "3 H W"]:
        return resize_center_crop(image, self.height, self.width)


@dataclass(frozen=True)
class SeededCrop:
    """A random box of the image, resized and perhaps mirrored: a function of (seed, draw, index)."""

    height: int
    width: int
    seed: int
    draw: int

    def __call__(self, image: Image.Image, index: int, /) -> UInt8[np.ndarray, "3 H W"]:
        crop = RandomResizedCrop(self.height, self.width, AUGMENTED_SCALE)
        return crop(image, generator(self.seed, self.draw, index, Purpose.CROP))


@dataclass(frozen=True)
class Read:
    """Pixels uint8 [n, 3, H, W] of the readable images at `indices`; the others by (name, reason)."""

    pixels: np.ndarray
    indices: list[int]
    unreadable: list[tuple[str, str]]


class ReadAhead:
    """Batches of a source in order with the count of images read so far, a few of them read ahead by threads."""

    def __init__(self, images: ImageSource, transform: Transform, batch_size: int, workers: int) -> None:
        self._images = images
        self._transform = transform
        self._size = batch_size
        self._ahead = workers + 1
        self._pool = ThreadPoolExecutor(workers)

    def __enter__(self) -> Iterator[tuple[int, Read]]:
        return self._batches()

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _batches(self) -> Iterator[tuple[int, Read]]:
        starts = iter(range(0, len(self._images), self._size))
        waiting: deque[Future[Read]] = deque(
            self._pool.submit(self._read, start) for start in itertools.islice(starts, self._ahead)
        )
        done = 0
        while waiting:
            batch = waiting.popleft().result()
            for start in itertools.islice(starts, 1):
                waiting.append(self._pool.submit(self._read, start))
            done = min(done + self._size, len(self._images))
            yield done, batch

    def _read(self, start: int) -> Read:
        pixels: list[np.ndarray] = []
        indices: list[int] = []
        unreadable: list[tuple[str, str]] = []
        for index in range(start, min(start + self._size, len(self._images))):
            try:
                pixels.append(self._transform(self._images[index].image, index))
                indices.append(index)
            except UnreadableImage as error:
                unreadable.append((error.name, error.reason))
        return Read(np.stack(pixels) if pixels else np.empty(0, np.uint8), indices, unreadable)
