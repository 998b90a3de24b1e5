"""Random and central crops: from a decoded image to the pixels that a model sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from splatlearn.core.errors import InputError
from splatlearn.data.image_sets.samples import StoredImage
from splatlearn.images.reduced import Box, decode_region

TRIES = 10


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random box of the image, resized to height x width pixels, and a random horizontal flip.

    - `scale`: share of the image's area that the box covers, drawn uniformly.
    - `ratio`: aspect of the box relative to that of the target, drawn log-uniformly.
    - `flip`: probability of the flip.

    Raises InputError for sizes below one, empty or reversed ranges and probabilities outside [0, 1].
    Source: the cropping of Szegedy et al., "Going deeper with convolutions" (CVPR 2015), with torchvision's rule.
    """

    height: int
    width: int
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(f"height, width: expected positive sizes in pixels, got {self.height} x {self.width}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"scale: expected two increasing shares of the area in (0, 1], got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise InputError(f"ratio: expected two increasing positive aspects, got {self.ratio}")
        if not 0 <= self.flip <= 1:
            raise InputError(f"flip: expected a probability in [0, 1], got {self.flip}")

    def __call__(
        self, image: Image.Image, rng: np.random.Generator, out: UInt8[np.ndarray, "3 H W"] | None = None
    ) -> UInt8[np.ndarray, "3 {self.height} {self.width}"]:
        """Crop, resize and perhaps flip an RGB image; smaller images are enlarged. `out`: where the pixels go."""
        return self._pixels(image, self.sample_box(image.width, image.height, rng), rng, out)

    def of_file(
        self, stored: StoredImage, rng: np.random.Generator, out: UInt8[np.ndarray, "3 H W"] | None = None
    ) -> tuple[UInt8[np.ndarray, "3 {self.height} {self.width}"], tuple[int, int]]:
        """The same crop of an image file, decoded no larger than it needs; and the image's full width and height.

        The pixels are near those of decoding the whole and cropping it, and the same where the box is not large enough
        to be decoded at a smaller scale. Raises UnreadableImage.
        """
        region = decode_region(
            stored.checked(), stored.name, lambda width, height: self.sample_box(width, height, rng),
            self.width, self.height,
        )  # fmt: skip
        return self._pixels(region.image, region.box, rng, out), region.size

    def _pixels(
        self, image: Image.Image, box: Box, rng: np.random.Generator, out: UInt8[np.ndarray, "3 H W"] | None
    ) -> UInt8[np.ndarray, "3 H W"]:
        pixels = _resized(image, self.height, self.width, box)
        return _contiguous(pixels[:, :, ::-1] if rng.random() < self.flip else pixels, out)

    def sample_box(self, width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Draw the box (left, top, right, bottom) in pixels of an image of the given size.

        After ten boxes that do not fit, the largest central box whose aspect is allowed.
        """
        aspect = self.width / self.height
        lowest, highest = self.ratio[0] * aspect, self.ratio[1] * aspect
        for _ in range(TRIES):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(lowest), math.log(highest)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
                return left, top, left + w, top + h
        w = min(width, max(1, round(height * highest)))
        h = min(height, max(1, round(width / lowest)))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h

    def enlarges(self, width: int, height: int) -> bool:
        """Whether an image of that size is smaller than the target on a side, so that even the whole is enlarged."""
        return width < self.width or height < self.height


def resize_center_crop(image: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "3 {height} {width}"]:
    """Resize the largest central box of the target's aspect to height x width pixels.

    The box spans the whole shorter side of the image; for a square target this is the central square.
    Raises InputError for sizes below one.
    """
    if height < 1 or width < 1:
        raise InputError(f"height, width: expected positive sizes in pixels, got {height} x {width}")
    factor = min(image.width / width, image.height / height)
    margin_x, margin_y = (image.width - width * factor) / 2, (image.height - height * factor) / 2
    # Rounding can push a side of the box past the edge by one unit in the last place.
    left, top = max(0.0, margin_x), max(0.0, margin_y)
    return _contiguous(_resized(image, height, width, (left, top, image.width - left, image.height - top)))


def _resized(image: Image.Image, height: int, width: int, box: Box) -> UInt8[np.ndarray, "3 {height} {width}"]:
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(resized).transpose(2, 0, 1)


def _contiguous(
    pixels: UInt8[np.ndarray, "3 H W"], out: UInt8[np.ndarray, "3 H W"] | None = None
) -> UInt8[np.ndarray, "3 H W"]:
    if out is None:
        return np.ascontiguousarray(pixels)
    np.copyto(out, pixels)
    return out
