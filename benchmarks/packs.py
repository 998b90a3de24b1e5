"""Reader of packed image sets: JPEG files one after the other in .npz, and photographs with masks.

The packs lie in `shared/data` beside the checkout; their README files say what they hold and under which terms.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from splatlearn.data import Sample
from splatlearn.data.labelled import Labelled, labelled_parts
from splatlearn.images import DataError, decode

FOLDER = Path(__file__).parents[2] / "shared" / "data"
PACKS = {"cifar10": "test", "tiny_imagenet50": "val", "imagenette224": "val"}
"""Labelled packs, and what their validation part is called."""


class Pack:
    """An ImageSource over one .npz of a pack; `images` takes the first so many, which go round the classes in turn.

    Raises DataError for a pack or part that is not there.
    """

    def __init__(self, name: str, part: str = "train", images: int | None = None, folder: Path = FOLDER) -> None:
        path = folder / name / f"{part}.npz"
        if not path.is_file():
            raise DataError(f"name, part: expected a pack in {folder}, got {name!r} and {part!r}: no file {path}")
        with np.load(path) as stored:
            self._data, self._offsets = stored["data"], stored["offsets"]
            self._names = [str(each) for each in stored["filenames"][:images]]
            self.labels = stored["labels"][:images].astype(np.int64)
        self.class_names = _class_names(path.with_name("classes.json"))
        self.description = f"{len(self.labels)} images of {name}, {part}"

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Sample:
        content = self._data[self._offsets[index] : self._offsets[index + 1]].tobytes()
        return Sample(decode(content, self._names[index]), self._names[index], int(self.labels[index]))


class Photographs:
    """An ImageSource over the training parts of photographs: packs, and the training images of BSDS500."""

    class_names = None

    def __init__(self, packs: tuple[str, ...] = ("tiny_imagenet50", "imagenette224"), folder: Path = FOLDER) -> None:
        self._packs = [Pack(name, folder=folder) for name in packs]
        self._files = sorted((folder / "bsds500" / "images" / "train").glob("*.jpg"))
        if not self._files:
            raise DataError(f"folder: expected the images of BSDS500 under {folder}, found none")
        self._ends = np.cumsum([len(pack) for pack in self._packs])
        parts = [pack.description for pack in self._packs]
        self.description = ", ".join([*parts, f"{len(self._files)} images of bsds500, train"])

    def __len__(self) -> int:
        return int(self._ends[-1]) + len(self._files)

    def __getitem__(self, index: int, /) -> Sample:
        place = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[place - 1]) if place else 0
        if place < len(self._packs):
            found = self._packs[place][index - first]
            return Sample(found.image, found.name, None)
        path = self._files[index - first]
        return Sample(decode(path, path.name), path.name, None)


def labelled_pack(
    name: str, train_images: int | None = None, val_images: int | None = None, folder: Path = FOLDER
) -> Labelled:
    """The training and validation parts of a labelled pack, or their first images."""
    if name not in PACKS:
        raise DataError(f"name: expected one of {', '.join(PACKS)}, got {name!r}")
    part = PACKS[name]
    return labelled_parts(Pack(name, "train", train_images, folder), Pack(name, part, val_images, folder), part)


def _class_names(path: Path) -> list[str]:
    stored = json.loads(path.read_text(encoding="utf-8"))
    return [each["name"] if isinstance(each, dict) else str(each) for each in stored]
