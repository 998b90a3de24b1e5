"""Features and pictures in which the class is known to be found."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import torch

from splatlearn.data import ImageList
from splatlearn.data.labelled import Labelled, labelled_parts
from splatlearn.evaluation import Features

CLASSES = ("red", "green", "blue")


def planted(
    train: int = 120, val: int = 60, numbers: int = 12, signal: float = 2.0, seed: int = 0, classes: int = 3
) -> Features:
    """Gaussian noise, with `signal` added in a direction of each class's own."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(numbers, numbers, generator=generator))[0][:classes]

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % classes
        return torch.randn(count, numbers, generator=generator) + signal * directions[labels], labels

    return Features(*draw(train), *draw(val), tuple(f"class {number}" for number in range(classes)))


def shuffled(features: Features, seed: int = 0) -> Features:
    """The same features with the training labels in another order."""
    order = torch.randperm(len(features.train), generator=torch.Generator().manual_seed(seed))
    return Features(features.train, features.train_labels[order], features.val, features.val_labels, features.classes)


def right(scores: torch.Tensor, features: Features) -> float:
    """Share of the validation images whose likeliest class is theirs."""
    return float((scores.argmax(dim=1) == features.val_labels).double().mean())


def right_when_shuffled(classify: Callable[[Features], torch.Tensor], shuffles: int = 10) -> float:
    """What a probe gets right after learning from shuffled labels, on average over shuffles.

    The signal is weak: with a strong one all images of a class share one guess, so that single shuffles vary widely.
    """
    features = planted(train=300, val=300, signal=1.0).standardized()
    return statistics.fmean(right(classify(shuffled(features, seed)), features) for seed in range(shuffles))


def coloured(count: int, seed: int = 0, side: int = 24) -> ImageList:
    """Noisy pictures whose brightest channel is their class."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for number in range(count):
        label = number % len(CLASSES)
        image = rng.integers(0, 160, (side, side, 3))
        image[..., label] += 90
        images.append(image.astype(np.uint8))
        labels.append(label)
    return ImageList(images, [f"{seed}/{number}" for number in range(count)], labels, list(CLASSES))


def coloured_sets(train: int = 30, val: int = 15) -> Labelled:
    return labelled_parts(coloured(train, 0), coloured(val, 1))
