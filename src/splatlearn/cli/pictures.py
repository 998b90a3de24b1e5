"""Image files in, PNG files out: what the commands that take images share."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from splatlearn.core.atomic import replacing
from splatlearn.core.errors import InputError
from splatlearn.data import UnreadableImage
from splatlearn.data.folder import IMAGE_EXTENSIONS
from splatlearn.data.reduced import decode_resized


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Images [B, 3, H, W] in [0, 1] of one size, and the names that their outputs get."""

    names: list[str]
    images: Float[Tensor, "B 3 H W"]


class Pictures:
    """Image files, and the images of folders, in batches of equal size.

    - `smallest`: pixels that either side must have.
    - `largest`: pixels of the longer side that larger images are shrunk to; 0 for their own.

    `names` are those of the files' outputs. Files that cannot be used are named on stderr when their turn comes, and
    left out; `finish` raises for them.
    """

    def __init__(self, paths: Sequence[str], batch_size: int = 8, smallest: int = 1, largest: int = 0) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size: expected at least 1 image, got {batch_size}")
        if largest < 0:
            raise InputError(f"largest: expected a number of pixels, or 0 for the images' own, got {largest}")
        self.files = [file for path in paths for file in _files(Path(path))]
        if not self.files:
            raise InputError("image: expected at least one image file or a folder of them, got none")
        self.batch_size = batch_size
        self.largest = largest
        self.failures: list[str] = []
        self.names = _names(self.files)
        self.at_least(smallest)

    def at_least(self, pixels: int) -> None:
        """Leave out images with a side below `pixels`. Raises InputError where `largest` is below that."""
        if self.largest and self.largest < pixels:
            raise InputError(f"largest: expected at least {pixels} pixels, one patch of the model, got {self.largest}")
        self.smallest = pixels

    def __iter__(self) -> Iterator[PictureBatch]:
        names: list[str] = []
        images: list[Tensor] = []
        for file, name in zip(self.files, self.names, strict=True):
            image = self._read(file)
            if image is None:
                continue
            if images and (len(images) == self.batch_size or images[0].shape != image.shape):
                yield PictureBatch(names, torch.stack(images))
                names, images = [], []
            names.append(name)
            images.append(image)
        if images:
            yield PictureBatch(names, torch.stack(images))

    def finish(self) -> None:
        """Raise InputError when files were left out; all others are done by then."""
        if self.failures:
            raise InputError(
                f"image: {len(self.failures)} of {len(self.files)} could not be used: {'; '.join(self.failures[:3])}"
                f"{'; …' if len(self.failures) > 3 else ''}"
            )

    def _read(self, file: Path) -> Float[Tensor, "3 H W"] | None:
        try:
            region = decode_resized(str(file), str(file), self._target)
        except UnreadableImage as error:
            self.failures.append(str(error))
            print(f"splatlearn: {error}", file=sys.stderr)
            return None
        if region.frames > 1:
            print(f"splatlearn: {file}: several frames, of which the first is used", file=sys.stderr)
        return torch.from_numpy(np.array(region.image)).permute(2, 0, 1).float() / 255

    def _target(self, width: int, height: int) -> tuple[int, int]:
        """The size at which an image is read: its own, or shrunk so that no side gets below the smallest."""
        if min(width, height) < self.smallest:
            least = f"at least {self.smallest}×{self.smallest} pixels, one patch of the model"
            raise InputError(f"expected {least}, got {height}×{width}")
        scale = self.largest / max(width, height) if self.largest else 1.0
        if scale >= 1.0:
            return width, height
        return max(self.smallest, round(width * scale)), max(self.smallest, round(height * scale))


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal; it is told how many of `total` are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def write_png(path: Path, pixels: Float[Tensor, "H W"] | Float[Tensor, "C H W"]) -> None:
    """Write grey [H, W], RGB or RGBA [C, H, W] values in [0, 1] as a PNG of 8 bits."""
    values = (pixels.detach().float().cpu().clamp(0.0, 1.0) * 255).round().byte().numpy()
    picture = Image.fromarray(values if values.ndim == 2 else np.ascontiguousarray(values.transpose(1, 2, 0)))
    with replacing(path) as beside:
        picture.save(beside, format="PNG")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in IMAGE_EXTENSIONS)
        if not found:
            raise InputError(f"image: expected images in the folder {path}, found none")
        return found
    return [path]


def _names(files: Sequence[Path]) -> list[str]:
    """Stems, numbered where they repeat, so that no output replaces another's, whatever case a file system ignores."""
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = file.stem, 1
        while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(key)
        names.append(name)
    return names
