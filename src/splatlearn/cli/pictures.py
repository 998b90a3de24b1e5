"""Image files in, PNG files out: what the commands that take images share."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from splatlearn.cli.notes import note, note_left_out
from splatlearn.core.disk.atomic import replacing
from splatlearn.core.errors import InputError
from splatlearn.images import UnreadableImage
from splatlearn.images.left_out import LeftOut
from splatlearn.images.listing import images_in
from splatlearn.images.reduced import decode_resized

NAME_BYTES = 180
"""Of the names of outputs without their endings. File systems allow 255 bytes, and a file being written has more."""


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Images [B, 3, H, W] in [0, 1] of one size, and the names that their outputs get."""

    names: list[str]
    images: Float[Tensor, "B 3 H W"]


class Pictures:
    """Image files, and the images of folders, in batches of equal size.

    - `smallest`: pixels that either side must have.
    - `max_size`: pixels of the longer side that larger images are shrunk to; 0 for their own.

    `names` are those of the files' outputs, short enough for every ending. What folders hold beside images is counted
    on stderr before the first of them is read. Files that cannot be used are named there once, when their turn comes,
    and left out; `finish` raises for them.
    """

    def __init__(self, paths: Sequence[str], batch_size: int = 8, smallest: int = 1, max_size: int = 0) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size: expected at least 1 image, got {batch_size}")
        if max_size < 0:
            raise InputError(f"max_size: expected a number of pixels, or 0 for the original size, got {max_size}")
        self._left_out: dict[str, LeftOut] = {}
        self.files = [file for path in paths for file in self._files(path)]
        if not self.files:
            raise InputError("image: expected at least one image file or a folder of them, got none")
        self.batch_size = batch_size
        self.max_size = max_size
        self.failed = 0
        self._shrunk = False
        self.names = output_names(self.files)
        self.at_least(smallest)

    def at_least(self, pixels: int) -> None:
        """Leave out images with a side below `pixels`. Raises InputError where `max_size` is below that."""
        if self.max_size and self.max_size < pixels:
            raise InputError(
                f"max_size: expected at least {pixels} pixels, one patch of the model, got {self.max_size}"
            )
        self.smallest = pixels

    def __iter__(self) -> Iterator[PictureBatch]:
        self.say_left_out()
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
        if self.failed:
            raise InputError(f"image: {self.failed} of {len(self.files)} could not be used; the messages above say why")

    def say_left_out(self) -> None:
        """Count on stderr what the folders hold beside images."""
        for folder, left_out in self._left_out.items():
            note_left_out(folder, left_out)
        self._left_out = {}

    def decoded(self, file: Path) -> Image.Image | None:
        """One of the files, upright and shrunk; None, after a note, for one that cannot be used."""
        try:
            region = decode_resized(str(file), str(file), self._target)
        except UnreadableImage as error:
            self.failed += 1
            note(str(error))
            return None
        if region.frames > 1:
            note(f"{file}: several frames, of which the first is used")
        if region.size != region.image.size and not self._shrunk:
            self._shrunk = True
            note(f"larger images, such as {file}, are shrunk to a longer side of {self.max_size} pixels (--max-size)")
        return region.image

    def _read(self, file: Path) -> Float[Tensor, "3 H W"] | None:
        image = self.decoded(file)
        return None if image is None else torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255

    def _files(self, path: str) -> list[Path]:
        if not Path(path).is_dir():
            return [Path(path)]
        found, left_out = images_in(Path(path))
        if not found:
            but = f"; left out: {left_out}" if left_out else ""
            raise InputError(f"image: expected images in the folder {path}, found none{but}")
        if left_out:
            self._left_out[path] = left_out
        return found

    def _target(self, width: int, height: int) -> tuple[int, int]:
        """The size at which an image is read: its own, or shrunk so that no side gets below the smallest."""
        if min(width, height) < self.smallest:
            least = f"at least {self.smallest}×{self.smallest} pixels, one patch of the model"
            raise InputError(f"expected {least}, got {height}×{width}")
        scale = self.max_size / max(width, height) if self.max_size else 1.0
        if scale >= 1.0:
            return width, height
        return max(self.smallest, round(width * scale)), max(self.smallest, round(height * scale))


def write_png(path: Path, pixels: Float[Tensor, "H W"] | Float[Tensor, "C H W"]) -> None:
    """Write grey [H, W], RGB or RGBA [C, H, W] values in [0, 1] as a PNG of 8 bits."""
    values = (pixels.detach().float().cpu().clamp(0.0, 1.0) * 255).round().byte().numpy()
    picture = Image.fromarray(values if values.ndim == 2 else np.ascontiguousarray(values.transpose(1, 2, 0)))
    with replacing(path) as beside:
        picture.save(beside, format="PNG")


def output_names(files: Sequence[Path]) -> list[str]:
    """Stems, shortened where they are too long for outputs and numbered where they repeat.

    No output replaces another's, whatever case a file system ignores.
    """
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = _shortened(file.stem, NAME_BYTES), 1
        while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
            number += 1
            name = f"{_shortened(file.stem, NAME_BYTES - len(str(number)) - 1)}-{number}"
        taken.add(key)
        names.append(name)
    return names


def _shortened(name: str, limit: int) -> str:
    """The beginning of a name that takes at most `limit` bytes; whole characters."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= limit else encoded[:limit].decode("utf-8", "ignore")
