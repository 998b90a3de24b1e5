"""Which model a command reads images with, where naming one is optional."""

from __future__ import annotations

from pathlib import Path

import torch

from splatlearn.core.errors import InputError
from splatlearn.images.left_out import FOREIGN
from splatlearn.images.listing import IMAGE_EXTENSIONS, images_in
from splatlearn.models import GMAE, load_model
from splatlearn.models.folders.io import model_folder
from splatlearn.models.folders.packaged import DEFAULT, packaged_models

MARKS = ("config.json", "recipe.json", "checkpoints")
"""What a folder of a model or a run has one of."""


def model_and_images(first: str | None, others: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The model and the images of a command's positional arguments: the package's model when the first is an image.

    Raises InputError where nothing is given, where one argument is neither a model nor an image, and where an image
    comes first and the package holds no weights.
    """
    if first is None:
        raise InputError("image: expected at least one image file or a folder of them, got none")
    if not _is_image(Path(first)):
        _check_model(Path(first))
        return first, others
    if DEFAULT not in packaged_models():
        raise InputError(
            f"run: expected a run folder, model folder or Hub id before the images, got {first}; this installation "
            f"has no packaged weights ({DEFAULT}): name a model of your own, which `splatlearn pretrain gmae` trains"
        )
    return DEFAULT, (first, *others)


def start_and_images(first: str | None, others: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return the model to start from, None if an image comes first, and the images of a command's positional arguments.

    Raises InputError as `model_and_images` does.
    """
    if first is not None and _is_image(Path(first)):
        return None, (first, *others)
    return model_and_images(first, others)


def load_gmae(run: str, device: torch.device | str = "cpu") -> GMAE:
    """Load the model of a command that needs Gaussians. Raises InputError for a MAE, and as `load_model` does."""
    model = load_model(run, device)
    if not isinstance(model, GMAE):
        raise InputError(f"run: expected a GMAE, which predicts Gaussians, got a MAE in {run}")
    return model


def described(run: str) -> str:
    """How a command names the model that it used: the run with the step of its checkpoint, or where it came from."""
    path = Path(run)
    if not path.exists():
        return f"{run} of the package" if run in packaged_models() else f"{run} of the Hub"
    folder = model_folder(run)
    step = folder.name.removeprefix("step-")
    return f"{run} (step {int(step)})" if folder != path and step.isdecimal() else run


def _check_model(path: Path) -> None:
    """Raise InputError for a file or folder that holds no model and no image."""
    if path.is_dir() and not any((path / mark).exists() for mark in MARKS):
        found = sorted(each.name for each in path.iterdir() if not each.name.startswith("."))
        holds = f"holds {', '.join(found[:3])}{', …' if len(found) > 3 else ''}" if found else "is empty"
        raise InputError(
            f"run, image: expected a run or model folder, or images, got the folder {path}, which {holds}; give a "
            f"folder with {', '.join(MARKS[:-1])} or {MARKS[-1]}, or one with images"
        )
    if path.is_file():
        raise InputError(
            f"run, image: expected a run or model folder, or images, got the file {path}, which has no image ending "
            f"({', '.join(IMAGE_EXTENSIONS)})"
        )


def _is_image(path: Path) -> bool:
    """Whether this is a picture, or a folder that holds some and no model."""
    if path.is_dir():
        return bool(images_in(path)[0]) and not any((path / mark).exists() for mark in MARKS)
    return path.suffix.lower() in (*IMAGE_EXTENSIONS, *FOREIGN)
