"""Resampled photographs kept on disk, so that later runs need not resample them again.

A file is named by the digest of everything that it was made from: the content of the photograph, its size, lens and
orientation, and `VERSION`. Masks are not kept. It is written beside and renamed. Only files of such names are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from splatlearn.core.disk.atomic import replacing
from splatlearn.core.disk.caches import user_cache

VERSION = 1
"""Must be raised when a change of the code gives other pixels for the same input."""
OWN = re.compile(r"[0-9a-f]{64}\.png")
LIMIT = 20 * 10**9
"""Largest number of bytes of all files together."""
SPARE = 2 * 10**9
"""Bytes of the disk that are left free."""


def cache_folder() -> Path:
    """Return the default folder: `photographs` in the package's cache."""
    return user_cache("photographs")


class DiskCache:
    """Pictures in a folder, which is made when the first one is stored.

    - `limit`: bytes that the pictures may have together. The ones that were not read for longest make room.

    A disk that is full or cannot be written stops the storing, not the caller: `is_full` says so. Any number of
    processes may share a folder.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder = folder
        self.limit = limit
        self.is_full = False
        self._lock = threading.Lock()
        self._used: int | None = None

    @staticmethod
    def key(*parts: bytes | str) -> str:
        """Return the name for a picture made from these parts."""
        digest = hashlib.sha256(f"{VERSION}".encode())
        for part in parts:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()

    def get(self, key: str) -> UInt8[np.ndarray, "H W C"] | None:
        """Return a stored picture, or None. A file that cannot be read counts as none."""
        path = self.folder / f"{key}.png"
        try:
            content = path.read_bytes()
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                pixels = np.array(image)
            os.utime(path)
        except Exception:  # whatever a damaged file makes of the decoder
            return None
        return pixels if pixels.ndim == 3 and pixels.dtype == np.uint8 else None

    def put(self, key: str, pixels: UInt8[np.ndarray, "H W C"]) -> None:
        """Store a picture."""
        if self.is_full:
            return
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "PNG", compress_level=1)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._has_room(len(stored.getvalue())):
                self.is_full = True
                return
            with replacing(self.folder / f"{key}.png") as beside:
                beside.write_bytes(stored.getvalue())
        except OSError:
            self.is_full = True

    def _has_room(self, count: int) -> bool:
        """Whether `count` bytes may be added, after older pictures were removed where they have to be."""
        with self._lock:
            if self._used is None:
                self._used = sum(size for _, size, _ in self._files())
            if self._used + count > self.limit:
                for _, size, path in sorted(self._files()):
                    if self._used + count <= self.limit * 0.9:
                        break
                    with contextlib.suppress(OSError):
                        path.unlink()
                        self._used -= size
            self._used += count
            return self._used <= self.limit and shutil.disk_usage(self.folder).free - count > SPARE

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of the last use, bytes and path of every picture."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if OWN.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(OSError):
                        status = entry.stat()
                        found.append((status.st_mtime, status.st_size, Path(entry.path)))
        return found
