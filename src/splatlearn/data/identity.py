"""Identity of a set of samples, computed without reading all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from splatlearn.core.numbers import evenly_spaced
from splatlearn.data.image_sets.samples import SampleSource, StoredImage
from splatlearn.data.labelled import LabelledImages, stored_images
from splatlearn.images.errors import UnreadableImage
from splatlearn.runs.data_identity import DataIdentity

LOOKED_AT = 256
"""Samples whose name and stored size are compared, spread over the set."""
READ = 32
"""Samples whose content is compared."""
HEAD = 2**20
"""Bytes of a file that are compared."""


def identify(source: SampleSource) -> DataIdentity:
    """The identity of a source, from its number of samples and the names, sizes and contents of some of them.

    A source may say more without reading its samples, by two attributes that are no part of `SampleSource`:
    `outline() -> Iterable[bytes]` takes the place of looking at samples (the blocks of shards), and `file_names` has
    the names of all files. For labelled images the classes and their members count too.
    """
    return DataIdentity(len(source), _digest(_outline(source)))


def _outline(source: SampleSource) -> Iterable[bytes]:
    if isinstance(source, LabelledImages):
        yield from _outline(source.source)
        yield np.asarray(source.indices, dtype="<i8").tobytes()
        yield np.asarray(source.labels, dtype="<i8").tobytes()
        yield "\n".join(source.class_names).encode()
        return
    own: Any = getattr(source, "outline", None)
    if own is not None:
        yield from own()
        return
    yield "\n".join(getattr(source, "file_names", None) or ()).encode(errors="surrogateescape")
    stored = stored_images(source, evenly_spaced(len(source), LOOKED_AT))
    if stored is None:
        yield from (_pixels(source, index) for index in evenly_spaced(len(source), READ))
        return
    read = set(evenly_spaced(len(stored), READ))
    for place, image in enumerate(stored):
        yield image.name.encode(errors="surrogateescape")
        yield _size(image)
        if place in read:
            yield _head(image)


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        # Lengths keep "ab", "c" and "a", "bc" apart.
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()[:16]


def _size(image: StoredImage) -> bytes:
    if isinstance(image.file, bytes):
        return str(len(image.file)).encode()
    try:
        return b"" if image.file is None else str(Path(image.file).stat().st_size).encode()
    except OSError:
        return b""


def _head(image: StoredImage) -> bytes:
    if isinstance(image.file, bytes):
        return image.file[:HEAD]
    try:
        if image.file is None:
            return b""
        with Path(image.file).open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _pixels(source: SampleSource, index: int) -> bytes:
    try:
        sample = source[index]
    except UnreadableImage as error:
        return error.name.encode(errors="surrogateescape")
    head = f"{sample.name} {sample.image.width}x{sample.image.height} "
    return head.encode(errors="surrogateescape") + sample.image.tobytes()[:HEAD]
