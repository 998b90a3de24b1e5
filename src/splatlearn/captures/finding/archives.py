"""Archives of captures: unpacked once into a cache, with the limits that keep a hostile one harmless."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from splatlearn.captures.finding.names import printable
from splatlearn.core.disk.atomic import ABANDONED_AFTER, place_folder
from splatlearn.core.disk.caches import user_cache
from splatlearn.core.errors import FormatError, InputError
from splatlearn.images.listing import IMAGE_EXTENSIONS

MOST_MEMBERS = 500_000
LARGEST_RATIO = 200
"""Bytes that an archive may unpack to for each of its own: photographs are compressed already, tables to a tenth."""
SPARE = 64 << 20
"""Bytes that any archive may unpack to."""
UNPACKED = (*IMAGE_EXTENSIONS, ".json", ".bin", ".txt", ".ply")
"""Endings of members that are unpacked."""
UNFINISHED = ".splatlearn.unpacking."
"""Beginning of the names of folders that are not unpacked completely."""
CHUNK = 1 << 20


def cache_folder() -> Path:
    """Return the folder in which unpacked archives are kept: `captures` in SPLATLEARN_CACHE, or in the user's cache."""
    return user_cache("captures")


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip archive by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unpacked(path: Path, cache: Path | None = None) -> Path:
    """Unpack the photographs and tables of a zip archive and return the folder; an earlier copy is taken as it is.

    - `cache`: where copies are kept, by default `cache_folder()`. A copy belongs to the archive's path, size and time.

    Raises FormatError for archives that are damaged or encrypted, or that hold names that lead out of the folder,
    links, or more bytes than photographs can be compressed to; InputError where the disk has no room.
    """
    cache = cache_folder() if cache is None else cache
    status = path.stat()
    identity = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    target = cache / f"{path.stem[:40]}-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]}"
    if target.is_dir():
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path) as archive:
            members = _checked(path, archive)
            needed, free = sum(each.file_size for each in members), shutil.disk_usage(cache).free
            if needed > free:
                raise InputError(f"{path}: unpacks to {needed:,} bytes, but {cache} has room for {free:,}")
            _clear_abandoned(cache)
            beside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=cache))
            try:
                for member in members:
                    _unpack(archive, member, beside)
                with contextlib.suppress(FileExistsError):  # another process was faster, and may read its copy by now
                    place_folder(beside, target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, FormatError | InputError):
            raise
        raise FormatError(f"{path}: expected a zip archive, got a damaged one: {error}") from error
    return target


def _clear_abandoned(cache: Path) -> None:
    """Remove what killed processes have unpacked, once nobody has written there for a while."""
    for folder in cache.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            newest = max(each.lstat().st_mtime for each in (folder, *folder.rglob("*")))
            if time.time() - newest > ABANDONED_AFTER and not folder.is_symlink():
                shutil.rmtree(folder)


def _checked(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members to unpack."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise FormatError(f"{path}: expected at most {MOST_MEMBERS:,} files, got {len(members):,}")
    wanted: list[zipfile.ZipInfo] = []
    seen: set[str] = set()
    for member in members:
        name = member.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or ":" in name or "\0" in name:
            raise FormatError(f"{path}: the name {printable(name)} leads out of the archive; it is not unpacked")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise FormatError(f"{path}: {printable(name)} is a link; pack the file itself")
        if member.flag_bits & 1:
            raise FormatError(f"{path}: {printable(name)} is encrypted; unpack the archive first")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FormatError(f"{path}: {printable(name)} is not deflated; pack the folder as a common zip archive")
        hidden = any(part.startswith((".", "__")) for part in parts)
        if name.endswith("/") or hidden or PurePosixPath(name).suffix.lower() not in UNPACKED or name in seen:
            continue
        seen.add(name)
        wanted.append(member)
    allowed = LARGEST_RATIO * path.stat().st_size + SPARE
    if (total := sum(member.file_size for member in wanted)) > allowed:
        raise FormatError(f"{path}: expected to unpack at most {allowed:,} bytes of photographs, got {total:,}")
    return wanted


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(member.filename.replace("\\", "/")).parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("wb") as file:
            left = member.file_size  # the module stops there too, and checks the sum
            while left > 0 and (block := source.read(min(CHUNK, left))):
                left -= len(block)
                file.write(block)
            source.read(1)
    except OSError as error:
        raise FormatError(f"{archive.filename}: cannot unpack {printable(member.filename)}: {error}") from error
