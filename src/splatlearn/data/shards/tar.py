"""Tar shards in the layout of webdataset: files of one sample follow each other and share the name before the dot."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from splatlearn.data.image_sets.samples import StoredImage
from splatlearn.data.shards.files import ShardIndex, file_system
from splatlearn.images.errors import DataError
from splatlearn.images.left_out import FOREIGN, LeftOut
from splatlearn.images.listing import IMAGE_EXTENSIONS

BLOCK_BYTES = 4 * 2**20
LABEL_ENDING = ".cls"
DOTTED = "images whose names have more dots (in a tar shard a sample's name ends at its first dot, an ending follows)"
SECOND = "images beside the first one of their sample"
END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass
class _Sample:
    """A sample as it is met: its name, where it begins, and its image and label files if it has them."""

    key: str
    start: int
    image: tarfile.TarInfo | None = None
    label: tarfile.TarInfo | None = None
    members: list[tarfile.TarInfo] = field(default_factory=list)


class TarShards:
    """Reading of tar shards in runs of whole samples of about 4 MiB.

    A sample has one image file; a file of the ending .cls holds its class number. Files of other kinds that belong to
    a sample are left unread; pictures that are no sample's image are left out and counted.
    """

    class_names: list[str] | None = None

    def index(self, url: str) -> ShardIndex:
        """Blocks of a shard, each as (first byte, byte after the last, samples). Raises DataError for broken files."""
        fs, path = file_system(url)
        blocks: list[tuple[int, int, int]] = []
        left_out = LeftOut()
        with fs.open(path, "rb") as file:
            start, stop, count = 0, 0, 0
            for sample in _samples(cast("io.IOBase", file), url, left_out):
                if sample.image is None:
                    continue
                if count and sample.start - start >= BLOCK_BYTES:
                    blocks.append((start, stop, count))
                    start, count = sample.start, 0
                last = sample.members[-1]
                stop, count = last.offset_data + _padded(last.size), count + 1
            if count:
                blocks.append((start, stop, count))
        return ShardIndex(blocks, left_out)

    def read(self, url: str, start: int, stop: int) -> list[StoredImage]:
        """The samples of a block."""
        fs, path = file_system(url)
        file = io.BytesIO(cast("bytes", fs.cat_file(path, start, stop)) + END)
        shard, found = posixpath.basename(path), []
        for sample in _samples(file, url):
            if sample.image is not None:
                number = None if sample.label is None else _number(_content(file, sample.label))
                found.append(StoredImage(_content(file, sample.image), f"{shard}/{sample.image.name}", number))
        return found


def _samples(file: io.IOBase, url: str, left_out: LeftOut | None = None) -> Iterator[_Sample]:
    current: _Sample | None = None
    left_out = LeftOut() if left_out is None else left_out
    try:
        with tarfile.open(fileobj=cast("BinaryIO", file), mode="r:") as archive:
            for member in archive:
                folder, name = posixpath.split(member.name)
                stem, dot, ending = name.partition(".")
                if not member.isfile():
                    continue
                if not stem:
                    left_out.add("hidden files", member.name)
                    continue
                key = posixpath.join(folder, stem)
                if current is None or current.key != key:
                    if current is not None:
                        yield current
                    current = _Sample(key, member.offset)
                current.members.append(member)
                if dot + ending.lower() in IMAGE_EXTENSIONS:
                    if current.image is not None:
                        left_out.add(SECOND, member.name)
                    current.image = current.image or member
                elif dot + ending.lower() == LABEL_ENDING:
                    current.label = member
                else:
                    _count_picture(member.name, left_out)
            file.seek(archive.offset)
            # A file that ends before a header, or amid one, looks like a whole one but for the blocks of zeros.
            if cast("BinaryIO", file).read(tarfile.BLOCKSIZE) != END[: tarfile.BLOCKSIZE]:
                raise DataError(f"data: {url} is cut off after {len(archive.getnames())} files; write the shard again")
    except tarfile.TarError as error:
        raise DataError(f"data: {url} is not a whole tar file: {error}; write the shard again") from error
    if current is not None:
        yield current


def _count_picture(name: str, left_out: LeftOut) -> None:
    """Count a picture that is not read; other files may well belong to a sample."""
    last = posixpath.splitext(name)[1].lower()
    if last in IMAGE_EXTENSIONS:
        left_out.add(DOTTED, name)
    elif last in FOREIGN:
        left_out.add_file(name)


def _content(file: io.IOBase, member: tarfile.TarInfo) -> bytes:
    place = file.tell()
    file.seek(member.offset_data)
    content = cast("BinaryIO", file).read(member.size)
    file.seek(place)  # where the listing goes on
    return content


def _number(content: bytes) -> int | None:
    try:
        number = int(content)
    except ValueError:
        return None
    return number if number >= 0 else None


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
