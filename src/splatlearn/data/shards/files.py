"""Where shards lie: local folders and files, patterns of names, and URLs of any file system that fsspec knows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeVar

from splatlearn.core.errors import first_line
from splatlearn.data.image_sets.folder import SPLIT_NAMES, table_splits
from splatlearn.images.errors import DataError, UnknownSplitError
from splatlearn.images.left_out import LeftOut

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Kind = Literal["parquet", "tar"]
Read = TypeVar("Read")

URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|.*::")
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
WILD = re.compile(r"[*?\[]")
ENDINGS: dict[str, Kind] = {".parquet": "parquet", ".tar": "tar"}
RETRIES = 3
FIRST_WAIT = 1.0  # seconds, doubled after every try


@dataclass(frozen=True)
class ShardFiles:
    """The shards of a split, as URLs or local paths in a fixed order, of one kind.

    `origin` says where they lie, `left_out` what lies beside them.
    """

    urls: list[str]
    kind: Kind
    origin: str
    left_out: LeftOut = field(default_factory=LeftOut)


@dataclass(frozen=True)
class ShardIndex:
    """The blocks of a shard, as (number, number after it, samples), and the pictures that are in none of them."""

    blocks: list[tuple[int, int, int]]
    left_out: LeftOut = field(default_factory=LeftOut)


def is_shard_url(data: str) -> bool:
    """Whether a string is a URL, or a pattern of names of shards such as train-{000..127}.tar."""
    return bool(URL.match(data)) or bool((BRACES.search(data) or WILD.search(data)) and shard_kind(data))


def find_shards(data: str, split: str) -> ShardFiles:
    """Find shards at a URL: one file, names with {000..127} or wildcards, or a folder, with its splits.

    Raises DataError for places that do not exist or cannot be reached, folders with both kinds of shards or none, and
    unknown splits.
    """
    if BRACES.search(data) or WILD.search(data) or shard_kind(data):
        if SPLIT_NAMES.get(split.lower(), split) != "train":
            raise UnknownSplitError(f"split: expected 'train', which is all of the shards {data}, got {split!r}")
        urls = expand_braces(data)
        if WILD.search(data):
            urls = [found for url in urls for found in attempt(_glob, url)]
        return _of_one_kind(urls, data)
    names = attempt(_walk, data)
    found = {name: url for name, url in names.items() if shard_kind(name)}
    if not found:
        raise DataError(f"data: expected .parquet or .tar shards in {data}, got {len(names)} other files")
    left_out = LeftOut()
    for name in sorted(names.keys() - found):
        left_out.add_file(name)
    splits, named = table_splits(sorted(found))
    wanted = SPLIT_NAMES.get(split.lower(), split)
    if wanted not in splits:
        raise UnknownSplitError(f"split: expected one of {sorted(splits)} in {data}, got {split!r}")
    shards = _of_one_kind([found[name] for name in splits[wanted]], data)
    origin = f"{shards.origin}, split {wanted}" if named else shards.origin
    return ShardFiles(shards.urls, shards.kind, origin, left_out)


def expand_braces(pattern: str) -> list[str]:
    """Names that a pattern with {000..127} stands for, leading zeros kept."""
    pieces = BRACES.split(pattern)
    ranges = [
        [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    texts = pieces[::3]
    return [texts[0] + "".join(map("".join, zip(numbers, texts[1:], strict=True))) for numbers in product(*ranges)]


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, which is this process's own, and the path in it."""
    from fsspec.core import url_to_fs

    return url_to_fs(url)


def attempt(read: Callable[[str], Read], url: str) -> Read:
    """Read from a URL, again after a while where that fails; raises DataError that names it after three tries."""
    for tried in range(RETRIES):
        try:
            return read(url)
        except DataError:
            raise
        except (FileNotFoundError, ImportError, ValueError, NotImplementedError) as error:
            reason = first_line(error) if not isinstance(error, FileNotFoundError) else "it does not exist"
            raise DataError(f"data: cannot read {url}: {reason}") from error
        except Exception as error:  # every file system has its own
            if tried == RETRIES - 1:
                raise DataError(
                    f"data: cannot read {url} after {RETRIES} tries: {first_line(error)}; check network and rights"
                ) from error
            time.sleep(FIRST_WAIT * 2**tried)
    raise AssertionError("unreachable")


def fingerprint(url: str) -> str:
    """A key that changes with a file: its size, and its time or tag if the file system keeps one."""
    fs, path = file_system(url)
    facts = fs.info(path)
    known = [str(facts[key]) for key in ("size", "mtime", "ETag", "etag", "last_modified", "created") if key in facts]
    return " ".join([url, *known])


def _of_one_kind(urls: list[str], data: str) -> ShardFiles:
    kinds = {shard_kind(url) for url in urls}
    kind = shard_kind(urls[0]) if len(kinds) == 1 else None
    if kind is None:
        came = f"{len(urls)} files of several kinds" if urls else "no file"
        raise DataError(f"data: expected shards that all end in .parquet or all in .tar at {data}, got {came}")
    return ShardFiles(urls, kind, f"{len(urls)} {kind} files at {data}")


def shard_kind(name: str) -> Kind | None:
    """The kind of shard that a file's name says it is."""
    return ENDINGS.get(PurePosixPath(name.split("::")[0]).suffix.lower())


def _glob(url: str) -> list[str]:
    fs, path = file_system(url)
    return sorted(_address(fs, str(found), url) for found in fs.glob(path))


def _walk(url: str) -> dict[str, str]:
    """Addresses of the files below a folder by their relative names."""
    fs, root = file_system(url)
    root = root.rstrip("/")
    found = [str(name) for name in fs.find(root)]
    if not found and not fs.exists(root):
        raise FileNotFoundError(url)
    return {name.removeprefix(root).lstrip("/"): _address(fs, name, url) for name in found}


def _address(fs: AbstractFileSystem, path: str, url: str) -> str:
    _, chain, outer = url.partition("::")
    return fs.unstrip_protocol(path) + chain + outer
