"""Tar shards in the layout of webdataset: files of one sample follow each other and share the name before the dot."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from splatlearn.data.folder import IMAGE_EXTENSIONS
from splatlearn.data.samples import DataError, StoredImage
from splatlearn.data.shard_files import file_system

BLOCK_BYTES = 4 * 2**20
LABEL_ENDING = ".cls"
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

    A sample has one image file; a file of the ending .cls holds its class number. Others are left unread.
    """

    class_names: list[str] | None = None

    def index(self, url: str) -> list[tuple[int, int, int]]:
        """Blocks of a shard, each as (first byte, byte after the last, samples). Raises DataError for broken files."""
        fs, path = file_system(url)
        blocks: list[tuple[int, int, int]] = []
        with fs.open(path, "rb") as file:
            start, stop, count = 0, 0, 0
            for sample in _samples(cast("io.IOBase", file), url):
                if sample.image is None:
                    continue
                if count and sample.start - start >= BLOCK_BYTES:
                    blocks.append((start, stop, count))
                    start, count = sample.start, 0
                last = sample.members[-1]
                stop, count = last.offset_data + _padded(last.size), count + 1
            if count:
                blocks.append((start, stop, count))
        return blocks

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


def _samples(file: io.IOBase, url: str) -> Iterator[_Sample]:
    current: _Sample | None = None
    try:
        with tarfile.open(fileobj=cast("BinaryIO", file), mode="r:") as archive:
            for member in archive:
                folder, name = posixpath.split(member.name)
                stem, dot, ending = name.partition(".")
                if not member.isfile() or not stem:
                    continue
                key = posixpath.join(folder, stem)
                if current is None or current.key != key:
                    if current is not None:
                        yield current
                    current = _Sample(key, member.offset)
                current.members.append(member)
                if dot + ending.lower() in IMAGE_EXTENSIONS:
                    current.image = current.image or member
                elif dot + ending.lower() == LABEL_ENDING:
                    current.label = member
            file.seek(archive.offset)
            # A file that ends before a header, or amid one, looks like a whole one but for the blocks of zeros.
            if cast("BinaryIO", file).read(tarfile.BLOCKSIZE) != END[: tarfile.BLOCKSIZE]:
                raise DataError(f"data: {url} is cut off after {len(archive.getnames())} files; write the shard again")
    except tarfile.TarError as error:
        raise DataError(f"data: {url} is not a whole tar file: {error}; write the shard again") from error
    if current is not None:
        yield current


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
