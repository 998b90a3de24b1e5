"""Features kept on disk, under a key of all that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from splatlearn.core.disk.atomic import parse_object, replacing
from splatlearn.data import ImageSource
from splatlearn.data.labelled import stored_contents
from splatlearn.evaluation.features.embedders import Embedder
from splatlearn.evaluation.features.extraction import Extracted, Extraction, Progress, extract
from splatlearn.evaluation.features.reading import CenterCrop, Transform

VERSION = 1
"""Part of every key: features of another version of this code are not taken."""
AT_ONCE = 256
"""Image files that are in memory at once while their contents are hashed."""


class FeatureStore:
    """Extracts features, and keeps them in a folder where it is given one.

    A file's key covers the embedder's weights, the contents of all images in order, the transform and the precision.
    Files are written beside and renamed; one that is torn or altered is made anew.

    - `extraction`: how features are computed; `progress`: told how far it is.
    """

    def __init__(
        self, folder: Path | None = None, extraction: Extraction | None = None, progress: Progress | None = None
    ) -> None:
        self.folder = folder
        self.extraction = extraction or Extraction()
        self.progress = progress
        self._digests: list[tuple[ImageSource, str]] = []

    def features(self, embedder: Embedder, images: ImageSource, transform: Transform | None = None) -> Extracted:
        """The result of `extract` for the same arguments; raises as it does."""
        transform = transform or CenterCrop(*embedder.image_size)
        if self.folder is None:
            return extract(embedder, images, self.extraction, transform, self.progress)
        facts = (VERSION, weights_digest(embedder), embedder.description, self.digest(images))
        key = _hash("|".join(map(str, [*facts, transform, self.extraction.precision])).encode())
        path = self.folder / f"{key}.safetensors"
        found = _read(path)
        if found is None:
            found = extract(embedder, images, self.extraction, transform, self.progress)
            _write(path, found)
        return found

    def digest(self, images: ImageSource) -> str:
        """`contents_digest` of a source, computed once."""
        for known, digest in self._digests:
            if known is images:
                return digest
        self._digests.append((images, contents_digest(images, self.progress)))
        return self._digests[-1][1]


def weights_digest(module: torch.nn.Module) -> str:
    """A hash of all weights and their names."""
    state = hashlib.blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        state.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
        state.update(_bytes(value))
    return state.hexdigest()


def contents_digest(images: ImageSource, progress: Progress | None = None) -> str:
    """A hash of what is stored of all images in their order: no image is decoded where there are files."""
    state = hashlib.blake2b(digest_size=16)
    for done, contents in _contents(images):
        for content in contents:
            state.update(hashlib.blake2b(content, digest_size=16).digest())
        if progress is not None:
            progress("fingerprint of the images", done, len(images))
    return state.hexdigest()


def files_digest(paths: Sequence[Path]) -> str:
    """A hash of the contents of files in their order."""
    return _hash(*(hashlib.blake2b(path.read_bytes(), digest_size=16).digest() for path in paths))


def _contents(images: ImageSource) -> Iterator[tuple[int, list[bytes]]]:
    """Contents chunk by chunk, the next one read while one is hashed."""
    ranges = [range(start, min(start + AT_ONCE, len(images))) for start in range(0, len(images), AT_ONCE)]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stored_contents, images, ranges[0]) if ranges else None
        for number, each in enumerate(ranges):
            assert waiting is not None
            contents = waiting.result()
            waiting = pool.submit(stored_contents, images, ranges[number + 1]) if number + 1 < len(ranges) else None
            yield each.stop, contents


def _write(path: Path, extracted: Extracted) -> None:
    tensors = {"values": extracted.values.contiguous(), "indices": extracted.indices}
    unreadable = json.dumps(extracted.unreadable)
    metadata = {"digest": _digest(tensors, unreadable), "unreadable": unreadable}
    with replacing(path) as beside:
        save_file(tensors, beside, metadata=metadata)


def _read(path: Path) -> Extracted | None:
    """The contents of a file; None if there is none, or if it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in ("values", "indices")}
            metadata = file.metadata() or {}
        if metadata["digest"] != _digest(tensors, metadata["unreadable"]):
            return None
        return Extracted(tensors["values"], tensors["indices"], parse_object(metadata["unreadable"], str(path)))
    except (SafetensorError, KeyError, ValueError):
        return None


def _digest(tensors: dict[str, Tensor], unreadable: str) -> str:
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    return _hash(f"{shapes} {unreadable}".encode(), *map(_bytes, tensors.values()))


def _hash(*parts: bytes | memoryview) -> str:
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(part)
    return state.hexdigest()


def _bytes(value: Tensor) -> memoryview:
    return value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
