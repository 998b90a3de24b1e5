"""Small splat sets and folders of them; the randomness is passed in."""

from __future__ import annotations

from pathlib import Path

import torch

from scenes import random_gaussians
from splatlearn import Gaussians, write_splats
from splatlearn.data import SplatList

CLASSES = ["ball", "plate"]


def splat_set(generator: torch.Generator, label: int, count: int = 60) -> Gaussians:
    """A ball, or a plate: the same with hardly any height."""
    made = random_gaussians(generator, (), count)
    flat = torch.tensor([1.0, 0.05, 1.0]) if label else torch.ones(3)
    directions = torch.nn.functional.normalize(made.means, dim=1)
    return Gaussians(directions * flat, 0.1 * made.scales, made.quaternions, made.opacities, colors=made.colors)


def splat_list(each: int = 5, count: int = 60, seed: int = 0) -> SplatList:
    """Balls and plates in turn, `each` of both."""
    generator = torch.Generator().manual_seed(seed)
    labels = [number % 2 for number in range(2 * each)]
    return SplatList([splat_set(generator, label, count) for label in labels], labels=labels, class_names=CLASSES)


def write_folder(root: Path, each: int = 3, splits: tuple[str, ...] = ("train", "test"), ending: str = "ply") -> Path:
    """A folder of splat files in splits and classes."""
    for number, split in enumerate(splits):
        source = splat_list(each, seed=number)
        for index in range(len(source)):
            sample = source[index]
            assert sample.label is not None
            folder = root / split / CLASSES[sample.label]
            folder.mkdir(parents=True, exist_ok=True)
            write_splats(folder / f"{index}.{ending}", sample.gaussians)
    return root
