"""SOG as a registered format: a bundle, or files in a folder."""

from __future__ import annotations

import zipfile
from io import BytesIO

from splatlearn.core.gaussians import Gaussians
from splatlearn.files.interface import Container, Content, Files, ReadRequest, Writer, WriteRequest
from splatlearn.files.sog.meta import META_NAME
from splatlearn.files.sog.reader import read_sog
from splatlearn.files.sog.store import Bundle, Folder, SogStore
from splatlearn.files.sog.writer import HIGHEST_DEGREE, IMAGES, sog_files
from splatlearn.files.splat_file import SplatFile

FRAME = "RDF"
ZIP_MAGIC = b"PK"


def content(gaussians: Gaussians, request: WriteRequest) -> Content | Files:
    """A bundle, or the files beside a meta.json."""
    if request.path.name == META_NAME:
        return {**sog_files(gaussians, request.antialiased)}
    return bundle(gaussians, request.antialiased)


def bundle(gaussians: Gaussians, antialiased: bool = False) -> bytes:
    """Gaussians [K] with `sh` as a bundle: a ZIP archive, without compression, of images and their meta.json."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, each in sog_files(gaussians, antialiased).items():
            # A fixed date: the same scene gives the same file.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), each)
    return buffer.getvalue()


def _beside(name: str) -> tuple[str, ...]:
    """The images that belong to a meta.json."""
    return IMAGES if name == META_NAME else ()


def _read(store: SogStore, request: ReadRequest) -> SplatFile:
    return read_sog(store, request.frame or FRAME, request.limit, request.drop_invalid)


SOG = Container(
    lambda data, name: data.startswith(ZIP_MAGIC),
    lambda data, request: _read(Bundle(data), request),
    (Writer("sog", (".sog", META_NAME), FRAME, content, HIGHEST_DEGREE, beside=_beside),),
    lambda path: path.is_dir() or path.name == META_NAME,
    lambda path, request: _read(Folder(path if path.is_dir() else path.parent), request),
)
