"""The lock of a run's folder: one process at a time changes it."""

from __future__ import annotations

import datetime
import errno
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.core.errors import FormatError, InputError

LOCK = ".lock"
"""The locked file. It stays when the lock is released, since removing it would let two processes lock two files."""
HOLDER = ".lock.json"
"""Who holds the lock: host, process and time."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""Error numbers of file systems without locks."""


class RunFolderError(InputError):
    """The output folder cannot take this run."""


class RunLock:
    """A lock that the operating system releases when the process ends, however it ends.

    Worker processes do not inherit it. On network file systems it holds between hosts where they support `flock`.
    `unsupported` says why there is no lock, if the file system has none; None otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: FileLock | None = None
        self._inode: tuple[int, int] | None = None
        self.unsupported: str | None = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock of an existing folder; raises RunFolderError when another process has it, naming host and pid.

        Raises RunFolderError as well when the folder cannot be written.
        """
        lock = FileLock(self._folder / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(self._in_use()) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                reason = error.strerror or error
                raise RunFolderError(f"out: cannot write into {self._folder}: {reason}") from error
            self.unsupported = str(error)
            return
        self._lock = lock
        found = os.stat(self._folder / LOCK)
        self._inode = found.st_dev, found.st_ino
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        holder = {"host": socket.gethostname(), "process": os.getpid(), "since": since}
        # It is for the message to others alone; the lock holds without it.
        with suppress(OSError):
            write_whole(self._folder / HOLDER, json.dumps(holder) + "\n")

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._lock is None:
            return
        if not self.lost():
            with suppress(OSError):
                (self._folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()
        self._lock = self._inode = None

    def holds(self, folder: Path) -> bool:
        """Whether this is the lock of a folder, and is held."""
        return self._lock is not None and self._folder == folder and not self.lost()

    def lost(self) -> bool:
        """Whether the locked file is no longer the one in the folder, so that another process could lock that."""
        if self._lock is None:
            return False
        try:
            found = os.stat(self._folder / LOCK)
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._inode

    def _in_use(self) -> str:
        try:
            told = read_object(self._folder / HOLDER)
        except (FormatError, OSError):
            told = {}
        host, process = told.get("host"), told.get("process")
        who = f"process {process} on {host} (since {told.get('since')})" if host else "another process"
        elsewhere = bool(host) and host != socket.gethostname()
        gone = f"; if that host is gone for good, remove {self._folder / LOCK}" if elsewhere else ""
        return f"out: {who} is working in {self._folder}; wait until it has ended, or stop it{gone}"
