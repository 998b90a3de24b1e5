"""Which model a command reads images with, where naming one is optional."""

from __future__ import annotations

from pathlib import Path

from splatlearn.data.folder import IMAGE_EXTENSIONS
from splatlearn.models.packaged import DEFAULT, packaged_models

MARKS = ("config.json", "recipe.json", "checkpoints")
"""What a folder of a model or a run has one of."""


def model_and_images(first: str, others: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The model and the images of a command's positional arguments: the package's model when the first is an image.

    Raises ValueError where an image comes first and the package holds no weights.
    """
    if not _is_image(Path(first)):
        return first, others
    if DEFAULT not in packaged_models():
        raise ValueError(
            f"run: expected a run folder, model folder or Hub id before the images, got the image {first}, and this "
            f"installation has no weights of its own ({DEFAULT})"
        )
    return DEFAULT, (first, *others)


def _is_image(path: Path) -> bool:
    """Whether this is a picture, or a folder that can only be one of pictures."""
    if path.is_dir():
        return not any((path / mark).exists() for mark in MARKS) and any(map(_is_image, path.iterdir()))
    return path.suffix.lower() in IMAGE_EXTENSIONS
