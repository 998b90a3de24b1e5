"""Which model a command reads images with, where naming one is optional."""

from __future__ import annotations

from pathlib import Path

from splatlearn.core.errors import InputError
from splatlearn.data.folder import IMAGE_EXTENSIONS
from splatlearn.models.packaged import DEFAULT, packaged_models

MARKS = ("config.json", "recipe.json", "checkpoints")
"""What a folder of a model or a run has one of."""


def model_and_images(first: str, others: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The model and the images of a command's positional arguments: the package's model when the first is an image.

    Raises InputError where an image comes first and the package holds no weights.
    """
    if not _is_image(Path(first)):
        return first, others
    if DEFAULT not in packaged_models():
        raise InputError(
            f"run: expected a run folder, model folder or Hub id before the images, got {first}; name a model of your "
            f"own (`splatlearn pretrain gmae` makes one), for this installation has no weights ({DEFAULT})"
        )
    return DEFAULT, (first, *others)


def _is_image(path: Path) -> bool:
    """Whether this is a picture, or a folder that holds some and no model."""
    if path.is_dir():
        holds = any(each.suffix.lower() in IMAGE_EXTENSIONS for each in path.iterdir())
        return holds and not any((path / mark).exists() for mark in MARKS)
    return path.suffix.lower() in IMAGE_EXTENSIONS
