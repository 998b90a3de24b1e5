"""Standard output and error that outlive their readers and take every file name."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BROKEN_PIPE = 141
"""Exit code of a program whose output nobody reads any more, as a shell reports it (128 + SIGPIPE)."""


class _Outlived:
    """A text stream that drops what is written once its reader is gone, as `head` is after some lines.

    The command goes on, for it may have files to write.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.broken = False

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Hand on what was written, or drop it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _drop(self) -> None:
        self.broken = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextmanager
def outlived_streams() -> Iterator[list[_Outlived]]:
    """Put such streams in place of standard output and error, in which odd characters of file names are escaped."""
    before = sys.stdout, sys.stderr
    found = []
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        if stream is None:
            continue
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        found.append(_Outlived(stream))
        setattr(sys, name, found[-1])
    try:
        yield found
    finally:
        for stream in found:
            stream.flush()
        sys.stdout, sys.stderr = before
