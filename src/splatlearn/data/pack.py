"""Packing of image folders into parquet shards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splatlearn.core.disk.atomic import replacing
from splatlearn.core.disk.outputs import check_folder
from splatlearn.core.errors import InputError, some_of
from splatlearn.data.image_sets.folder import list_folder
from splatlearn.data.image_sets.samples import StoredImage, StoredSource
from splatlearn.data.order import sample_order
from splatlearn.data.source import open_source
from splatlearn.images.errors import DataError
from splatlearn.images.left_out import LeftOut

if TYPE_CHECKING:
    import pyarrow as pa

MEGABYTE = 2**20
FORMAT = "1"
ROWS_AT_ONCE = 10_000
Progress = Callable[[str, int, int], None]
"""Told the work at hand, the number of images done, and the number of all."""


@dataclass(frozen=True)
class PackOptions:
    """Sizes of shards and blocks, in units of 2**20 bytes of image files.

    - `shard_size`: of a shard; the last of a split is smaller.
    - `block_size`: of a row group, which is what a stream reads at once.

    Raises InputError for sizes below one and blocks larger than shards.
    """

    shard_size: int = 256
    block_size: int = 4

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise InputError(f"shard_size: expected a positive number of megabytes, got {self.shard_size}")
        if not 1 <= self.block_size <= self.shard_size:
            raise InputError(
                f"block_size: expected megabytes in [1, {self.shard_size}], the size of a shard, got {self.block_size}"
            )


@dataclass(frozen=True)
class Packed:
    """Result of packing: numbers of images and shards, of shards from an earlier call, and files that were left out."""

    images: int
    shards: int
    kept: int
    left_out: LeftOut = field(default_factory=LeftOut)


@dataclass(frozen=True)
class _Shard:
    """The images of a shard by row group, with the sizes of their files."""

    name: str
    groups: list[list[tuple[StoredImage, int]]]

    def digest(self, class_names: Sequence[str]) -> str:
        """Fingerprint of a shard's contents; equal for equal names, sizes, labels, classes and cuts."""
        known = [f"{image.name}\0{size}\0{image.label}" for group in self.groups for image, size in (*group, _CUT)]
        return hashlib.sha256("\n".join([FORMAT, *class_names, "", *known]).encode()).hexdigest()


_CUT = (StoredImage(None, "", None), 0)


def pack_folder(
    folder: str | Path, out: str | Path, options: PackOptions | None = None, progress: Progress | None = None
) -> Packed:
    """Pack a folder of images into parquet shards: the files' bytes as they are, their names, and their class numbers.

    - `folder`: as `open_source` reads it, with all its splits.
    - `out`: a folder for `SPLIT-00000-of-00042.parquet`. Shards in it of the same images stay, so that an interrupted
      call is gone on with.
    - `progress`: called with the work at hand, the number of images done, and the number of all.

    Images are put in a keyed order, so that neighbours are of any class. The shards are the same byte for byte for the
    same files, options and version of pyarrow. A shard has its name only when it is whole.
    Raises DataError for folders without images, with shards, or with files that change or cannot be read, and for an
    `out` that holds other shards; OSError for one that cannot be written.
    """
    options, root, out = options or PackOptions(), Path(folder).expanduser().resolve(), Path(out).expanduser()
    if not root.is_dir():
        raise DataError(f"folder: expected a folder of images, got {folder}, which is {_what(root)}")
    listing = list_folder(root)
    if listing.kind != "images":
        raise DataError(f"folder: expected a folder of images, got {listing.kind} files in {folder}")
    check_folder(out)
    if out.resolve().is_relative_to(root):
        raise DataError(f"out: expected a folder outside of {folder}, got {out}")
    shards = [shard for split in listing.splits for shard in _plan(root, split, options, progress)]
    class_names = listing.classes() or []
    out.mkdir(parents=True, exist_ok=True)
    _check_others(out, shards)
    total = sum(len(group) for shard in shards for group in shard.groups)
    done, kept = 0, 0
    for shard in shards:
        if _is_there(out / shard.name, shard.digest(class_names)):
            kept += 1
            done += sum(map(len, shard.groups))
        else:
            for count in _write(out / shard.name, shard, class_names):
                done += count
                if progress:
                    progress("packing", done, total)
        if progress:
            progress("packing", done, total)
    return Packed(total, len(shards), kept, listing.left_out)


def _what(path: Path) -> str:
    return "a file" if path.is_file() else "not there"


def _plan(root: Path, split: str, options: PackOptions, progress: Progress | None) -> list[_Shard]:
    """Return the shards of a split, cut by the sizes of the files alone."""
    source = open_source(root, split)
    assert isinstance(source, StoredSource)
    order = sample_order(len(source), 0, 0)(np.arange(len(source))).tolist()
    shards: list[list[list[tuple[StoredImage, int]]]] = []
    in_shard, in_group = options.shard_size * MEGABYTE, options.block_size * MEGABYTE
    for start in range(0, len(order), ROWS_AT_ONCE):
        for image in source.stored(order[start : start + ROWS_AT_ONCE]):
            size = _size(image)
            if in_shard >= options.shard_size * MEGABYTE:
                shards.append([])
                in_shard, in_group = 0, options.block_size * MEGABYTE
            if in_group >= options.block_size * MEGABYTE:
                shards[-1].append([])
                in_group = 0
            shards[-1][-1].append((image, size))
            in_shard, in_group = in_shard + size, in_group + size
        if progress:
            progress(f"sizes of {split}", min(start + ROWS_AT_ONCE, len(order)), len(order))
    return [_Shard(f"{split}-{n:05d}-of-{len(shards):05d}.parquet", groups) for n, groups in enumerate(shards)]


def _size(image: StoredImage) -> int:
    try:
        return os.stat(str(image.file)).st_size
    except OSError as error:
        raise DataError(f"folder: {image.name} cannot be read: {error.strerror or error}") from error


def _check_others(out: Path, shards: list[_Shard]) -> None:
    names = {shard.name for shard in shards}
    others = sorted(path.name for path in out.glob("*.parquet") if path.name not in names)
    if others:
        raise DataError(
            f"out: expected an empty folder or shards of the same images in {out}, got "
            f"{some_of(others, 1)}; choose another folder or remove them"
        )


def _is_there(path: Path, digest: str) -> bool:
    """Whether a whole shard of the same images is there. Raises DataError where it is one of others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid:
        metadata = {}
    if metadata.get(b"splatlearn") != digest.encode():
        raise DataError(
            f"out: expected an empty folder or shards of the same images, got other contents in {path}; choose another "
            "folder or remove it"
        )
    return True


def _write(path: Path, shard: _Shard, class_names: Sequence[str]) -> Iterator[int]:
    """Write a shard beside its place and rename it; yields the number of images of every row group written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(class_names, shard.digest(class_names))
    # Compressed image files do not shrink again, and statistics would repeat them.
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with replacing(path) as beside, pq.ParquetWriter(beside, schema, **plain) as file:
        for group in shard.groups:
            cells = [{"bytes": _content(image, size), "path": image.name} for image, size in group]
            columns = [pa.array(cells, schema.field("image").type)]
            if class_names:
                columns.append(pa.array([image.label for image, _ in group], pa.int64()))
            file.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(group))
            yield len(group)


def _schema(class_names: Sequence[str], digest: str) -> pa.Schema:
    import datasets

    features: dict[str, datasets.Image | datasets.ClassLabel] = {"image": datasets.Image()}
    if class_names:
        features["label"] = datasets.ClassLabel(names=list(class_names))
    schema = datasets.Features(features).arrow_schema
    return schema.with_metadata({**(schema.metadata or {}), b"splatlearn": digest.encode()})


def _content(image: StoredImage, size: int) -> bytes:
    try:
        content = Path(str(image.file)).read_bytes()
    except OSError as error:
        raise DataError(f"folder: {image.name} cannot be read: {error.strerror or error}") from error
    if len(content) != size:
        raise DataError(f"folder: {image.name} changed while it was packed, from {size} to {len(content)} bytes")
    return content
