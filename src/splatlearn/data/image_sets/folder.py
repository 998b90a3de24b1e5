"""Listing of image files and shards in folders: splits, classes and a fixed order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from splatlearn.images.errors import DataError, UnknownSplitError
from splatlearn.images.left_out import LeftOut
from splatlearn.images.listing import IMAGE_EXTENSIONS, files_below

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
SHARD_EXTENSIONS = (".parquet", ".tar")
SHARD_NAME = re.compile(r"([a-z]+)(?:[-._ 0-9].*)?$")


@dataclass(frozen=True)
class Listing:
    """The files of a folder, relative to it and in order of their names, by split, and what else is there."""

    root: Path
    splits: dict[str, list[str]]
    named: bool
    kind: Literal["images", "parquet", "tar", "splats"]
    left_out: LeftOut = field(default_factory=LeftOut)

    def split(self, name: str) -> str:
        """The split that a name means ("validation" means "val"). Raises DataError listing the splits there are."""
        found = SPLIT_NAMES.get(name.lower(), name)
        if found in self.splits:
            return found
        why = "" if self.named else " (no sub-folders train, val or test, so that all images are 'train')"
        raise UnknownSplitError(f"split: expected one of {sorted(self.splits)} in {self.root}{why}, got {name!r}")

    def classes(self) -> list[str] | None:
        """Names of the class folders over all splits, or None where images are not sorted into at least two."""
        names: set[str] = set()
        for files in self.splits.values():
            for file in files:
                folders = self._below_split(file).parts[:-1]
                if not folders:
                    return None
                names.add(folders[0])
        return sorted(names) if len(names) > 1 else None

    def class_of(self, file: str) -> str:
        """Name of the class folder that a file lies in."""
        return self._below_split(file).parts[0]

    def _below_split(self, file: str) -> PurePosixPath:
        path = PurePosixPath(file)
        return path.relative_to(path.parts[0]) if self.named else path


def list_folder(root: Path) -> Listing:
    """List the images of a folder, or its parquet or tar shards, in an order that is the same on every machine.

    `files_below` says what is left out; files outside of the splits are, too. Raises DataError for a folder with no
    such files, or with files of several kinds.
    """
    files, left_out = files_below(root, (*IMAGE_EXTENSIONS, *SHARD_EXTENSIONS))
    shards = {end: [file for file in files if PurePosixPath(file).suffix.lower() == end] for end in SHARD_EXTENSIONS}
    images = [file for file in files if PurePosixPath(file).suffix.lower() in IMAGE_EXTENSIONS]
    kinds = {"images": images, "parquet files": shards[".parquet"], "tar files": shards[".tar"]}
    came = [f"{len(found)} {kind} ({found[0]}, ...)" for kind, found in kinds.items() if found]
    if len(came) > 1:
        raise DataError(
            f"data: expected images or parquet or tar files in {root}, got {' and '.join(came)}; name the sub-folder "
            "to read"
        )
    if not came:
        found = f"found only {left_out}" if left_out else "it is empty"
        raise DataError(
            f"data: expected images or parquet or tar files in {root}, {found}; "
            f"files are read that end in {' '.join(SHARD_EXTENSIONS)} or {' '.join(IMAGE_EXTENSIONS)}"
        )
    if images:
        splits, named = splits_of(images, left_out)
        return Listing(root, splits, named, "images", left_out)
    splits, named = table_splits(shards[".parquet"] or shards[".tar"])
    return Listing(root, splits, named, "parquet" if shards[".parquet"] else "tar", left_out)


def splits_of(files: list[str], left_out: LeftOut) -> tuple[dict[str, list[str]], bool]:
    """Files by split where top-level folders are splits: two different ones, or nothing but one."""
    tops = {PurePosixPath(file).parts[0] if "/" in file else "" for file in files}
    splits = {SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    # A single folder "train" beside others may well be a class, as among kinds of vehicles.
    if len(splits) < 2 and not (splits and all(top.lower() in SPLIT_NAMES for top in tops)):
        return {"train": files}, False
    by_split: dict[str, list[str]] = {}
    for file in files:
        split = SPLIT_NAMES.get(PurePosixPath(file).parts[0].lower()) if "/" in file else None
        if split:
            by_split.setdefault(split, []).append(file)
        else:
            left_out.add(f"files beside the folders of the splits, {', '.join(sorted(splits))}", file)
    return by_split, True


def table_splits(files: list[str]) -> tuple[dict[str, list[str]], bool]:
    """Shards by split, and whether they have splits: by top-level folder or name (train-00000-of-00002.parquet)."""
    by_split: dict[str, list[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        shard = SHARD_NAME.match(path.stem.lower())
        names = [path.parts[0].lower(), shard.group(1) if shard else ""]
        split = next((SPLIT_NAMES[name] for name in names if name in SPLIT_NAMES), "")
        by_split.setdefault(split, []).append(file)
    if "" in by_split:  # a file of no split: the names are not meant as splits
        return {"train": files}, False
    return by_split, True
