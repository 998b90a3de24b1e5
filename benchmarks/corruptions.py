"""Corruptions of photographs, as robustness is measured with: blur, noise, JPEG and contrast at five strengths."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from splatlearn.core.randomness import Purpose, generator
from splatlearn.data import ImageSource, Sample

Corruption = Callable[[Image.Image, int, np.random.Generator], Image.Image]


def blur(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """A Gaussian blur whose standard deviation is 1 to 5 hundredths of the shorter side."""
    return image.filter(ImageFilter.GaussianBlur(0.01 * strength * min(image.size)))


def noise(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Gaussian noise of a standard deviation of 0.04 to 0.2, for colours in [0, 1]."""
    pixels = np.asarray(image, dtype=np.float32) / 255
    noisy = pixels + rng.normal(scale=0.04 * strength, size=pixels.shape)
    return Image.fromarray((noisy.clip(0, 1) * 255).round().astype(np.uint8))


def jpeg(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """JPEG of quality 25 down to 7, as in ImageNet-C."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=(25, 18, 15, 10, 7)[strength - 1])
    return Image.open(buffer).convert("RGB")


def contrast(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Contrast lowered to 0.4 down to 0.05 about the mean grey, as in ImageNet-C."""
    return ImageEnhance.Contrast(image).enhance((0.4, 0.3, 0.2, 0.1, 0.05)[strength - 1])


CORRUPTIONS: dict[str, Corruption] = {"blur": blur, "noise": noise, "jpeg": jpeg, "contrast": contrast}


class Corrupted:
    """An ImageSource with one corruption of strength 1 to 5 in every image, the same at every reading."""

    def __init__(self, source: ImageSource, name: str, strength: int, labels: np.ndarray) -> None:
        self._source = source
        self._corrupt = CORRUPTIONS[name]
        self._strength = strength
        self.labels = labels
        self.class_names = source.class_names
        self.description = f"{source.description}, {name} {strength}"

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int, /) -> Sample:
        sample = self._source[index]
        rng = generator(self._strength, 0, index, Purpose.NOISE)
        return Sample(self._corrupt(sample.image, self._strength, rng), sample.name, sample.label)
