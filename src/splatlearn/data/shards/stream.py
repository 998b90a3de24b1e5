"""Images in shards that are read block by block, from a local disk or over a network."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from splatlearn.core.disk.atomic import write_whole
from splatlearn.data.image_sets.samples import Sample, StoredImage
from splatlearn.data.shards.block_cache import BlockCache
from splatlearn.data.shards.files import ShardFiles, ShardIndex, attempt, fingerprint
from splatlearn.data.shards.stream_order import StreamShape, WindowedOrder
from splatlearn.images.errors import DataError
from splatlearn.images.left_out import LeftOut, left_out_of

INDEX_THREADS = 16
INDEX_VERSION = 2


@runtime_checkable
class ShardReader(Protocol):
    """Reads one kind of shard, of which each block is a pair of numbers."""

    class_names: list[str] | None

    def index(self, url: str) -> ShardIndex: ...

    def read(self, url: str, start: int, stop: int) -> list[StoredImage]: ...


class ShardSource:
    """An ImageSource over shards. Any sample can be read, at the cost of its block; a stream reads each block once.

    - `reader`: of the kind of the shards.
    - `shape`: how the stream is shuffled.

    Raises DataError for shards that cannot be read, are broken, or hold no image, naming the first.
    """

    def __init__(self, files: ShardFiles, reader: ShardReader, shape: StreamShape | None = None) -> None:
        self.shape = shape or StreamShape()
        self.class_names = reader.class_names
        self._urls, self._reader = files.urls, reader
        index = _index(files, reader)
        blocks = [(shard, *block) for shard, found in enumerate(index) for block in found.blocks]
        self.left_out = (files.left_out, *(found.left_out for found in index if found.left_out))
        if not blocks:
            left_out = left_out_of(self)
            but = f"; left out: {left_out}" if left_out else ""
            raise DataError(f"data: expected at least one image, got none in {files.origin}{but}")
        self._blocks = np.array(blocks, dtype=np.int64)
        self._ends = np.cumsum(self._blocks[:, 3])
        self.description = f"{len(self)} images in {files.origin}"
        self._cache = BlockCache(self._load)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int, /) -> Sample:
        return self.stored([index])[0].sample()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._cache = BlockCache(self._load)

    def stored(self, indices: Sequence[int], /) -> list[StoredImage]:
        """The image files of some samples, as they are stored. Raises DataError for shards that cannot be read."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (0 <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"indices: expected numbers in [0, {len(self)}), got {wanted.min()} to {wanted.max()}")
        blocks = np.searchsorted(self._ends, wanted, side="right")
        rows = wanted - self._ends[blocks] + self._blocks[blocks, 3]
        held = {int(block): self._cache[int(block)] for block in np.unique(blocks)}
        return [held[block][row] for block, row in zip(blocks.tolist(), rows.tolist(), strict=True)]

    @cached_property
    def labels(self) -> list[int | None]:
        """The class numbers of all samples; reads all shards once."""
        return [stored.label for block in range(len(self._blocks)) for stored in self._load(block)]

    def order(self, seed: int, epoch: int) -> WindowedOrder:
        """The order in which an epoch visits the samples, block by block. Raises InputError as `sample_order`."""
        return WindowedOrder(self._blocks[:, 3], seed, epoch, self.shape)

    def outline(self) -> list[bytes]:
        """What sets these shards apart from others: the files' names, and where their blocks lie with how many samples.

        See `splatlearn.data.identity`; no sample is read.
        """
        return [*(posixpath.basename(url).encode() for url in self._urls), self._blocks.astype("<i8").tobytes()]

    def announce(self, blocks: Sequence[int], announcements: int) -> None:
        """Begin to read blocks, and keep those that the last so many announcements named."""
        self._cache.announce(blocks, announcements)

    def _load(self, block: int) -> list[StoredImage]:
        shard, start, stop, count = self._blocks[block].tolist()
        found = attempt(partial(self._reader.read, start=start, stop=stop), self._urls[shard])
        if len(found) != count:
            raise DataError(
                f"data: expected {count} images in a block of {self._urls[shard]}, got {len(found)}; the shard has "
                "changed since it was opened, start again"
            )
        return found


def _index(files: ShardFiles, reader: ShardReader) -> list[ShardIndex]:
    """The blocks of every shard, from the cache where the shards are those of an earlier time."""
    from datasets import config

    with ThreadPoolExecutor(INDEX_THREADS) as pool:
        prints = list(pool.map(partial(attempt, fingerprint), files.urls))
        key = hashlib.sha256("\n".join([files.kind, str(INDEX_VERSION), *prints]).encode()).hexdigest()
        path = Path(config.HF_DATASETS_CACHE) / "splatlearn_shards" / f"{key}.json"
        try:
            return [_stored(shard) for shard in json.loads(path.read_bytes())]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            index = list(pool.map(partial(attempt, reader.index), files.urls))
    try:
        write_whole(path, json.dumps([{"blocks": each.blocks, "left_out": each.left_out.as_json()} for each in index]))
    except OSError:  # without a cache the next start takes as long as this one
        pass
    return index


def _stored(shard: dict[str, Any]) -> ShardIndex:
    """The index of a shard as the cache has it."""
    blocks = [(int(start), int(stop), int(count)) for start, stop, count in shard["blocks"]]
    return ShardIndex(blocks, LeftOut.from_json(shard["left_out"]))
